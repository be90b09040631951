"""The experiment on similarity guided sampling: what is planned from what is done, and all of it on a few videos."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def script(name: str) -> Path:
    [file] = SCRIPTS.rglob(name)
    return file


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_sgs_tested", script("sgs.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def row(top1: float, *, layer: float, clip: float) -> dict:
    return {"val": {"Top-1": top1, "fall after the layer (%)": layer, "fall of the clip (%)": clip}}


def test_the_deciding_experiment_is_every_distance_attached_or_not_of_every_seed(experiment):
    config = experiment.SGSConfig(sets=("kernels",), seeds=(0, 1, 2))
    runs = list(experiment.plan(config, {}))
    options = [experiment.SAMPLINGS[run.sampling] for run in runs if run.seed == 1]
    crossed = [{}, {"detach": True}, {"distance": "centred"}, {"distance": "centred", "detach": True}]
    assert all(each in options for each in [*crossed, None, {"kernel": "kronecker"}])
    assert len(runs) == 3 * 8
    assert [run.seed for run in runs[:9]] == [0] * 8 + [1]  # a whole seed before the next


def test_a_run_waits_for_its_networks_first_training(experiment, tmp_path):
    config = experiment.SGSConfig(sets=("kernels",), seeds=(0,), out=tmp_path / "out", scratch=tmp_path / "scratch")
    assert {piece.name for piece in experiment.ready(config)} == {"tiny_r3d-first-16_frames_over_16-rate_0.1-seed_0"}
    first = experiment.of(config, "tiny_r3d", sampling="first", seed=0)
    file = experiment.files_of(config, first)[0]
    file.parent.mkdir(parents=True)
    file.touch()
    names = [piece.name for piece in experiment.ready(config)]
    assert len(names) == len(set(names)) == 8
    done = experiment.of(config, "tiny_r3d", sampling="kronecker", seed=0)
    _, row_file = experiment.files_of(config, done)
    row_file.parent.mkdir(parents=True)
    row_file.write_text("{}")
    assert {piece.name for piece in experiment.ready(config)} == set(names) - {done.name}


def test_what_saves_enough_is_chosen_by_its_top1_on_val(experiment):
    config = experiment.SGSConfig()
    grid = [experiment.of(config, "tiny_r3d", sampling="kronecker", bins=bins, seed=0) for bins in (5, 6, 7)]
    rows = {
        grid[0].name: row(95.0, layer=55, clip=9),
        grid[1].name: row(97.0, layer=43, clip=8),
        grid[2].name: row(99.0, layer=30, clip=7),
    }
    assert experiment.choose(rows, grid, least=42) == grid[1]
    assert experiment.choose(rows, grid, least=60) == grid[0]  # none saves enough: what saves most
    assert experiment.choose(dict(list(rows.items())[:2]), grid, least=42) is None  # not all are done


def test_sampling_is_compared_with_as_many_frames_as_cost_the_same(experiment):
    config = experiment.SGSConfig(sets=("whole",), seeds=(0, 1), rates=(1,))
    [plain, *grid] = sorted(experiment.plan(config, {}), key=lambda run: run.bins or 0)
    assert (plain.sampling, [(run.bins, run.seed) for run in grid]) == ("none", [(2, 0), (3, 0)])
    rows = {run.name: row(90 + run.bins / 10, layer=60, clip=37.5) for run in grid}
    rows[plain.name] = {"val": {"Top-1": 91}}  # which says nothing of maps
    after = [run for run in experiment.plan(config, rows) if run not in (plain, *grid)]
    assert {(run.sampling, run.seed) for run in after if run.bins} == {("kronecker, time, fours", 1)}
    assert {run.bins for run in after if run.bins} == {3}
    assert {run.seed for run in after if run.sampling == "attention"} == {0, 1}
    fewer = {run.frames for run in after if run.sampling == "none"}
    same_cost = {tuple(range(10)), (0, 2, 3, 5, 7, 8, 10, 12, 13, 15)}
    assert fewer == {tuple(range(16)), tuple(range(0, 16, 2)), tuple(range(8)), *same_cost}
    assert len({dataclasses.replace(run, seed=0).name for run in after}) == 7


def test_what_is_compared_with_sampling_is_trained_at_the_plain_networks_rate(experiment):
    config = experiment.SGSConfig(sets=("whole",), seeds=(0, 1), learning_rate=0.1)
    grid = list(experiment.plan(config, {}))
    rows = {run.name: row(90 + 10 * run.learning_rate, layer=60, clip=37.5) for run in grid}
    others = [run for run in experiment.plan(config, rows) if run not in grid and not run.bins]
    assert {(run.learning_rate, run.seed) for run in others} == {(0.2, 0), (0.2, 1)}
    assert {run.sampling for run in others} == {"none", "attention"}


@pytest.mark.campaign
@pytest.mark.slow
def test_the_whole_experiment_on_a_few_videos_leaves_rows_resumes_and_is_timed(tmp_path):
    environment = os.environ | {"VIDSELECT_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}

    def run(name: str, *arguments: str) -> str:
        command = [sys.executable, str(script(name)), "--scratch", str(tmp_path / "scratch"), *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    few = ["--num-videos", "18", "--num-tests", "9", "--batch-size", "9", "--first-epochs", "1", "--epochs", "2"]
    few += ["--num-frames", "4", "--seeds", "0", "--sets", "whole", "--out", str(tmp_path / "out")]
    table = run("sgs.py", *few)
    assert "| resnet3d_18_modified, kronecker, time, fours, 2 bins, 4 frames over 4, rate 0.1 | 1 |" in table
    assert (tmp_path / "out" / "table.md").exists()
    rows = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "rows").iterdir()}
    assert len(rows) >= 7  # the first training, two ways of sampling, attention, none, every other frame, half of them
    for file in rows:
        found = json.loads(file.read_text())
        assert len(found["epochs"]) == (1 if found["sampling"] == "first" else 2)
        assert {"Top-1", "GMACs a clip", "fall of the clip (%)"} <= set(found["test"])
    run("sgs.py", *few)
    assert {file: file.stat().st_mtime_ns for file in rows} == rows  # nothing is trained again
    speed = run("sgs_speed.py", "--trained", str(tmp_path / "out"), "--num-clips", "4", "--rounds", "1")
    assert "| resnet3d_18_modified, kronecker, time, fours, after layer1, seed 0 | 2 | test |" in speed


def test_bins_are_chosen_first_and_then_the_rate_and_both_on_val(experiment):
    config = experiment.SGSConfig(sets=("tuned",), seeds=(0, 1), learning_rate=0.1)
    grid = [run for run in experiment.plan(config, {}) if run.bins]
    assert {run.learning_rate for run in grid} == {0.1}
    rows = {run.name: row(90 + number, layer=50 - 10 * number, clip=9) for number, run in enumerate(grid)}
    rates = [run for run in experiment.plan(config, rows) if run.bins and run not in grid]
    assert [(run.bins, run.learning_rate, run.seed) for run in rates] == [(2, 0.2, 0)]  # only the first saves enough
    rows[rates[0].name] = row(95, layer=45, clip=9)
    rows |= {
        experiment.of(config, "tiny_r3d", learning_rate=rate, seed=0).name: row(99, layer=0, clip=0)
        for rate in (0.1, 0.2)
    }
    final = [run for run in experiment.plan(config, rows) if run.seed == 1]
    assert [(run.sampling, run.learning_rate) for run in final] == [("kronecker, time, fours", 0.2), ("none", 0.1)]


def test_another_network_is_sampled_where_it_is_told(experiment):
    config = experiment.SGSConfig(sets=("whole",), seeds=(0,), whole_network="tiny_r3d", whole_after="stem")
    runs = list(experiment.plan(config, {}))
    assert {(run.network, run.after) for run in runs if run.sampling != "none"} == {("tiny_r3d", "stem")}
    assert {run.after for run in runs if run.sampling == "none"} == {None}
