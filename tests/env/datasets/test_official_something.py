"""Something-Something V1 and V2, and Jester."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest
import torch

from vidselect_env.datasets import load_dataset
from vidselect_env.video.decode import FrameSize, read_clips

LABELS = {"Putting something on a surface": "1", "Holding something": "0", "Something falling": "2"}
ENTRIES = [
    {"id": "78687", "label": "holding potato", "template": "Holding [something]", "placeholders": ["potato"]},
    {"id": 42326, "label": "plate falling", "template": "[Something] falling", "placeholders": ["plate"]},
]
VAL = [{"id": "3", "label": "", "template": "Putting [something] on a surface", "placeholders": ["a"]}]
PACKAGES = {  # as each release names the files
    "20bn": ("something-something-v2-labels.json", "something-something-v2-{}.json"),
    "second": ("labels/labels.json", "labels/{}.json"),
}


@pytest.mark.parametrize("package", PACKAGES)
def test_something_v2_labels_are_templates_without_brackets(tmp_path, plant, names, package):
    label_file, list_file = PACKAGES[package]
    files = {
        label_file: json.dumps(LABELS),
        list_file.format("train"): json.dumps(ENTRIES),
        list_file.format("validation"): json.dumps(VAL),
        list_file.format("test"): json.dumps([{"id": "9"}]),
    }
    root = plant(tmp_path, files | {f"20bn-something-something-v2/{key}.webm": "" for key in (78687, 42326, 3, 9)})
    train = load_dataset(f"something-v2:{root}", split="train")
    assert train.class_names == ("Holding something", "Putting something on a surface", "Something falling")
    assert names(train) == [("78687.webm", "Holding something"), ("42326.webm", "Something falling")]
    assert names(load_dataset(f"something-v2:{root}", split="val")) == [("3.webm", "Putting something on a surface")]
    with pytest.raises(ValueError, match=r"no such split \(its labels are not here \(test-answers.csv\)"):
        load_dataset(f"something-v2:{root}", split="test")
    plant(root, {"labels/test-answers.csv": "9;Holding something\n"})
    assert names(load_dataset(f"something-v2:{root}", split="test")) == [("9.webm", "Holding something")]


def test_something_v2_errors(tmp_path, plant):
    files = {"labels/labels.json": json.dumps(LABELS), "labels/train.json": json.dumps(ENTRIES), "1.webm": ""}
    root = plant(tmp_path, files)
    with pytest.raises(
        ValueError, match=r"no such split \(no list something-something-v2-\*.json\): there are train, all"
    ):
        load_dataset(f"something-v2:{root}", split="val")
    with pytest.raises(ValueError, match="none of the 2 listed videos"):
        load_dataset(f"something-v2:{root}", split="train")
    wrong = [{"id": "1", "template": "Juggling [something]"}]
    plant(root, {"labels/train.json": json.dumps(wrong)})
    with pytest.raises(ValueError, match=r"labels that are no class: 1 \(Juggling something of 1\)"):
        load_dataset(f"something-v2:{root}", split="train")
    plant(root, {"labels/train.json": '[{"id": "1"}]'})
    with pytest.raises(ValueError, match=r"an entry needs 'id' and 'template': KeyError\('template'\)"):
        load_dataset(f"something-v2:{root}", split="train")
    plant(root, {"labels/labels.json": '["Holding something"]'})
    with pytest.raises(ValueError, match=r"labels.json' is not of the form"):
        load_dataset(f"something-v2:{root}", split="train")


JESTER = {
    "jester-v1-labels.csv": "Swiping Left\nThumb Up\n",
    "jester-v1-train.csv": "34870;Thumb Up\n56557;Swiping Left\n",
    "jester-v1-validation.csv": "9223;Thumb Up\n",
    "jester-v1-test.csv": "100;\n",
}
SOMETHING = {path.replace("jester", "something-something"): text for path, text in JESTER.items()}


@pytest.mark.parametrize(("name", "files"), [("jester", JESTER), ("something-v1", SOMETHING)])
def test_frame_folders_are_videos(tmp_path, plant, names, name, files):
    frames = {f"20bn-v1/{video}/{number:05d}.jpg": "" for video in (34870, 56557, 9223) for number in (1, 2)}
    root = plant(tmp_path, files | frames)
    train = load_dataset(f"{name}:{root}", split="train")
    assert train.class_names == ("Swiping Left", "Thumb Up")  # in the order of the file
    assert names(train) == [("34870", "Thumb Up"), ("56557", "Swiping Left")]
    assert names(load_dataset(f"{name}:{root}", split="val")) == [("9223", "Thumb Up")]
    with pytest.raises(ValueError, match="no such split"):
        load_dataset(f"{name}:{root}", split="test")
    plant(root, {"made/34870.mp4": ""})  # by hand, of the folder, for its motion vectors
    assert names(load_dataset(f"{name}:{root}", split="train"))[0] == ("34870.mp4", "Thumb Up")


def test_the_second_release_of_jester_has_answers(tmp_path, plant, names):
    files = {path.replace("jester-v1-", "labels/"): text for path, text in JESTER.items()}
    root = plant(tmp_path, files | {"labels/test-answers.csv": "100;Thumb Up\n", "20bn-jester-v1/100/00001.jpg": ""})
    assert names(load_dataset(f"jester:{root}", split="test")) == [("100", "Thumb Up")]


@pytest.mark.parametrize("line", ["34870", "34870;", "34870;a;b"])
def test_lines_of_another_form(tmp_path, plant, line):
    root = plant(tmp_path, JESTER | {"jester-v1-train.csv": f"1;Thumb Up\n{line}\n"})
    with pytest.raises(ValueError, match=r"jester-v1-train.csv', line 2: a line must be of the form 'ID;LABEL'"):
        load_dataset(f"jester:{root}", split="train")


def test_a_frame_folder_of_a_dataset_is_read_as_a_clip(tmp_path, plant):
    root = plant(tmp_path, JESTER)
    folder = root / "20bn-jester-v1" / "34870"
    folder.mkdir(parents=True)
    for number in range(1, 9):
        picture = np.full((100, 132, 3), 20 * number, np.uint8)
        with av.open(folder / f"{number:05d}.jpg", "w", format="image2", options={"update": "1"}) as container:
            stream = container.add_stream("mjpeg", rate=1)
            stream.height, stream.width, stream.pix_fmt = 100, 132, "yuvj420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    [video] = load_dataset(f"jester:{root}", split="train").videos
    [clips] = read_clips(video.path, torch.tensor([[0, 3, 7]]), sizes=[FrameSize(50, (50, 50))])
    brightness = clips.float().mean((0, 2, 3, 4))
    assert torch.allclose(brightness, torch.tensor([20.0, 80.0, 160.0]), atol=2)
