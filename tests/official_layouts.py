"""Small datasets in the layouts of their official releases, written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
from scipy.io import savemat

YOUTUBE = "https://www.youtube.com/watch?v="


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def ucf101(root, video, *, num_videos=2):
    """Two classes; a video's group says in which of three splits it is tested."""
    names = [
        f"{label}/v_{label}_g{number % 3 + 1:02}_c{number:02}"
        for label in ("Archery", "Diving")
        for number in range(num_videos)
    ]
    for number, name in enumerate(names):
        video(root / "UCF-101" / f"{name}.avi", seed=number)
    lists = {"ucfTrainTestlist/classInd.txt": "1 Archery\n2 Diving\n"}
    for split in (1, 2, 3):
        tested = [name for name in names if f"_g0{split}_" in name] or names[:1]
        rest = [name for name in names if name not in tested]
        lists[f"ucfTrainTestlist/testlist0{split}.txt"] = "".join(f"{name}.avi\n" for name in tested)
        lists[f"ucfTrainTestlist/trainlist0{split}.txt"] = "".join(
            f"{name}.avi {1 if name.startswith('Archery') else 2}\n" for name in rest
        )
    write(root, lists)


def hmdb51(root, video):
    for label in ("wave", "run"):
        for split in (1, 2, 3):
            lines = "".join(f"{label}{number}.avi {1 if number else 2} \n" for number in range(2))
            write(root, {f"splits/{label}_test_split{split}.txt": lines})
        for number in range(2):
            video(root / label / f"{label}{number}.avi", seed=number)


def thumos14(root, video):
    write(root, {"Class Index.txt": "7 BaseballPitch\n9 BasketballDunk\n"})
    fields = ("video_name", "primary_action_index", "secondary_actions_indices", "video_duration_seconds")
    for part, variable, stem in (
        ("validation_set.mat", "validation_videos", "video_validation_000000"),
        ("test_set_meta.mat", "test_videos", "video_test_000000"),
    ):
        array = np.zeros((1, 2), dtype=[(name, object) for name in (*fields, "background_video")])
        for place, label in enumerate((7, 9)):
            array[0, place] = (f"{stem}{place + 1}", np.float64(label), np.array([], float), 2.0, "NO")
            video(root / f"{stem}{place + 1}.mp4", seed=place)
        savemat(root / part, {variable: array})


def activitynet(root, video):
    taxonomy = [
        {"parentName": None, "nodeName": "Root", "nodeId": 0, "parentId": None},
        {"parentName": "Root", "nodeName": "Archery", "nodeId": 1, "parentId": 0},
        {"parentName": "Root", "nodeName": "Skiing", "nodeId": 2, "parentId": 0},
    ]
    database = {}
    for number, (subset, label) in enumerate(
        (subset, label) for subset in ("training", "validation") for label in ("Archery", "Skiing")
    ):
        annotation = {"label": label, "segment": [0.5, 1.5]}
        database[f"abcdefghij{number}"] = {"subset": subset, "duration": 2.0, "annotations": [annotation]}
        video(root / f"v_abcdefghij{number}.mp4", seed=number)
    content = {"version": "VERSION 1.3", "taxonomy": taxonomy, "database": database}
    write(root, {"activity_net.v1-3.min.json": json.dumps(content)})


def kinetics400(root, video):
    for split in ("train", "val"):
        lines = ["label,youtube_id,time_start,time_end,split"]
        for number, label in enumerate(("abseiling", "zumba")):
            key = f"{split:_<10}{number}"
            lines.append(f"{label},{key},10,20,{split}")
            video(root / split / f"{key}_000010_000020.mp4", seed=number)
        write(root, {f"{split}.csv": "\n".join(lines) + "\n"})


def minikinetics(root, video):
    kinetics400(root, video)
    write(
        root, {"train_ytid_list.txt": "train_____0\ntrain_____1\n", "val_ytid_list.txt": "val_______0\nval_______1\n"}
    )


def something(root, video, *, version):
    labels = ("Holding something", "Something falling")
    if version == "v1":
        write(root, {"something-something-v1-labels.csv": "\n".join(labels) + "\n"})
        for start, split in ((1, "train"), (3, "validation")):
            lines = [f"{start + number};{label}" for number, label in enumerate(labels)]
            write(root, {f"something-something-v1-{split}.csv": "\n".join(lines) + "\n"})
        for folder in range(1, 5):
            frames(root / "20bn-something-something-v1" / str(folder))
        return
    write(root, {"labels/labels.json": json.dumps({label: str(n) for n, label in enumerate(labels)})})
    for start, split in ((1, "train"), (3, "validation")):
        entries = [{"id": str(start + n), "template": label, "label": label} for n, label in enumerate(labels)]
        write(root, {f"labels/{split}.json": json.dumps(entries)})
    for number in range(1, 5):
        video(root / f"{number}.mp4", seed=number)


def frames(folder):
    """Twelve JPEG pictures."""
    folder.mkdir(parents=True)
    for number in range(1, 13):
        picture = np.random.default_rng(number).integers(0, 256, (48, 48, 3), dtype=np.uint8)
        with av.open(str(folder / f"{number:05}.jpg"), "w", format="image2") as container:
            stream = container.add_stream("mjpeg", rate=12)
            stream.width = stream.height = 48
            stream.pix_fmt = "yuvj420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())


def minisports(root, video):
    write(root, {"labels.txt": "boomerang\nbowling\n"})
    for split in ("train", "test"):
        lines = ""
        for number in range(2):
            key = f"{split:_<10}{number}"
            lines += f"{YOUTUBE}{key} {number}\n"
            video(root / f"{key}.mp4", seed=number)
        write(root, {f"minisports_{split}.txt": lines})


MAKERS = {
    "ucf101": ucf101,
    "hmdb51": hmdb51,
    "thumos14": thumos14,
    "activitynet": activitynet,
    "kinetics400": kinetics400,
    "minikinetics": minikinetics,
    "something-v1": lambda root, video: something(root, video, version="v1"),
    "something-v2": lambda root, video: something(root, video, version="v2"),
    "minisports": minisports,
}
