"""A bank is of what its videos hold, not of where they lie or how their folder is typed."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
import torch

from vidselect_classifiers import make_classifier
from vidselect_env.bank import ClipBank, SkimSpec, bank_spec, build_bank, open_bank
from vidselect_env.bank.cached import cached_bank
from vidselect_env.datasets import LabelledVideo, VideoDataset, anchored, load_dataset
from vidselect_env.datasets.identity import PART_BYTES, name_in, root_of

SKIM = SkimSpec(num_frames=2, resize=(8, 8), crop=(8, 8))


@pytest.fixture
def videos(tmp_path, video_folder, monkeypatch) -> Path:
    monkeypatch.setenv("VIDSELECT_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(video_folder, tmp_path / "home" / "videos"))


def bank_of(name: str) -> tuple[ClipBank, int]:
    """The bank of a dataset, and how many clips were classified for it."""
    torch.manual_seed(0)
    classifier, seen = make_classifier("tiny_r3d", num_classes=2), []
    # Its cost is counted on the meta device, which is no classifying.
    classifier.register_forward_pre_hook(lambda _, inputs: seen.append(0 if inputs[0].is_meta else len(inputs[0])))
    dataset = load_dataset(name, split="train")
    return cached_bank(dataset, classifier, num_clips=3, skim=SKIM, progress=False), sum(seen)


def test_the_same_videos_find_their_bank_wherever_they_lie(videos, monkeypatch):
    first, classified = bank_of(f"folder:{videos}")
    assert classified > 0
    moved = videos.parents[1] / "elsewhere" / "clips"
    moved.parent.mkdir()
    for place, name in (
        (videos.parent, f"folder:{videos}/"),
        (videos.parent, "folder:videos"),
        (videos, "folder:../videos/."),
        (moved.parent, "folder:clips"),
    ):
        if place == moved.parent:
            videos.rename(moved)
        monkeypatch.chdir(place)
        found, classified = bank_of(name)
        assert classified == 0, name
        assert torch.equal(found.field("logits").joined(), first.field("logits").joined())
        assert [Path(path).name for path in found.video_paths] == [Path(path).name for path in first.video_paths]
        monkeypatch.chdir("/")  # paths are whole
        assert all(Path(path).exists() for path in found.video_paths)
        assert found.spec.dataset == name


@pytest.mark.parametrize("place", ["beginning", "end", "size", "name", "label"])
def test_other_videos_have_another_bank(videos, place):
    bank_of(f"folder:{videos}")
    changed = sorted(videos.glob("train/*/*.mp4"))[1]
    content = bytearray(changed.read_bytes())
    if place == "name":
        changed.rename(changed.with_name("other.mp4"))
    elif place == "label":
        [other] = {each.parent for each in videos.glob("train/*/*.mp4")} - {changed.parent}
        changed.rename(other / f"also-{changed.name}")
    elif place == "size":
        changed.write_bytes(content + b"\0\0\0\x08free")
    else:
        content[4 if place == "beginning" else -1] ^= 1
        changed.write_bytes(content)
    _, classified = bank_of(f"folder:{videos}")
    assert classified > 0


def test_a_build_that_was_stopped_goes_on_where_the_videos_were_moved_to(videos, tmp_path):
    def build(folder: Path, where: Path, **options) -> ClipBank:
        dataset = load_dataset(f"folder:{where}", split="train")
        torch.manual_seed(0)
        classifier = make_classifier("tiny_r3d", num_classes=2)
        spec = bank_spec(dataset, classifier, num_clips=3, skim=SKIM)
        return build_bank(folder, dataset, classifier, spec=spec, shard_videos=3, progress=False, **options)

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    build(whole, videos)
    shutil.copytree(whole, broken)
    for name in ("manifest.json", "shard-00001.safetensors"):
        (broken / name).unlink()
    moved = videos.rename(tmp_path / "moved")
    bank = build(broken, moved)
    for file in whole.glob("shard-*"):
        assert (broken / file.name).read_bytes() == file.read_bytes()
    assert all(Path(path).is_relative_to(moved) for path in bank.video_paths)
    left = open_bank(whole)
    assert all(Path(path).is_relative_to(videos) for path in left.video_paths)  # as it was when it was built
    assert open_bank(whole, root=moved / "train").video_paths == bank.video_paths


def test_a_list_is_told_by_the_folder_that_all_its_files_are_in(monkeypatch):
    monkeypatch.chdir("/")
    assert root_of(["data/a/1.mp4", "/data/b/2.mp4"]) == "/data"
    assert root_of(["/data/a/1.mp4"]) == "/data/a"
    assert root_of(["s3://bucket/1.mp4"]) == ""
    assert name_in("/data", "data/a/../b/2.mp4") == "b/2.mp4"
    assert name_in("/", "/b/2.mp4") == "b/2.mp4"
    assert name_in("/data", "s3://bucket/1.mp4") == "s3://bucket/1.mp4"


def test_a_name_with_its_whole_path_is_the_same_from_everywhere(monkeypatch):
    monkeypatch.chdir("/usr")
    assert anchored("folder:lib/") == "folder:/usr/lib"
    assert anchored("csv:../list.csv") == "csv:/list.csv"
    assert anchored("ucf101:root@1") == "ucf101:/usr/root@1"
    assert anchored("flow:dis@64:grid:.@colour") == "flow:dis@64:grid:/usr/.@colour"
    assert anchored("csv:s3://bucket/list.csv") == "csv:s3://bucket/list.csv"
    assert anchored("synthetic") == "synthetic"


def test_telling_800_large_files_apart_takes_well_under_a_second(tmp_path):
    """A gigabyte each: files with holes, of which only ends are read."""
    paths = [tmp_path / f"{number}.mp4" for number in range(800)]
    for path in paths:
        with path.open("wb") as file:
            file.write(path.name.encode())
            file.truncate(2**30)
    listed = tuple(LabelledVideo(str(path), (0,)) for path in paths)
    dataset = VideoDataset(name="folder:many", split="all", class_names=("a",), videos=listed)
    first = dataset.fingerprint()
    began_s = time.process_time()
    assert dataset.fingerprint() == first
    assert time.process_time() - began_s < 0.5
    with paths[7].open("r+b") as file:
        file.seek(-PART_BYTES, os.SEEK_END)
        file.write(b"x")
    assert dataset.fingerprint() != first
