"""UCF101 and HMDB51 by their official lists."""

from __future__ import annotations

import pytest
import torch

from vidselect_env.datasets import load_dataset
from vidselect_env.datasets.official import official_splits
from vidselect_env.video.decode import FrameSize, read_clips

UCF = {
    "ucfTrainTestlist/classInd.txt": "1 ApplyEyeMakeup\r\n2 Archery\r\n3 HandstandPushups\r\n",
    "ucfTrainTestlist/trainlist01.txt": "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\r\n"
    "Archery/v_Archery_g08_c01.avi 2\r\n",
    "ucfTrainTestlist/testlist01.txt": "HandstandPushups/v_HandStandPushups_g01_c01.avi\r\n"
    "Archery/v_Archery_g01_c01.avi\r\n",
    "ucfTrainTestlist/trainlist02.txt": "Archery/v_Archery_g01_c01.avi 2\n",
    "ucfTrainTestlist/testlist02.txt": "Archery/v_Archery_g08_c01.avi\n",
    "UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi": "",
    "UCF-101/Archery/v_Archery_g08_c01.avi": "",
    "UCF-101/Archery/v_Archery_g01_c01.avi": "",
    "UCF-101/HandstandPushups/v_HandstandPushups_g01_c01.avi": "",
}
HMDB = {
    "testTrainMulti_7030_splits/brush_hair_test_split1.txt": "April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1 \n"
    "#2_brush_hair_h_cm_np1_le_goo_1.avi 2 \n",
    "testTrainMulti_7030_splits/cartwheel_test_split1.txt": "Acrobacias_cartwheel_f_cm_np1_ba_bad_8.avi 0 \n"
    "(Rad)Schlag_cartwheel_f_cm_np1_le_med_0.avi 1 \n",
    "testTrainMulti_7030_splits/brush_hair_test_split3.txt": "April_09_brush_hair_u_nm_np1_ba_goo_0.avi 2 \n",
    "testTrainMulti_7030_splits/cartwheel_test_split3.txt": "Acrobacias_cartwheel_f_cm_np1_ba_bad_8.avi 1 \n",
    "hmdb51_org/brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi": "",
    "hmdb51_org/brush_hair/#2_brush_hair_h_cm_np1_le_goo_1.avi": "",
    "hmdb51_org/cartwheel/Acrobacias_cartwheel_f_cm_np1_ba_bad_8.avi": "",
    "hmdb51_org/cartwheel/(Rad)Schlag_cartwheel_f_cm_np1_le_med_0.avi": "",
}


def test_ucf101_reads_its_lists(tmp_path, plant, names, capsys):
    root = plant(tmp_path, UCF)
    train = load_dataset(f"ucf101:{root}", split="train")
    assert train.class_names == ("ApplyEyeMakeup", "Archery", "HandstandPushups")  # numbered from 1 in the file
    assert names(train) == [("v_ApplyEyeMakeup_g08_c01.avi", "ApplyEyeMakeup"), ("v_Archery_g08_c01.avi", "Archery")]
    assert train.name == f"ucf101:{root}@1"
    test = load_dataset(f"ucf101:{root}@1", split="test")
    # The list spells HandStand where the file spells Handstand.
    assert names(test) == [("v_HandstandPushups_g01_c01.avi", "HandstandPushups"), ("v_Archery_g01_c01.avi", "Archery")]
    assert len(load_dataset(f"ucf101:{root}", split="all")) == 4
    assert "3 classes, where the official lists have 101" in capsys.readouterr().out


def test_the_number_of_the_official_split_chooses_the_lists(tmp_path, plant, names):
    root = plant(tmp_path, UCF)
    assert names(load_dataset(f"ucf101:{root}@2", split="train")) == [("v_Archery_g01_c01.avi", "Archery")]
    with pytest.raises(ValueError, match=r"unknown variant '4' of ucf101: there are 1, 2, 3"):
        load_dataset(f"ucf101:{root}@4", split="train")
    with pytest.raises(ValueError, match=r"no file 'ucfTrainTestlist/trainlist03.txt' \(or trainlist03.txt\) under"):
        load_dataset(f"ucf101:{root}@3", split="train")
    with pytest.raises(ValueError, match=r"no such split \(its authors made none\): there are train, test, all"):
        load_dataset(f"ucf101:{root}", split="val")


def test_an_at_sign_in_the_folders_own_name_is_no_variant(tmp_path, plant):
    root = plant(tmp_path / "ucf@2", UCF)
    assert len(load_dataset(f"ucf101:{root}", split="train")) == 2  # split 1
    assert len(load_dataset(f"ucf101:{root}@2", split="train")) == 1


def test_reencoded_files_and_other_arrangements_are_found(tmp_path, plant, names):
    files = {path.replace("UCF-101/", "a/b/c/").replace(".avi", ".mp4"): text for path, text in UCF.items()}
    files = {path.replace("ucfTrainTestlist/", ""): text for path, text in files.items()}
    train = load_dataset(f"ucf101:{plant(tmp_path, files)}", split="train")
    assert names(train)[0] == ("v_ApplyEyeMakeup_g08_c01.mp4", "ApplyEyeMakeup")


def test_missing_videos_are_left_out_counted_and_named(tmp_path, plant, names, capsys):
    root = plant(tmp_path, UCF)
    (root / "UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi").unlink()
    assert names(load_dataset(f"ucf101:{root}", split="train")) == [("v_Archery_g08_c01.avi", "Archery")]
    expected = "not on the disk and left out, of 2 videos: 1 (ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01)"
    assert expected in capsys.readouterr().out
    (root / "UCF-101/Archery/v_Archery_g08_c01.avi").unlink()
    with pytest.raises(ValueError, match=r"split train: none of the 2 listed videos lies under .*'ApplyEyeMakeup/v_Ap"):
        load_dataset(f"ucf101:{root}", split="train")


def test_a_class_number_of_another_class_is_a_contradiction(tmp_path, plant):
    root = plant(tmp_path, UCF | {"ucfTrainTestlist/trainlist01.txt": "Archery/v_Archery_g08_c01.avi 1\n"})
    with pytest.raises(ValueError, match=r"class numbers of trainlist01.txt that are not .*: 1 \(Archery/.*avi 1\)"):
        load_dataset(f"ucf101:{root}", split="train")


def test_a_folder_that_is_no_class_and_a_video_in_both_lists_are_contradictions(tmp_path, plant):
    lines = "Juggling/v_Juggling_g01_c01.avi\nArchery/v_Archery_g08_c01.avi\nArchery/v_Archery_g01_c01.avi\n"
    root = plant(tmp_path, UCF | {"ucfTrainTestlist/testlist01.txt": lines})
    with pytest.raises(ValueError, match="contradict") as caught:
        load_dataset(f"ucf101:{root}", split="test")
    assert "labels that are no class: 1 (Juggling of Juggling/v_Juggling_g01_c01)" in str(caught.value)
    assert "listed in train too: 1 (Archery/v_Archery_g08_c01)" in str(caught.value)  # one report of everything
    assert "not on the disk and left out, of 3 videos: 1 (Juggling/v_Juggling_g01_c01)" in str(caught.value)


def test_a_video_listed_again_is_taken_once_and_said(tmp_path, plant, capsys):
    line = "Archery/v_Archery_g08_c01.avi 2\n"
    root = plant(tmp_path, UCF | {"ucfTrainTestlist/trainlist01.txt": line * 2})
    assert len(load_dataset(f"ucf101:{root}", split="train")) == 1
    assert "listed more than once, taken once: 1 (Archery/v_Archery_g08_c01)" in capsys.readouterr().out


@pytest.mark.parametrize("line", ["v_Archery_g08_c01.avi 2", "Archery/v_Archery_g08_c01.avi two", "Archery/a.avi 2 2"])
def test_another_form_names_file_and_line(tmp_path, plant, line):
    root = plant(tmp_path, UCF | {"ucfTrainTestlist/trainlist01.txt": f"Archery/v_Archery_g08_c01.avi 2\n{line}\n"})
    with pytest.raises(ValueError, match=r"trainlist01.txt', line 2: a line must be of the form 'CLASS/v_CLASS"):
        load_dataset(f"ucf101:{root}", split="train")


def test_class_numbers_that_occur_twice_are_errors(tmp_path, plant):
    root = plant(tmp_path, UCF | {"ucfTrainTestlist/classInd.txt": "1 Archery\n1 Fencing\n"})
    with pytest.raises(ValueError, match=r"classInd.txt', line 2: '1 Fencing' is there twice"):
        load_dataset(f"ucf101:{root}", split="train")


def test_hmdb51_reads_its_marks(tmp_path, plant, names):
    root = plant(tmp_path, HMDB)
    train, test = (load_dataset(f"hmdb51:{root}", split=split) for split in ("train", "test"))
    assert train.class_names == ("brush_hair", "cartwheel")
    assert names(train) == [
        ("April_09_brush_hair_u_nm_np1_ba_goo_0.avi", "brush_hair"),
        ("(Rad)Schlag_cartwheel_f_cm_np1_le_med_0.avi", "cartwheel"),
    ]
    assert names(test) == [("#2_brush_hair_h_cm_np1_le_goo_1.avi", "brush_hair")]
    assert len(load_dataset(f"hmdb51:{root}", split="all")) == 3  # mark 0 is of no split
    third = load_dataset(f"hmdb51:{root}@3", split="train")
    assert names(third) == [("Acrobacias_cartwheel_f_cm_np1_ba_bad_8.avi", "cartwheel")]


def test_hmdb51_errors(tmp_path, plant):
    root = plant(tmp_path, HMDB)
    with pytest.raises(ValueError, match=r"no file 'brush_hair_test_split2.txt', or of another class, under"):
        load_dataset(f"hmdb51:{root}@2", split="train")
    plant(tmp_path, {"testTrainMulti_7030_splits/cartwheel_test_split1.txt": "a.avi 3\n"})
    with pytest.raises(ValueError, match=r"cartwheel_test_split1.txt', line 1: .*'NAME.avi 1'"):
        load_dataset(f"hmdb51:{root}", split="train")
    plant(tmp_path, {"testTrainMulti_7030_splits/cartwheel_test_split1.txt": "a.avi 1\na.avi 2\n"})
    with pytest.raises(ValueError, match=r"listed in test too: 1 \(cartwheel/a\)"):
        load_dataset(f"hmdb51:{root}", split="train")


def test_the_splits_to_average_over_are_three():
    assert official_splits("hmdb51:/data/h@2") == ("hmdb51:/data/h@1", "hmdb51:/data/h@2", "hmdb51:/data/h@3")
    with pytest.raises(ValueError, match="'kinetics400:/k' has no official splits to average over"):
        official_splits("kinetics400:/k")


def test_the_three_splits_of_twenty_made_videos_cover_each_video_as_listed(tmp_path, plant, make_video):
    """In the official layout, and read: groups 1 to 5 of four classes, split N tests on the groups N and N + 1."""
    classes = ("Archery", "Biking", "Diving", "Fencing")
    files = {"ucfTrainTestlist/classInd.txt": "".join(f"{i} {name}\n" for i, name in enumerate(classes, 1))}
    for number in (1, 2, 3):
        lines: dict[str, list[str]] = {"train": [], "test": []}
        for label, name in enumerate(classes, 1):
            for group in range(1, 6):
                is_test = group in (number, number + 1)
                path = f"{name}/v_{name}_g{group:02d}_c01.avi"
                lines["test" if is_test else "train"].append(path if is_test else f"{path} {label}")
        files |= {f"ucfTrainTestlist/{split}list0{number}.txt": "\n".join(each) for split, each in lines.items()}
    plant(tmp_path, files)
    for seed, name in enumerate(classes):
        for group in range(1, 6):
            path = tmp_path / "UCF-101" / name / f"v_{name}_g{group:02d}_c01.avi"
            make_video(path, num_frames=12, seed=10 * seed + group, size=32)
    for number, dataset in enumerate(official_splits(f"ucf101:{tmp_path}"), 1):
        train, test = (load_dataset(dataset, split=split) for split in ("train", "test"))
        assert (len(train), len(test)) == (12, 8)
        assert {video.path[-10:-8] for video in test.videos} == {f"{number:02d}", f"{number + 1:02d}"}
        assert not {video.path for video in train.videos} & {video.path for video in test.videos}
    frames = torch.tensor([[0, 5, 11]])
    clips = [read_clips(video.path, frames, sizes=[FrameSize(16, (16, 16))])[0] for video in test.videos]
    assert {tuple(clip.shape) for clip in clips} == {(1, 3, 3, 16, 16)}
    assert len({clip.sum().item() for clip in clips}) == len(clips)  # no two are the same file
