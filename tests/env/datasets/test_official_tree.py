"""The walk over a dataset's folder, and what is common to all official readers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vidselect_env.datasets import load_dataset
from vidselect_env.datasets.official import OFFICIAL
from vidselect_env.datasets.official.tree import walk


def test_the_walk_sorts_by_nearness_and_kind(tmp_path, plant):
    plant(
        tmp_path, {"z.mp4": "", "a/b.MP4": "", "a/list.txt": "", "a/.hidden.mp4": "", "a/x.exe": "", ".git/y.mp4": ""}
    )
    tree = walk(str(tmp_path))
    assert tree.videos == ("z.mp4", "a/b.MP4")
    assert tree.annotations == ("a/list.txt",)


def test_links_are_followed_but_not_in_circles(tmp_path, plant):
    root = plant(tmp_path / "root", {"list.txt": ""})
    plant(tmp_path / "elsewhere", {"1.mp4": ""})
    os.symlink(tmp_path / "elsewhere", root / "videos")
    os.symlink(root, tmp_path / "elsewhere" / "back")
    os.symlink(tmp_path / "elsewhere", tmp_path / "elsewhere" / "itself")
    os.symlink(tmp_path / "gone.mp4", root / "gone.mp4")
    assert walk(str(root)).videos == ("videos/1.mp4",)


def test_numbered_folders_are_not_looked_into_where_they_are_videos(tmp_path, plant, monkeypatch):
    plant(tmp_path, {"frames/12/00001.jpg": "", "frames/7/00001.jpg": "", "other/8.mp4": ""})
    scanned = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: scanned.append(str(path)) or scandir(path))
    assert walk(str(tmp_path), frame_folders=True).frame_folders == ("frames/12", "frames/7")
    assert len(scanned) == 3  # the root, frames and other


def test_no_line_of_a_list_costs_a_look_at_the_disk(tmp_path, plant, monkeypatch):
    lines = "".join(f"Archery/v_Archery_g{number:03d}.avi 1\n" for number in range(200))
    files = {f"UCF-101/Archery/v_Archery_g{number:03d}.avi": "" for number in range(100)}
    lists = {"classInd.txt": "1 Archery\n", "trainlist01.txt": lines, "testlist01.txt": ""}
    root = plant(tmp_path, files | lists)
    looks = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **options: looks.append(path) or stat(path, **options))
    assert len(load_dataset(f"ucf101:{root}", split="train")) == 100
    assert len(looks) < 20


def test_of_two_different_files_none_is_taken_silently(tmp_path, plant):
    tree = walk(str(plant(tmp_path, {"a/list.txt": "1", "b/list.txt": "1", "c/d/list.txt": "2"})))
    assert tree.find("list.txt") == str(tmp_path / "a/list.txt")  # alike; the third lies deeper
    assert tree.find("d/list.txt", "list.txt") == str(tmp_path / "c/d/list.txt")
    assert tree.find("other.txt") is None
    plant(tmp_path, {"b/list.txt": "2"})
    with pytest.raises(ValueError, match=r"two different files list.txt: 'a/list.txt' and 'b/list.txt'"):
        tree.find("list.txt")


@pytest.mark.parametrize("kind", OFFICIAL)
def test_every_reader_says_what_an_empty_folder_lacks(tmp_path, kind):
    with pytest.raises(ValueError, match=r"under '.*'"):
        load_dataset(f"{kind}:{tmp_path}", split="train")
    with pytest.raises(ValueError, match=r"dataset folder '.*nowhere' is not a folder"):
        load_dataset(f"{kind}:{tmp_path}/nowhere", split="train")
    with pytest.raises(ValueError, match="unknown dataset"):
        load_dataset(f"{kind}:", split="train")


def test_every_reader_and_variant_has_its_row_in_the_docs():
    rows = [
        line
        for line in (Path(__file__).resolve().parents[3] / "docs" / "datasets.md").read_text().splitlines()
        if line.startswith("|")
    ]
    for kind, family in OFFICIAL.items():
        rows_of_kind = [row for row in rows if f"`{kind}:ROOT" in row]
        assert rows_of_kind, kind
        for variant in family.variants[1:2]:
            assert any(f"@{variant}" in row or f", {variant}" in row for row in rows_of_kind), (kind, variant)


def test_only_the_first_few_are_named(tmp_path, plant, capsys):
    lines = "".join(f"Archery/v_Archery_g{number:02d}.avi 1\n" for number in range(9))
    lists = {"classInd.txt": "1 Archery\n", "trainlist01.txt": lines, "testlist01.txt": ""}
    load_dataset(f"ucf101:{plant(tmp_path, lists | {'Archery/v_Archery_g00.avi': ''})}", split="train")
    named = "8 (Archery/v_Archery_g01, Archery/v_Archery_g02, Archery/v_Archery_g03 ...)"
    assert f"not on the disk and left out, of 9 videos: {named}" in capsys.readouterr().out


def test_fewer_videos_of_an_official_list_are_spread_over_it(tmp_path, plant):
    lines = "".join(f"Archery/{number}.avi 1\n" for number in range(10))
    lists = {"classInd.txt": "1 Archery\n", "trainlist01.txt": lines, "testlist01.txt": ""}
    root = plant(tmp_path, lists | {f"Archery/{number}.avi": "" for number in range(10)})
    taken = load_dataset(f"ucf101:{root}", split="train", num_videos=3).videos
    assert [video.path[-5] for video in taken] == ["0", "3", "6"]
