"""Manifests whose rows are parts of files."""

from __future__ import annotations

import hashlib
import json

import pytest

from vidselect_env.datasets import LabelledVideo, VideoDataset, load_dataset
from vidselect_env.video.index import index_video

HEADER = "path,label,split,start_s,end_s,action_start_s,action_end_s\n"


def manifest(folder, *rows, header=HEADER):
    file = folder / "list.csv"
    file.write_text(header + "".join(f"{row}\n" for row in rows))
    return f"csv:{file}"


def test_a_row_may_be_a_segment_and_say_where_the_action_is(tmp_path):
    name = manifest(tmp_path, "x.mp4,run,train,0.5,2.5,1.25;2,1.5;2.25", "x.mp4,run,train,3,,,", "y.mp4,run,train,,,,")
    path, other = str(tmp_path / "x.mp4"), str(tmp_path / "y.mp4")
    assert load_dataset(name, split="train").videos == (
        LabelledVideo(path, (0,), start_s=0.5, end_s=2.5, action_spans_s=((1.25, 1.5), (2.0, 2.25))),
        LabelledVideo(path, (0,), start_s=3.0),
        LabelledVideo(other, (0,)),
    )


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ("x.mp4,run,train,2,1,,", r"end_s \(1\) must be after start_s \(2\)"),
        ("x.mp4,run,train,2,2,,", r"end_s \(2\) must be after start_s \(2\)"),
        ("x.mp4,run,train,-1,2,,", r"start_s \(-1\) must be a number of seconds, at least 0"),
        ("x.mp4,run,train,nan,2,,", r"start_s \(nan\) must be a number of seconds"),
        ("x.mp4,run,train,one,2,,", r"start_s \(one\) must be a number of seconds"),
        ("x.mp4,run,train,1,2,1.5,1.2", r"action_end_s \(1.2\) must be after action_start_s \(1.5\)"),
        ("x.mp4,run,train,1,2,1.5;1.6,1.7", r"action_start_s \(1.5;1.6\) and action_end_s \(1.7\) must have a number"),
        ("x.mp4,run,train,1,2,1.5,", r"action_start_s \(1.5\) and action_end_s \(\) must have a number each"),
    ],
)
def test_a_segment_that_is_none_names_file_line_and_values(tmp_path, row, rule):
    with pytest.raises(ValueError, match=rf"list\.csv', line 3: {rule}"):
        load_dataset(manifest(tmp_path, "y.mp4,run,train,,,,", row), split="train")


def test_one_part_of_a_file_is_listed_once_in_a_split(tmp_path):
    name = manifest(tmp_path, "x.mp4,run,train,1,2,,", "x.mp4,run,train,1.5,2,,", "x.mp4,run,train,1.0,2.0,,")
    rule = r"line 4: 'x.mp4' with the segment \[1.0, 2.0\) is listed already in line 2"
    with pytest.raises(ValueError, match=rule):
        load_dataset(name, split="train")
    with pytest.raises(ValueError, match=r"line 3: 'x.mp4' is listed already in line 2; several labels"):
        load_dataset(manifest(tmp_path, "x.mp4,run", "x.mp4,jump", header="path,label\n"), split="all")


def test_both_columns_of_a_pair_are_needed(tmp_path):
    with pytest.raises(ValueError, match="has one of the columns start_s, end_s"):
        load_dataset(manifest(tmp_path, "x.mp4,run,1", header="path,label,start_s\n"), split="all")


def dataset_of(*videos):
    return VideoDataset(name="d", split="train", class_names=("a", "b"), videos=videos)


def test_banks_of_whole_files_keep_their_fingerprint(tmp_path):
    """Of their names below the folder that they share, and their content; what is not there has none."""
    (tmp_path / "other.mp4").write_bytes(b"frames")
    videos = LabelledVideo(str(tmp_path / "a" / "x.mp4"), (0,)), LabelledVideo(str(tmp_path / "other.mp4"), (1, 0))
    digest = hashlib.sha256(b"frames").hexdigest()
    listing = [["a", "b"], [["a/x.mp4", [0], -1, ""], ["other.mp4", [1, 0], 6, digest]]]
    assert dataset_of(*videos).fingerprint() == hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def test_the_fingerprint_covers_segments_and_actions():
    parts = [
        LabelledVideo("x.mp4", (0,)),
        LabelledVideo("x.mp4", (0,), start_s=1.0),
        LabelledVideo("x.mp4", (0,), end_s=1.0),
        LabelledVideo("x.mp4", (0,), start_s=1.0, end_s=2.0),
        LabelledVideo("x.mp4", (0,), start_s=1.0, end_s=2.0, action_spans_s=((1.2, 1.4),)),
        LabelledVideo("x.mp4", (0,), action_spans_s=((1.2, 1.4),)),
    ]
    assert len({dataset_of(part).fingerprint() for part in parts}) == len(parts)


def test_words_of_grid_are_two_seconds_at_25_frames(shared):
    dataset = load_dataset(f"csv:{shared / 'data' / 'grid_s1' / 'colour.csv'}", split="train")
    for video in dataset.videos[:5]:
        assert index_video(video.path, start_s=video.start_s, end_s=video.end_s).info.num_frames == 50
        [(start_s, end_s)] = video.action_spans_s
        assert video.start_s <= start_s < end_s <= video.end_s
