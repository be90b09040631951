"""Files by URL: fetched once into a bounded folder, repeated where a store fails, never half-written."""

from __future__ import annotations

import os
import re
from pathlib import Path

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from vidselect_classifiers import make_classifier
from vidselect_env import stores
from vidselect_env.bank import BankError, ClipBank, SkimSpec, bank_spec, build_bank, open_bank
from vidselect_env.datasets import load_dataset
from vidselect_env.stores import StoreError, fetched, is_url, joined, local_copy, put
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import probe


class FailingStore(MemoryFileSystem):
    """Of a memory of its own; every third call raises, or every one."""

    protocol = "failing"
    store: dict = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    calls, every = 0, 3

    @classmethod
    def _call(cls) -> None:
        cls.calls += 1
        if cls.every and cls.calls % cls.every == 0:
            raise OSError("the line is down")

    def info(self, path, **options):
        self._call()
        return super().info(path, **options)

    def _open(self, path, mode="rb", **options):
        self._call()
        return super()._open(path, mode, **options)

    def cat_file(self, path, **options):
        self._call()
        return super().cat_file(path, **options)

    def mv(self, path1, path2, **options):
        self._call()
        return super().mv(path1, path2, **options)


fsspec.register_implementation("failing", FailingStore, clobber=True)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A cache folder, and empty stores, of the test's own; no waiting between tries."""
    monkeypatch.setenv("VIDSELECT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stores, "FIRST_WAIT_S", 0)
    for store in (MemoryFileSystem, FailingStore):
        store.store.clear()
        store.pseudo_dirs[:] = [""]
    FailingStore.calls, FailingStore.every = 0, 3


def written(url: str, data: bytes) -> str:
    store, path = fsspec.core.url_to_fs(url)
    store.store[store._strip_protocol(path)] = file = MemoryFileSystem().open("/scratch", "wb")
    file.write(data)
    file.close()
    store.store[store._strip_protocol(path)] = MemoryFileSystem.store["/scratch"]
    return url


def kept() -> list[Path]:
    folder = Path(os.environ["VIDSELECT_CACHE"]) / "fetched"
    return [file for file in folder.iterdir() if file.suffix != ".lock"]


@pytest.mark.parametrize(
    ("path", "expected"), [("s3://a/b.mp4", True), ("memory://a", True), ("a/b.mp4", False), ("C:/a", False)]
)
def test_urls_are_told_from_paths(path, expected):
    assert is_url(path) is expected


def test_a_name_is_joined_to_a_folder_or_a_url_and_a_url_is_itself():
    assert joined("s3://a/b/", "c.mp4") == "s3://a/b/c.mp4"
    assert joined(Path("a"), "c.mp4") == "a/c.mp4"
    assert joined("a", "s3://b/c.mp4") == "s3://b/c.mp4"


def test_a_path_is_its_own_copy_and_a_url_is_fetched_once(monkeypatch):
    assert local_copy("a.mp4") == "a.mp4"
    url = written("memory://videos/a.mp4", b"abc")
    file = fetched(url)
    assert (file.read_bytes(), file.suffix) == (b"abc", ".mp4")
    monkeypatch.setattr(stores, "_get", None)
    assert fetched(url) == file


def test_what_was_not_used_for_longest_makes_room(monkeypatch):
    monkeypatch.setenv("VIDSELECT_FETCHED_GB", "25e-9")
    files = {}
    for number, name in enumerate("abc"):
        files[name] = fetched(written(f"memory://{name}", name.encode() * 10))
        os.utime(files[name], (number, number))
        if name == "b":
            fetched("memory://a")  # used again
    assert sorted(file.read_bytes()[:1] for file in kept()) == [b"a", b"c"]
    with pytest.raises(StoreError, match="larger than VIDSELECT_FETCHED_GB"):
        fetched(written("memory://d", b"d" * 26))


def test_a_file_that_is_not_there_is_no_fault_of_the_store():
    with pytest.raises(FileNotFoundError):
        fetched("memory://none.mp4")
    with pytest.raises(VideoError, match=r"memory://none\.mp4"):
        probe("memory://none.mp4")


def test_a_store_that_fails_every_third_call_is_read_and_written(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 1000)
    for number in range(6):
        put(tmp_path / "a", f"failing://folder/{number}")
        assert fetched(f"failing://folder/{number}").read_bytes() == b"abc" * 1000
    assert FailingStore.calls > 30
    assert not [name for name in FailingStore.store if name.endswith(".part")]


def test_a_store_that_fails_always_is_one_error_and_leaves_nothing_half_written(tmp_path):
    url = written("failing://a.mp4", b"abc")
    FailingStore.every = 1
    message = re.escape("'failing://a.mp4': 5 tries failed, the last with OSError: the line is down")
    with pytest.raises(StoreError, match=message):
        fetched(url)
    with pytest.raises(StoreError, match=message):  # and no VideoError, for which a bank would leave it out
        probe(url)
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises(StoreError):
        put(tmp_path / "b", "failing://b")
    assert [name.rpartition("/")[2] for name in FailingStore.store] == ["a.mp4"]
    assert not (tmp_path / "cache" / "fetched").exists() or not kept()


def uploaded(video_folder: Path, scheme: str, tmp_path: Path) -> Path:
    """The training videos in a store, and a list of them here."""
    lines = ["path,label,split"]
    for file in sorted((video_folder / "train").rglob("*.mp4")):
        url = f"{scheme}://videos/{file.parent.name}/{file.name}"
        lines.append(f"{written(url, file.read_bytes())},{file.parent.name},train")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    return tmp_path / "list.csv"


def build(folder: str | Path, listing: Path, **options) -> ClipBank:
    dataset = load_dataset(f"csv:{listing}", split="train")
    torch.manual_seed(0)
    classifier = make_classifier("tiny_r3d", num_classes=2)
    spec = bank_spec(dataset, classifier, num_clips=3, skim=SkimSpec(num_frames=2, resize=(8, 8), crop=(8, 8)))
    return build_bank(folder, dataset, classifier, spec=spec, shard_videos=3, progress=False, **options)


@pytest.mark.parametrize("scheme", ["memory", "failing"])
def test_a_bank_of_videos_in_a_store_is_built_into_it_and_read_from_it(video_folder, tmp_path, scheme):
    listing = uploaded(video_folder, scheme, tmp_path)
    here = build(tmp_path / "bank", listing)
    there = build(f"{scheme}://banks/train", listing)
    assert here.skipped == there.skipped == ()
    assert there.video_paths == here.video_paths
    assert torch.equal(there.candidate_spans_s(), here.candidate_spans_s())
    rows = torch.tensor([23, 0, 9, 9, 4])
    for name in here.fields:
        assert torch.equal(there.field(name).take(rows), here.field(name).take(rows))
        assert torch.equal(there.field(name).joined(), here.field(name).joined())
    assert open_bank(f"{scheme}://banks/train", verify=True).num_videos == 8


def test_only_the_shards_whose_rows_are_asked_for_are_fetched(video_folder, tmp_path):
    build("memory://bank", uploaded(video_folder, "memory", tmp_path))
    for file in kept():
        file.unlink()
    bank = open_bank("memory://bank")
    assert [file.suffix for file in kept()] == [".json"]
    bank.field("logits").take(torch.tensor([0, 1]))
    assert sorted(file.suffix for file in kept()) == [".json", ".safetensors"]


def test_file_urls_are_folders(video_folder, tmp_path):
    listing = uploaded(video_folder, "memory", tmp_path)
    build(f"file://{tmp_path}/bank", listing)
    assert open_bank(f"file://{tmp_path}/bank").num_videos == open_bank(tmp_path / "bank", verify=True).num_videos == 8


def test_another_bank_at_a_url_is_refused_and_a_damaged_one_named(video_folder, tmp_path):
    listing = uploaded(video_folder, "memory", tmp_path)
    build("memory://bank", listing)
    listing.write_text("\n".join(listing.read_text().splitlines()[:-1]))
    with pytest.raises(BankError, match="holds another bank"):
        build("memory://bank", listing)
    written("memory://bank/shard-00001.safetensors", b"short")
    with pytest.raises(BankError, match=r"shard-00001.* has 5 bytes but the manifest says"):
        open_bank("memory://bank")
    with pytest.raises(BankError, match="is no bank"):
        open_bank("memory://nothing")
