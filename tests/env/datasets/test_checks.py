"""Data that contradict themselves are refused, and what is left out is counted."""

from __future__ import annotations

import os
import warnings

import pytest

from vidselect_env.datasets import load_dataset


def put(folder, name, content=None):
    """A file with a content of its own, or this."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(str(path).encode() if content is None else content)
    return path


def folder_of(root, *names):
    for name in names:
        put(root, name)
    return f"folder:{root}"


def manifest(root, text):
    (root / "list.csv").write_text(text)
    return f"csv:{root / 'list.csv'}"


def taken(name, split="all"):
    return sorted("/".join(video.path.split("/")[-3:]) for video in load_dataset(name, split=split).videos)


def refused(name, rule, split="all"):
    with pytest.raises(ValueError, match=rule):
        load_dataset(name, split=split)


def test_a_copy_in_train_and_test_is_refused(tmp_path):
    name = folder_of(tmp_path, "train/a/1.mp4", "train/b/2.mp4", "test/a/3.mp4")
    assert len(taken(name)) == 3
    put(tmp_path, "test/b/copy.mp4", (tmp_path / "train/b/2.mp4").read_bytes())
    for split in ("train", "test", "all"):
        refused(name, r"'train/b/2.mp4' and 'test/b/copy.mp4' are one file in both train and test", split)


def test_a_link_under_two_classes_is_refused(tmp_path):
    name = folder_of(tmp_path, "train/a/1.mp4", "train/b/2.mp4")
    os.link(tmp_path / "train/a/1.mp4", tmp_path / "train/b/1.mp4")
    refused(name, r"'train/a/1.mp4' and 'train/b/1.mp4' are one file under different classes \(a, b\)$")
    (tmp_path / "train/b/3.mp4").symlink_to(tmp_path / "train/a/1.mp4")
    refused(name, "and 1 more such pair")


def test_a_copy_in_the_same_class_and_split_does_no_harm(tmp_path):
    name = folder_of(tmp_path, "train/a/1.mp4", "train/b/2.mp4")
    put(tmp_path, "train/a/copy.mp4", (tmp_path / "train/a/1.mp4").read_bytes())
    assert len(taken(name)) == 3


def test_files_of_one_size_and_beginning_are_told_apart_by_their_ends(tmp_path):
    head = bytes(1 << 17)
    put(tmp_path, "train/a/1.mp4", head + b"1")
    put(tmp_path, "train/b/2.mp4", head + b"2")
    assert len(taken(f"folder:{tmp_path}")) == 2
    put(tmp_path, "train/b/3.mp4", head + b"1")
    refused(f"folder:{tmp_path}", "'train/a/1.mp4' and 'train/b/3.mp4' are one file")


def test_a_manifest_with_one_file_in_two_splits_is_refused(tmp_path):
    name = manifest(tmp_path, "path,label,split\na.mp4,x,train\nb.mp4,y,train\n./a.mp4,x,test\n")
    refused(name, r"'a.mp4' \(line 2\) and './a.mp4' \(line 4\) are one file in both train and test", "train")
    put(tmp_path, "c.mp4", b"same")
    put(tmp_path, "d.mp4", b"same")
    name = manifest(tmp_path, "path,label,split\nc.mp4,x,train\nd.mp4,y,train\n")
    refused(name, r"'c.mp4' \(line 2\) and 'd.mp4' \(line 3\) are one file under different classes \(x, y\)")


SEGMENTS = "path,label,split,start_s,end_s\n"


@pytest.mark.parametrize(
    "rows",
    ["a.mp4,x,train,0,2\na.mp4,x,test,1.9,3\n", "a.mp4,x,train,,\na.mp4,y,test,5,6\n",
     "a.mp4,x,train,0,9\na.mp4,y,train,1,2\na.mp4,y,test,8,10\n"],
)  # fmt: skip
def test_overlapping_parts_of_one_file_in_two_splits_are_refused(tmp_path, rows):
    refused(manifest(tmp_path, SEGMENTS + rows), "are one file in both train and test")


def test_parts_of_one_file_that_do_not_overlap_are_warned_of(tmp_path):
    name = manifest(tmp_path, SEGMENTS + "a.mp4,x,train,0,2\na.mp4,y,train,1,2\na.mp4,x,test,2,3\nb.mp4,x,test,0,3\n")
    with pytest.warns(UserWarning, match=r"list.csv': 1 files have parts in several splits"):
        assert len(taken(name, "train")) == 2


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('path,label\na.mp4,x\n"b.mp4,x\nc.mp4,y\nd.mp4,y"\n', "line 3: a quote is opened and not closed"),
        ('path,label\na.mp4,x\n"b.mp4,x\n', "line 3: a quote is opened and not closed"),
        ("path,label\na.mp4,x\na, b.mp4,y\n", r"line 3: it has 3 values, more than there are columns \(2\)"),
        ("path,label,split\na.mp4,x,train\nb.mp4,x,\n", "line 3: a row needs a split, as the file has a column"),
    ],
)
def test_lines_that_are_no_rows_are_named(tmp_path, text, rule):
    refused(manifest(tmp_path, text), rule)


def test_a_quote_in_the_middle_of_a_name_is_part_of_it(tmp_path):
    name = manifest(tmp_path, 'path,label\n12" disc.mp4,x\n"a, ""b"".mp4",y\n')
    assert [video.path.split("/")[-1] for video in load_dataset(name, split="all").videos] == [
        '12" disc.mp4',
        'a, "b".mp4',
    ]


def left_out(name, split="all"):
    """The videos taken, and the one warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        files = taken(name, split)
    [warning] = caught
    return files, str(warning.message)


def test_hidden_files_and_folders_with_the_name_of_a_video_are_no_videos(tmp_path):
    name = folder_of(tmp_path, "train/a/1.mp4", "train/a/._1.mp4", "train/a/._2.mp4", "train/b/2.mp4")
    (tmp_path / "train" / "a" / "x.mp4").mkdir()
    os.mkfifo(tmp_path / "train" / "b" / "pipe.mp4")
    files, message = left_out(name)
    assert files == ["train/a/1.mp4", "train/b/2.mp4"]
    assert "2 hidden files (such as 'train/a/._1.mp4')" in message
    assert "1 folders with the name of a video (such as 'train/a/x.mp4')" in message
    assert "1 entries that are no regular files (such as 'train/b/pipe.mp4')" in message


def test_nested_videos_and_other_folders_are_counted(tmp_path):
    names = ["train/a/1.mp4", "train/a/more/2.mp4", "train/a/more/yet/3.mp4", "validation/a/4.mp4", "test/a/5.mp4"]
    name = folder_of(tmp_path, *names, "train/6.mp4", "train/a/notes.txt", "other/notes.txt")
    files, message = left_out(name)
    assert files == ["test/a/5.mp4", "train/a/1.mp4"]
    assert "2 videos in folders inside of class folders (such as 'train/a/more/2.mp4')" in message
    assert "1 videos outside of the split folders (train, val, test) (such as 'validation/a/4.mp4')" in message
    assert "1 videos outside of a class folder (such as 'train/6.mp4')" in message


def test_nothing_is_said_where_nothing_is_left_out(tmp_path):
    name = folder_of(tmp_path, "train/a/1.mp4", "test/a/2.mp4", "train/a/notes.txt", "README.md", ".git/x.mp4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(taken(name)) == 2
