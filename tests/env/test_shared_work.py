"""Work that processes share."""

from __future__ import annotations

import os
import time
from pathlib import Path

from vidselect_env.shared_work import Piece, share_work


def write(file: Path, needs: Path | None = None) -> str:
    assert needs is None or needs.exists()
    file.write_text(str(os.getpid()))
    return "written"


def fail() -> None:
    raise OSError("no room")


def test_what_follows_from_what_is_done_is_done_after_it(tmp_path):
    said = []

    def ready():
        first = tmp_path / "first"
        pieces = {"first": (write, (first,))}
        if first.exists():
            pieces |= {name: (write, (tmp_path / name, first)) for name in ("second", "third")}
        for name, (function, args) in pieces.items():
            if not (tmp_path / name).exists():
                yield Piece(name=name, function=function, args=args)

    assert share_work(ready, jobs=2, say=said.append) == []
    assert {file.name for file in tmp_path.iterdir()} == {"first", "second", "third"}
    assert (tmp_path / "first").read_text() != str(os.getpid())
    assert len(said) == 3
    assert all(line.endswith(": written") for line in said)
    assert share_work(ready, jobs=2, say=said.append) == []  # nothing is left
    assert len(said) == 3


def test_what_fails_is_named_and_the_rest_is_done(tmp_path):
    def ready():
        yield Piece(name="bad", function=fail, args=())
        if not (tmp_path / "good").exists():
            yield Piece(name="good", function=write, args=(tmp_path / "good",))

    said = []
    assert share_work(ready, jobs=1, say=said.append) == ["bad"]
    assert (tmp_path / "good").exists()
    assert "bad: OSError: no room" in said[0]


def test_nothing_is_started_after_its_time(tmp_path):
    piece = Piece(name="late", function=write, args=(tmp_path / "late",))
    assert share_work(lambda: [piece], jobs=1, until_s=time.monotonic() - 1) == []
    assert not (tmp_path / "late").exists()
