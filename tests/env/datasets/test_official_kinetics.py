"""Kinetics and Mini-Kinetics by their official lists."""

from __future__ import annotations

import pytest

from vidselect_env.datasets import load_dataset

HEADER = "label,youtube_id,time_start,time_end,split"
KINETICS = {
    "annotations/train.csv": f'{HEADER},is_cc\n"testifying, in court",---QUuC4vJs,84,94,train,0\n'
    "abseiling,-3B32lodo2M,59,69,train,0\n",
    "annotations/val.csv": f"{HEADER}\nabseiling,0wR5jVB-WPk,417,427,val\n",
    "annotations/test.csv": "youtube_id,time_start,time_end,split\n2wA2ZT_1gdc,1095,1105,test\n",
    "train/---QUuC4vJs_000084_000094.mp4": "",
    "train/abseiling/-3B32lodo2M_000059_000069.mkv": "",
    "val/0wR5jVB-WPk_000417_000427.mp4": "",
}


@pytest.mark.parametrize("number", [400, 600])
def test_kinetics_reads_its_lists(tmp_path, plant, names, number):
    root = plant(tmp_path, KINETICS)
    train = load_dataset(f"kinetics{number}:{root}", split="train")
    assert train.class_names == ("abseiling", "testifying, in court")
    assert names(train) == [
        ("---QUuC4vJs_000084_000094.mp4", "testifying, in court"),
        ("-3B32lodo2M_000059_000069.mkv", "abseiling"),
    ]
    assert train.name == f"kinetics{number}:{root}"
    val = load_dataset(f"kinetics{number}:{root}", split="val")
    assert (names(val), val.class_names) == ([("0wR5jVB-WPk_000417_000427.mp4", "abseiling")], train.class_names)
    with pytest.raises(ValueError, match=r"no such split \(.*test.csv' has no labels; evaluate on val\)"):
        load_dataset(f"kinetics{number}:{root}", split="test")
    with pytest.raises(ValueError, match="unknown variant '2' of kinetics"):
        load_dataset(f"kinetics{number}:{root}@2", split="train")


def test_the_names_of_all_distributors_are_known(tmp_path, plant):
    for number, name in enumerate(["kinetics-400_train.csv", "kinetics400/train.csv", "kinetics400/validate.csv"]):
        root = plant(
            tmp_path / str(number), {name: KINETICS["annotations/val.csv"], "0wR5jVB-WPk_000417_000427.mp4": ""}
        )
        split = "val" if "val" in name else "train"
        assert len(load_dataset(f"kinetics400:{root}", split=split)) == 1
    with pytest.raises(ValueError, match=r"no such split \(no file 'kinetics-400_train.csv' or 'train.csv' under"):
        load_dataset(f"kinetics400:{root}", split="train")
    with pytest.raises(ValueError, match="there are no lists of Kinetics"):
        load_dataset(f"kinetics400:{plant(tmp_path / 'none', {'a.txt': ''})}", split="train")


def test_a_mended_video_stands_for_its_original(tmp_path, plant):
    mended = "replacement/replacement_for_corrupted_k400/---QUuC4vJs_000084_000094.mp4"
    root = plant(tmp_path, KINETICS | {mended: ""})
    assert load_dataset(f"kinetics400:{root}", split="train").videos[0].path == str(root / mended)


def test_of_two_copies_the_nearest_is_taken_and_said(tmp_path, plant, capsys):
    root = plant(tmp_path, KINETICS | {"videos/train/x/---QUuC4vJs_000084_000094.mp4": ""})
    path = load_dataset(f"kinetics400:{root}", split="train").videos[0].path
    assert path == str(root / "train/---QUuC4vJs_000084_000094.mp4")
    assert "on the disk more than once, the nearest taken: 1 (---QUuC4vJs_000084_000094)" in capsys.readouterr().out


def test_contradictions_are_errors(tmp_path, plant):
    row = "juggling,---QUuC4vJs,84,94,train\n"
    root = plant(tmp_path, KINETICS | {"annotations/train.csv": f"{HEADER}\nabseiling,---QUuC4vJs,84,94,train\n{row}"})
    with pytest.raises(
        ValueError, match=r"listed twice, with different labels: 1 \(---QUuC4vJs_000084_000094: abs.*jug"
    ):
        load_dataset(f"kinetics400:{root}", split="train")
    plant(root, {"annotations/val.csv": f"{HEADER}\ncurling,0wR5jVB-WPk,417,427,val\n"})
    with pytest.raises(ValueError, match=r"labels that are no class: 1 \(curling of 0wR5jVB-WPk_000417_000427\)"):
        load_dataset(f"kinetics400:{root}", split="val")


def test_other_clips_of_a_video_are_other_videos(tmp_path, plant, names):
    """Kinetics-600 has two clips, with two labels, of some videos of YouTube."""
    rows = "weaving fabric,dMzycn1d3qU,1,11,val\nyarn spinning,dMzycn1d3qU,0,10,val\n"
    videos = {"dMzycn1d3qU_000000_000010.mp4": "", "dMzycn1d3qU_000001_000011.mp4": ""}
    root = plant(tmp_path, {"kinetics-600_val.csv": f"{HEADER}\n{rows}"} | videos)
    assert names(load_dataset(f"kinetics600:{root}", split="val")) == [
        ("dMzycn1d3qU_000001_000011.mp4", "weaving fabric"),
        ("dMzycn1d3qU_000000_000010.mp4", "yarn spinning"),
    ]


def test_rows_of_another_form(tmp_path, plant):
    root = plant(tmp_path, {"train.csv": f"{HEADER}\nabseiling,---QUuC4vJs,soon,94,train\n"})
    with pytest.raises(ValueError, match=rf"train.csv', line 2: a line must be of the form '{HEADER}'"):
        load_dataset(f"kinetics400:{root}", split="train")
    plant(tmp_path, {"train.csv": "label,id\nabseiling,x\n"})
    with pytest.raises(ValueError, match="lacks the column time_end, time_start, youtube_id"):
        load_dataset(f"kinetics400:{root}", split="train")


def test_mini_kinetics_takes_labels_from_kinetics_400(tmp_path, plant, names, capsys):
    lists = {"train_ytid_list.txt": "-3B32lodo2M\nunheard-of0\n", "val_ytid_list.txt": "0wR5jVB-WPk\n"}
    root = plant(tmp_path, KINETICS | lists)
    train = load_dataset(f"minikinetics:{root}", split="train")
    assert (names(train), train.class_names) == ([("-3B32lodo2M_000059_000069.mkv", "abseiling")], ("abseiling",))
    assert "in no CSV file of Kinetics-400, left out: 1 (unheard-of0)" in capsys.readouterr().out
    assert names(load_dataset(f"minikinetics:{root}", split="val")) == [("0wR5jVB-WPk_000417_000427.mp4", "abseiling")]
    with pytest.raises(ValueError, match=r"no such split \(its authors made none; evaluate on val\)"):
        load_dataset(f"minikinetics:{root}", split="test")
