"""Folders and manifests of videos."""

from __future__ import annotations

import pytest

from vidselect_env.datasets import LabelledVideo, VideoDataset, load_dataset


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def test_folder_with_splits(tmp_path):
    for split, label, name in [
        ("train", "b", "1.mp4"),
        ("train", "a", "2.avi"),
        ("test", "a", "3.mkv"),
        ("test", "c", "4.mp4"),
    ]:
        touch(tmp_path / split / label / name)
    touch(tmp_path / "train" / "a" / "notes.txt")
    train = load_dataset(f"folder:{tmp_path}", split="train")
    assert train.class_names == ("a", "b", "c")  # of all splits, so that labels agree
    assert [(video.path[-7:], video.labels) for video in train.videos] == [
        ("a/2.avi", (0,)),
        ("b/1.mp4", (1,)),
    ]
    assert len(load_dataset(f"folder:{tmp_path}", split="all")) == 4
    with pytest.raises(ValueError, match=r"unknown split .dev.*train, test, all, fit, val \(val is a fifth of train"):
        load_dataset(f"folder:{tmp_path}", split="dev")


def test_folder_without_splits_is_split_by_name(tmp_path):
    for number in range(60):
        touch(tmp_path / "ab"[number % 2] / f"{number}.mp4")
    train, test = (load_dataset(f"folder:{tmp_path}", split=split) for split in ("train", "test"))
    assert len(train) + len(test) == 60
    assert 10 <= len(test) <= 30
    assert not {video.path for video in train.videos} & {video.path for video in test.videos}


def test_manifest_with_several_labels(tmp_path):
    manifest = tmp_path / "list.csv"
    manifest.write_text("path,label,split\nx.mp4,run;jump,train\nsub/y.mp4,walk,test\n")
    train = load_dataset(f"csv:{manifest}", split="train")
    assert train.class_names == ("jump", "run", "walk")
    assert train.videos == (LabelledVideo(str(tmp_path / "x.mp4"), (1, 0)),)
    assert train.is_multilabel


def test_tab_separated_manifest_with_numbered_classes(tmp_path):
    manifest = tmp_path / "list.tsv"
    manifest.write_text("path\tlabel\tsplit\n" + "".join(f"{i}.mp4\t{i}\ttrain\n" for i in (10, 9, 2)))
    assert load_dataset(f"csv:{manifest}", split="train").class_names == ("2", "9", "10")


def test_missing_column_and_empty_label_are_named(tmp_path):
    manifest = tmp_path / "list.csv"
    manifest.write_text("path,class\nx.mp4,run\n")
    with pytest.raises(ValueError, match="lacks the column label"):
        load_dataset(f"csv:{manifest}", split="train")
    manifest.write_text("path,label\nx.mp4,\n")
    with pytest.raises(ValueError, match="line 2: a row needs a path and a label"):
        load_dataset(f"csv:{manifest}", split="train")


def test_spaces_around_commas_and_quotes_do_not_count(tmp_path):
    manifest = tmp_path / "list.csv"
    manifest.write_text('path, label , split\na.mp4 , "x;y", train\n\n"b, c.mp4",y,test\n')
    train, test = (load_dataset(f"csv:{manifest}", split=split) for split in ("train", "test"))
    assert train.class_names == ("x", "y")
    assert [video.labels for video in train.videos] == [(0, 1)]
    assert train.videos[0].path == str(tmp_path / "a.mp4")
    assert test.videos[0].path == str(tmp_path / "b, c.mp4")
    manifest.write_bytes("path,label\nä.mp4,x\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"list\.csv' is not UTF-8 text"):
        load_dataset(f"csv:{manifest}", split="all")


def test_label_out_of_range_names_the_video():
    with pytest.raises(ValueError, match=r"label 2 of 'x.mp4' is out of range: there are 2 classes"):
        VideoDataset(name="d", split="s", class_names=("a", "b"), videos=(LabelledVideo("x.mp4", (2,)),))


def test_fewer_videos_are_taken_from_the_whole_list(tmp_path):
    for number in range(10):
        touch(tmp_path / "train" / "ab"[number // 5] / f"{number}.mp4")
    taken = load_dataset(f"folder:{tmp_path}", split="train", num_videos=4)
    assert [video.labels[0] for video in taken.videos] == [0, 0, 1, 1]


def test_unknown_dataset_lists_the_known():
    with pytest.raises(
        ValueError,
        match="known are synthetic, synthetic-trimmed, synthetic-v1, synthetic-v1-trimmed, synthetic-speeds, folder:",
    ):
        load_dataset("folders:x", split="train")


def test_real_manifest_reads(shared):
    dataset = load_dataset(f"csv:{shared / 'data/surv_fight/split.csv'}", split="all")
    assert len(dataset) == 200
    assert dataset.class_names == ("fight", "noFight")
