"""Recipes: every one can be read and planned on a hand-made dataset of its official form, and run on a small one."""

from __future__ import annotations

import pytest
from official_layouts import MAKERS, ucf101

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
# Smaller networks and pictures, so that a plan takes a second.
QUICK = ["shared.classifier=tiny_r3d", "shared.clip-frames=8", "train.skim-size=32"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDSELECT_CACHE", str(tmp_path / "cache"))


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
