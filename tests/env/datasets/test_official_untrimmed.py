"""THUMOS14, ActivityNet and Sports-1M: untrimmed, several labels, spans in seconds."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from scipy.io import savemat

from vidselect_env.datasets import load_dataset
from vidselect_env.datasets.official.listing import merged_spans
from vidselect_env.datasets.official.thumos import DETECTION_CLASSES

VAL, TEST = "video_validation_000000", "video_test_000000"
INDEX = {"Class Index.txt": "7 BaseballPitch\n9 BasketballDunk\n10 BenchPress\n"}


def metadata(file, variable, rows):
    """A struct array as THUMOS14 has it; `rows` are (name, primary, secondary, seconds, background or not)."""
    fields = ("video_name", "primary_action_index", "secondary_actions_indices", "video_duration_seconds")
    array = np.zeros((1, len(rows)), dtype=[(name, object) for name in (*fields, "background_video")])
    for place, (name, primary, secondary, seconds, background) in enumerate(rows):
        array[0, place] = (
            name,
            np.float64(primary),
            np.array(secondary, float),
            seconds,
            "YES" if background else "NO",
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    savemat(file, {variable: array})


@pytest.fixture
def thumos(tmp_path, plant):
    """Two videos of a set each, with a third of the test set that is background."""
    spans = {f"annotation/{label}_{part}.txt": "" for label in DETECTION_CLASSES for part in ("val", "test")}
    spans["annotation/BaseballPitch_val.txt"] = f"{VAL}1  72.8 76.4\n{VAL}1  10.0 11.5\n"
    spans["annotation/BasketballDunk_val.txt"] = f"{VAL}1  76.0 78.0\n{VAL}2  99.0 101.0\n{VAL}2  120.0 130.0\n"
    spans["annotation/Ambiguous_val.txt"] = f"{VAL}1  0.0 80.0\n"
    spans["annotation/BaseballPitch_test.txt"] = f"{TEST}1  1.0 2.0\n"
    spans["annotation/Ambiguous_test.txt"] = f"{TEST}3  0.0 5.0\n"
    root = plant(tmp_path, spans | INDEX)
    rows = [(f"{VAL}1.mpeg", 7, [9], 90.0, False), (f"{VAL}2.mpeg", 10, [], 100.0, False)]
    metadata(root / "validation_set_meta/validation_set.mat", "validation_videos", rows)
    rows = [(f"{TEST}1", 7, [], 20.0, False), (f"{TEST}2", 1, [], 20.0, True), (f"{TEST}3", 10, [7, 9], 20.0, False)]
    metadata(root / "test_set_meta.mat", "test_videos", rows)
    videos = {f"validation/{VAL}{n}.mp4": "" for n in (1, 2)} | {
        f"TH14_test_set_mp4/{TEST}{n}.mp4": "" for n in (1, 2, 3)
    }
    return plant(root, videos)


def test_thumos14_of_101_classes_has_the_labels_of_the_metadata(thumos, names, capsys):
    train = load_dataset(f"thumos14:{thumos}", split="train")  # its validation set
    assert train.class_names == ("BaseballPitch", "BasketballDunk", "BenchPress")
    assert names(train) == [(f"{VAL}1.mp4", "BaseballPitch+BasketballDunk"), (f"{VAL}2.mp4", "BenchPress")]
    assert train.is_multilabel
    assert train.videos[0].action_spans_s == (
        (10.0, 11.5),
        (72.8, 78.0),
    )  # of both classes; ambiguous ones do not count
    assert train.videos[1].action_spans_s == ((99.0, 100.0),)  # it lasts 100 s
    said = capsys.readouterr().out
    assert f"spans outside their videos of train, left out: 1 ({VAL}2 120 to 130 s)" in said
    assert f"background videos of test, left out: 1 ({TEST}2)" in said
    test = load_dataset(f"thumos14:{thumos}", split="test")
    assert names(test) == [
        (f"{TEST}1.mp4", "BaseballPitch"),
        (f"{TEST}3.mp4", "BenchPress+BaseballPitch+BasketballDunk"),
    ]
    assert test.videos[1].action_spans_s == ()
    with pytest.raises(ValueError, match=r"no such split \(its authors' validation set is the split train\)"):
        load_dataset(f"thumos14:{thumos}", split="val")


def test_thumos14_of_20_classes_has_the_annotated_videos(thumos, names):
    train = load_dataset(f"thumos14:{thumos}@20", split="train")
    assert train.class_names == DETECTION_CLASSES
    assert names(train) == [(f"{VAL}1.mp4", "BaseballPitch+BasketballDunk"), (f"{VAL}2.mp4", "BasketballDunk")]
    assert train.videos[1].action_spans_s == ((99.0, 100.0),)
    test = load_dataset(f"thumos14:{thumos}@20", split="test")
    assert names(test) == [(f"{TEST}1.mp4", "BaseballPitch")]  # 3 is ambiguous all through
    (thumos / "validation_set_meta/validation_set.mat").unlink()
    train = load_dataset(f"thumos14:{thumos}@20", split="train")
    assert train.videos[1].action_spans_s == ((99.0, 101.0), (120.0, 130.0))  # nothing tells how long it is


def test_the_evaluation_kits_metadata_comes_first(thumos, names):
    metadata(thumos / "TH14evalkit/test_set_final.mat", "test_videos", [(f"{TEST}1", 9, [], 20.0, False)])
    assert names(load_dataset(f"thumos14:{thumos}", split="test")) == [(f"{TEST}1.mp4", "BasketballDunk")]


def test_thumos14_errors(thumos, plant):
    plant(thumos, {"annotation/Diving_test.txt": f"{TEST}1  1.0\n"})
    with pytest.raises(ValueError, match=r"Diving_test.txt', line 1: .*'video_validation_0000266 72.8 76.4'"):
        load_dataset(f"thumos14:{thumos}", split="train")
    (thumos / "annotation/Diving_test.txt").unlink()
    with pytest.raises(ValueError, match=r"no file 'Diving_test.txt' under"):
        load_dataset(f"thumos14:{thumos}@20", split="train")
    metadata(thumos / "test_set_meta.mat", "test_videos", [(f"{TEST}1", 64, [], 20.0, False)])
    with pytest.raises(ValueError, match=rf"labels that are no class: 1 \(class 64 of {TEST}1\)"):
        load_dataset(f"thumos14:{thumos}", split="test")
    savemat(thumos / "test_set_meta.mat", {"videos": np.zeros(3)})
    with pytest.raises(ValueError, match=r"test_set_meta.mat' is not THUMOS14's metadata 'test_videos': KeyError"):
        load_dataset(f"thumos14:{thumos}", split="test")
    (thumos / "test_set_meta.mat").unlink()
    with pytest.raises(ValueError, match=r"no file 'test_set_final.mat' \(or test_set_meta.mat\) under"):
        load_dataset(f"thumos14:{thumos}", split="test")


def test_spans_are_ordered_joined_and_cut():
    spans = [(5, 7), (1, 3), (2, 4), (9, 9), (9.5, 12), (-1, 0.5), (11, 13)]
    assert merged_spans(spans, duration_s=10) == ((0, 0.5), (1, 4), (5, 7), (9.5, 10))
    assert merged_spans([(1, 2), (2, 3)]) == ((1, 3),)


def activity(subset, *segments, duration=50.0):
    annotations = [{"segment": list(segment), "label": label} for *segment, label in segments]
    return {"duration": duration, "subset": subset, "resolution": "320x240", "url": "", "annotations": annotations}


@pytest.fixture
def activitynet(tmp_path, plant):
    taxonomy = [
        {"parentName": None, "nodeName": "Root", "nodeId": 0, "parentId": None},
        {"parentName": "Root", "nodeName": "Household", "nodeId": 1, "parentId": 0},
        {"parentName": "Household", "nodeName": "Washing hands", "nodeId": 2, "parentId": 1},
        {"parentName": "Root", "nodeName": "Archery", "nodeId": 3, "parentId": 0},
    ]
    database = {
        "sJxn5yGoNNM": activity("training", (1.5, 20.0, "Washing hands"), (30, 60.2, "Washing hands")),
        "v_abcdefghi": activity("training", (0, 5, "Archery"), (4, 8, "Washing hands")),
        "ZZVrH3Hv1fM": activity("validation", (0, 0, "Washing hands")),
        "nothing0000": activity("validation"),
        "testing0000": activity("testing"),
    }
    content = {"version": "VERSION 1.3", "taxonomy": taxonomy, "database": database}
    videos = {"train/v_sJxn5yGoNNM.mp4": "", "train/v_v_abcdefghi.mkv": "", "val/ZZVrH3Hv1fM.webm": ""}
    return plant(tmp_path, {"activity_net.v1-3.min.json": json.dumps(content)} | videos)


def test_activitynet_segments_are_spans(activitynet, names, capsys):
    train = load_dataset(f"activitynet:{activitynet}", split="train")
    assert train.class_names == ("Archery", "Washing hands")  # the leaves of the taxonomy
    assert names(train) == [("v_sJxn5yGoNNM.mp4", "Washing hands"), ("v_v_abcdefghi.mkv", "Archery+Washing hands")]
    assert train.videos[0].action_spans_s == ((1.5, 20.0), (30.0, 50.0))
    assert train.videos[1].action_spans_s == ((0.0, 8.0),)
    said = capsys.readouterr().out
    assert "segments outside their videos, left out: 1 (ZZVrH3Hv1fM 0 to 0 s)" in said
    assert "without a label, left out: 1 (nothing0000)" in said
    val = load_dataset(f"activitynet:{activitynet}", split="val")
    assert names(val) == [("ZZVrH3Hv1fM.webm", "Washing hands")]
    assert val.videos[0].action_spans_s == ()
    with pytest.raises(
        ValueError, match=r"no such split \(its labels are withheld; evaluate on val\): there are train"
    ):
        load_dataset(f"activitynet:{activitynet}", split="test")


def test_what_is_learned_on_beside_an_official_val_is_all_of_train(activitynet, names):
    fit = load_dataset(f"activitynet:{activitynet}", split="fit")
    assert names(fit) == names(load_dataset(f"activitynet:{activitynet}", split="train"))


def test_activitynet_errors(activitynet):
    file = activitynet / "activity_net.v1-3.min.json"
    content = json.loads(file.read_text())
    content["database"]["sJxn5yGoNNM"]["annotations"][0]["label"] = "Household"  # not a leaf
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"labels that are no class: 1 \(Household of sJxn5yGoNNM\)"):
        load_dataset(f"activitynet:{activitynet}", split="train")
    content["database"]["sJxn5yGoNNM"]["subset"] = "unheard-of"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"is not of ActivityNet's form: KeyError\('unheard-of'\)"):
        load_dataset(f"activitynet:{activitynet}", split="train")
    file.write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        load_dataset(f"activitynet:{activitynet}", split="train")
    with pytest.raises(ValueError, match=r"no file 'activity_net.v1-2.min.json' under"):
        load_dataset(f"activitynet:{activitynet}@1.2", split="train")


YOUTUBE = "https://www.youtube.com/watch?v="
SPORTS = {
    "sports-1m-dataset/labels.txt": "boomerang\nyağlı güreş\nbowling\n",
    "videos/UDqivjS-lpI.mp4": "",
    "videos/-_000000000.mkv": "",
    "videos/bbbbbbbbbbb.mp4": "",
}


def test_sports1m_reads_packed_partitions_and_folds(tmp_path, plant, names):
    root = plant(tmp_path, SPORTS)
    folder = root / "sports-1m-dataset"
    lists = {
        "original/train_partition.txt.gz": f"{YOUTUBE}UDqivjS-lpI 0,1\n{YOUTUBE}-_000000000 2\n",
        "original/test_partition.txt.gz": f"{YOUTUBE}bbbbbbbbbbb 1\n",
        "cross-validation/sports7_train.txt.gz": f"{YOUTUBE}UDqivjS-lpI 0\n",
        "cross-validation/sports7_test.txt.gz": f"{YOUTUBE}UDqivjS-lpI 1\n",  # as its README says of fold 0
    }
    for path, text in lists.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(gzip.compress(text.encode()))
    train = load_dataset(f"sports1m:{root}", split="train")
    assert train.class_names == ("boomerang", "yağlı güreş", "bowling")
    assert names(train) == [("UDqivjS-lpI.mp4", "boomerang+yağlı güreş"), ("-_000000000.mkv", "bowling")]
    assert names(load_dataset(f"sports1m:{root}", split="test")) == [("bbbbbbbbbbb.mp4", "yağlı güreş")]
    assert names(load_dataset(f"sports1m:{root}@7", split="test")) == [("UDqivjS-lpI.mp4", "yağlı güreş")]
    # Of the whole fold, a video that is listed twice has both labels.
    assert names(load_dataset(f"sports1m:{root}@7", split="all")) == [("UDqivjS-lpI.mp4", "boomerang+yağlı güreş")]


def test_minisports_reads_lists_of_the_same_form(tmp_path, plant, names):
    root = plant(tmp_path, SPORTS)
    plant(
        root,
        {"minisports_train.txt": f"{YOUTUBE}UDqivjS-lpI 2\n", "test_minisports1m.txt": f"{YOUTUBE}bbbbbbbbbbb 3\n"},
    )
    with pytest.raises(ValueError, match=r"labels that are no class: 1 \(class 3 of bbbbbbbbbbb\)"):
        load_dataset(f"minisports:{root}", split="test")
    assert names(load_dataset(f"minisports:{root}", split="train")) == [("UDqivjS-lpI.mp4", "bowling")]


@pytest.mark.parametrize("line", ["UDqivjS-lpI 2", f"{YOUTUBE}UDqivjS-lpI", f"{YOUTUBE}UDqivjS-lpI a,b"])
def test_sports1m_lines_of_another_form(tmp_path, plant, line):
    root = plant(tmp_path, SPORTS | {"minisports_train.txt": line, "minisports_test.txt": f"{YOUTUBE}bbbbbbbbbbb 1"})
    with pytest.raises(ValueError, match=r"minisports_train.txt', line 1: .*watch\?v=UDqivjS-lpI 168,169"):
        load_dataset(f"minisports:{root}", split="train")
