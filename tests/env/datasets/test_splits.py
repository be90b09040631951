"""Splits that a hash of the names makes."""

from __future__ import annotations

import pytest

from vidselect_env.datasets import load_dataset
from vidselect_env.datasets.splits import group_of, hashed_split, is_held_out


def names(dataset, split):
    return {video.path for video in load_dataset(dataset, split=split).videos}


def write(path, content=b""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def with_splits(tmp_path):
    for number in range(200):
        write(tmp_path / ("train" if number % 4 else "test") / "ab"[number % 2] / f"{number}.mp4")
    return f"folder:{tmp_path}"


def test_val_is_a_fifth_of_train_and_fit_the_rest(with_splits):
    train, fit, val, test = (names(with_splits, split) for split in ("train", "fit", "val", "test"))
    assert len(train) == 150
    assert fit | val == train
    assert not fit & val
    assert not val & test
    assert 20 <= len(val) <= 40


def test_fit_is_train_where_the_data_have_a_val(tmp_path, with_splits):
    write(tmp_path / "val" / "a" / "own.mp4")
    assert names(with_splits, "fit") == names(with_splits, "train")
    assert names(with_splits, "val") == {str(tmp_path / "val" / "a" / "own.mp4")}


def test_segments_of_one_file_are_held_out_together(tmp_path):
    rows = [f"{number}.mp4,x,train,{part},{part + 1}" for number in range(50) for part in range(3)]
    manifest = tmp_path / "list.csv"
    manifest.write_text("path,label,split,start_s,end_s\n" + "\n".join([*rows, "t.mp4,x,test,0,1", ""]))
    fit, val = (names(f"csv:{manifest}", split) for split in ("fit", "val"))
    assert not fit & val
    assert len(load_dataset(f"csv:{manifest}", split="val")) == 3 * len(val)
    assert 3 <= len(val) <= 20


def test_clips_of_one_group_stay_together_and_it_is_said(tmp_path):
    for group in range(40):
        for clip in range(1, 4):
            write(tmp_path / "Diving" / f"v_Diving_g{group:02}_c{clip:02}.avi")
    name = f"folder:{tmp_path}"
    with pytest.warns(UserWarning, match=r"keeps together the 40 groups of clips .* 'v_Diving_g00_c01.avi'"):
        splits = [names(name, split) for split in ("fit", "val", "test")]
    groups = [{path.rsplit("_g", 1)[1][:2] for path in split} for split in splits]
    assert all(len(split) == 3 * len(of) > 0 for split, of in zip(splits, groups, strict=True))
    assert len(set.union(*groups)) == sum(map(len, groups)) == 40


def test_only_names_of_groups_are_shortened():
    assert group_of("v_Diving_g01_c02.avi") == "v_Diving_g01"
    assert group_of("Diving/v_Diving_g01_c02") == "Diving/v_Diving_g01"
    for name in ("diving_2.mp4", "g01_c02.mp4", "v_g01_c02_x.mp4", "v_Diving_g01.avi"):
        assert group_of(name) == name


def test_the_hashes_are_the_same_for_ever():
    """Banks and published figures depend on them."""
    assert [number for number in range(8) if hashed_split(f"{number}.mp4") == "test"] == [1, 5, 7]
    assert [number for number in range(24) if is_held_out(f"{number}.mp4")] == [11, 19, 22]
