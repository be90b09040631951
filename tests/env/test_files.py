"""Writing aside: whole or not at all, and an error that names the file."""

from __future__ import annotations

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from safetensors import SafetensorError

from vidselect_env.files import clear_leftovers, locked, make_folder, write_aside


def raising(error: Exception):
    def write(aside: Path) -> None:
        aside.write_text("half")
        raise error

    return write


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied"),
        SafetensorError("I/O error: No space left on device"),
        RuntimeError("PytorchStreamWriter failed writing file"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_write_that_fails_leaves_what_was_there_and_names_the_file(tmp_path, error):
    file = tmp_path / "kept.json"
    file.write_text("before")
    with pytest.raises(OSError, match=r"kept\.json"):
        write_aside(file, raising(error))
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_refuses_to_sync_or_to_rename_leaves_what_was_there(tmp_path, monkeypatch, call):
    file = tmp_path / "kept.json"
    file.write_text("before")

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match=r"kept\.json"):
        write_aside(file, lambda aside: aside.write_text("after"))
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_killed_writer_left_is_cleared_and_nothing_else(tmp_path):
    for name in ("a.json.12.part", ".tmpAb3dEf", "a.json", ".tmp", "shard.safetensors"):
        (tmp_path / name).touch()
    clear_leftovers(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"a.json", ".tmp", "shard.safetensors"}


def test_every_folder_that_is_made_is_synced_with_the_one_that_it_lies_in(tmp_path, monkeypatch):
    synced = []
    opened = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest: synced.append(Path(path)) or opened(path, *rest))
    make_folder(tmp_path / "a" / "b")
    assert set(synced) == {tmp_path, tmp_path / "a"}
    synced.clear()
    make_folder(tmp_path / "a" / "b")
    assert synced == []
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "a" / "b", exist_ok=False)


def test_a_lock_that_cannot_be_made_names_its_file(tmp_path, monkeypatch):
    def full(lock, timeout=None):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vidselect_env.files.FileLock.acquire", full)
    with pytest.raises(OSError, match=r"No space left on device: .*build\.lock"), locked(tmp_path / "build.lock"):
        pass


def test_who_waits_for_a_lock_says_so(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("vidselect_env.files.tqdm.write", said.append)
    with ThreadPoolExecutor(1) as pool:
        with locked(tmp_path / "a.lock", waiting="waiting"):
            other = pool.submit(lambda: locked(tmp_path / "a.lock", waiting="waiting").__enter__())
            while not said:
                time.sleep(0.01)
            assert not other.done()
        other.result(timeout=10)
    assert said == ["waiting"]
