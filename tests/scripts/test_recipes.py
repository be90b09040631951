"""Recipes: every one can be read and planned on a hand-made dataset of its official form, and run on a small one."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.io import savemat

from vidselect_agents.commands import main
from vidselect_agents.commands.options.recipe import RecipeConfig
from vidselect_agents.commands.plan import bytes_a_candidate, plan_of, told
from vidselect_agents.commands.recipe import run_recipe
from vidselect_agents.commands.recipes import (
    Recipe,
    Stream,
    arguments_of,
    changed_recipe,
    classifier_config,
    load_recipe,
    recipe_names,
    train_config,
)
from vidselect_classifiers import make_classifier
from vidselect_env.bank import bank_spec
from vidselect_env.datasets import load_dataset
from vidselect_env.evaluation.splits import read_results

PAPERS = ("DSN", "AS", "MGSampler", "SCSampler", "ATFR")
YOUTUBE = "https://www.youtube.com/watch?v="
# Smaller networks and pictures, so that a plan takes a second.
QUICK = ["shared.classifier=tiny_r3d", "shared.clip-frames=8", "train.skim-size=32"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDSELECT_CACHE", str(tmp_path / "cache"))


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


def test_every_paper_has_a_recipe_that_names_its_table():
    recipes = [load_recipe(name) for name in recipe_names()]
    for paper in PAPERS:
        tables = [recipe.table for recipe in recipes if recipe.table.startswith(f"{paper}, Table ")]
        assert tables, paper
    assert all(recipe.reports and recipe.differs for recipe in recipes)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipes_options_are_those_of_the_commands(name):
    recipe = load_recipe(name)
    for stream in recipe.streams:
        dataset = recipe.datasets("ROOT")[0]
        if stream.classifier is not None:
            config = classifier_config(stream, dataset)
            assert config.dataset == stream.dataset(dataset)
            assert config.modality == ("rgb" if stream.flow is None else "flow")
        if stream.train is not None:
            assert train_config(stream, dataset)[0].classifier.classifier == stream.shared["classifier"]


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_the_plan_of_every_recipe_on_its_official_form(name, tmp_path, make_video):
    recipe = changed_recipe(load_recipe(name), [*QUICK, *(["shared.sgs=layer1"] if "atfr" in name else [])])
    recipe = changed_recipe(recipe, ["classifier.weights=None"] if name.startswith(("as", "dsn", "mg")) else [])
    MAKERS[recipe.dataset](tmp_path / "root", make_video)
    plans = plan_of(recipe, RecipeConfig(recipe=name, root=str(tmp_path / "root"), dry_run=True, device="cpu"))
    assert len(plans) == len(recipe.streams) * max(len(recipe.splits), 1)
    for plan in plans:
        assert len(plan.num_videos) == 2
        assert all(count >= 1 for count in plan.num_videos.values())
        stream = next(each for each in recipe.streams if plan.title.startswith(each.name))
        assert (plan.num_clips > 0) == (plan.bank_bytes > 0) == (stream.train is not None)
        assert (plan.training_gmacs > 0) == (stream.classifier is not None)
        assert all(hours > 0 for hours in plan.hours.values())
    text = told(recipe, plans)
    assert recipe.table in text
    assert "classes, where the official lists have" in text  # two, of which the plan warns


def test_clips_bytes_and_gmacs_by_hand(tmp_path, make_video):
    """4 videos of 40 frames, 4 candidates each; 2 logits, 64 features, and skims of 8 x 3 x 32 x 32 bytes."""
    root = tmp_path / "root"
    ucf101(root, make_video, num_videos=2)
    made = Stream(
        name="rgb",
        shared={"classifier": "tiny_r3d"},
        classifier={"weights": "None", "epochs": 5, "segments": 3},
        train={"agent": "dsn", "candidates": 4, "sections": 2, "clips": 2},
    )
    recipe = Recipe(name="x", table="t", reports="r", dataset="ucf101", metric="top1", streams=(made,), splits=("1",))
    [plan] = plan_of(recipe, RecipeConfig(recipe="x", root=str(root), device="cpu"))
    assert plan.num_videos == {"train": 2, "test": 2}
    assert plan.num_clips == 4 * 4
    assert plan.bank_bytes == 16 * (4 * 2 + 4 * 64 + 8 * 3 * 32 * 32)
    gmacs = make_classifier("tiny_r3d", num_classes=2).gmacs_per_clip()
    assert plan.classifier_gmacs == pytest.approx(16 * gmacs)
    assert plan.training_gmacs == pytest.approx(3 * 5 * 2 * 3 * gmacs)


def test_a_candidates_bytes_are_those_that_a_bank_keeps(video_folder):
    dataset, classifier = load_dataset(f"folder:{video_folder}", split="train"), make_classifier("tiny_r3d")
    spec = bank_spec(dataset, classifier, num_clips=4, fields=("logits", "vectors", "residual", "mel"))
    assert bytes_a_candidate(spec, classifier) == 4 * 8 + 2 * 4 * 2 * 8 * 10 + 4 * 3 * 32 * 32 + 2 * 40 * 200


def test_what_is_missing_is_said(tmp_path, make_video, capsys):
    root = tmp_path / "root"
    ucf101(root, make_video)
    next((root / "UCF-101" / "Diving").iterdir()).unlink()
    main(
        ["train", "--recipe", "dsn-ucf101-r3d18", "--root", str(root), "--dry-run", "--device", "cpu", "--set", *QUICK]
    )
    said = capsys.readouterr().out
    assert "not on the disk and left out, of 2 videos: 1" in said
    assert "weights kinetics400 of tiny_r3d" in said
    assert "DSN, Table I, column UCF101" in said
    main(["train", "--recipe", "dsn-ucf101-r3d18", "--root", str(tmp_path / "none"), "--dry-run"])
    assert "missing" in capsys.readouterr().out


def test_names_and_options_that_are_wrong_are_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"unknown recipe 'dsn-ucf101': did you mean 'dsn-ucf101-r3d18'\?"):
        load_recipe("dsn-ucf101")
    with pytest.raises(ValueError, match=r"--set 'epochs=1' must be shared.OPTION=VALUE"):
        changed_recipe(load_recipe("dsn-ucf101-r3d18"), ["epochs=1"])
    (tmp_path / "bad.yml").write_text("table: t\nreports: r\ndataset: x\nmetric: top1\nstreams: {a: {train: {}}}\n")
    with pytest.raises(ValueError, match=r"dataset \('x'\) of recipe 'bad' must be one of ucf101"):
        load_recipe(str(tmp_path / "bad.yml"))
    (tmp_path / "worse.yml").write_text("streams: {a: {epochs: 3}}\n")
    with pytest.raises(ValueError, match="recipe 'worse' cannot be read"):
        load_recipe(str(tmp_path / "worse.yml"))
    given = {"epochs": 3, "cache": True, "flip": False, "milestones": [1, 2], "weights": None}
    assert " ".join(arguments_of(given)) == "--epochs 3 --cache --no-flip --milestones 1 2 --weights None"


TWO_STREAMS = """
table: none, two streams in little
reports: nothing
dataset: ucf101
splits: [1, 2, 3]
metric: top1
weights: [1.0, 1.5]
differs: [everything]
streams:
  rgb:
    shared: &tiny {classifier: tiny_r3d}
    classifier: &fit {weights: None, epochs: 1, batch-size: 4}
    train: &train
      {agent: dsn, candidates: 6, sections: 2, clips: 3, num-envs: 4, total-timesteps: 16, samples-per-context: 2,
       evaluate-every: 0}
  flow:
    flow: dis
    shared: *tiny
    classifier: *fit
    train: *train
"""


@pytest.mark.slow
def test_ucf101_end_to_end_over_three_splits_with_two_streams(tmp_path, make_video):
    """20 videos in the official layout; every row is the mean of those of the three splits, each worked again here."""
    pytest.importorskip("cv2", reason="OpenCV, of the extra flow, is not installed")
    root = tmp_path / "root"
    ucf101(root, make_video, num_videos=10)
    file = tmp_path / "two.yml"
    file.write_text(TWO_STREAMS)
    config = RecipeConfig(recipe=str(file), root=str(root), runs=tmp_path / "runs", device="cpu")
    folder = run_recipe(load_recipe(str(file)), config)
    tables = [read_results(next((folder / f"split{n}").glob("fusion-*")) / "results.csv") for n in (1, 2, 3)]
    assert [table[0].num_videos for table in tables] == [8, 6, 6]
    fused = [next(row.top1 for row in table if row.selector == "fusion of agents") for table in tables]
    report = (folder / "report.md").read_text()
    line = next(line for line in report.splitlines() if line.startswith("| fusion of agents |"))
    assert float(line.split("|")[2]) == pytest.approx(100 * sum(fused) / 3, abs=0.051)
    assert "the mean of splits 1, 2, 3" in report
    assert {"| stream 1: dsn |", "| stream 2: dense |", "| fusion of uniform clips |"} <= {
        f"|{line.split('|')[1]}|" for line in report.splitlines() if line.startswith("| ")
    }
