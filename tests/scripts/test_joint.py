"""Joint training from the command line: killed and taken up, and what its run is good for."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vidselect_agents.commands.saved import open_run
from vidselect_env.experiment.run import WEIGHTS

REPOSITORY = Path(__file__).parents[2]
OPTIONS = (
    *("--agent", "dsn", "--joint", "--sections", "2", "--clips", "2", "--candidates", "6", "--num-envs", "4"),
    *("--total-timesteps", "24", "--samples-per-context", "1", "--draw-candidates", "--classifier-rate", "0.01"),
    *("--skim-size", "16", "--checkpoint-every", "4", "--device", "cpu"),
)


def started(*arguments: str, cache: Path, processes: int = 1) -> subprocess.Popen:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(launcher if processes > 1 else [])]
    command += [str(REPOSITORY / "scripts" / "train_agent.py"), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "VIDSELECT_CACHE": str(cache)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, env=environment, text=True, **streams)


def finished(process: subprocess.Popen) -> str:
    output = process.communicate(timeout=900)[0]
    assert process.returncode == 0, output
    return output


def wait_for_checkpoint(runs: Path) -> None:
    """The first of the run."""
    deadline = time.monotonic() + 600
    while not list(runs.glob("*/checkpoint.pt")) and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.campaign
def test_a_joint_run_that_is_killed_ends_with_the_same_bytes_and_serves_its_own_classifier(
    tmp_path, video_folder, kill_all
):
    dataset = ("--dataset", f"folder:{video_folder}")
    finished(started(*OPTIONS, *dataset, "--runs", str(tmp_path / "whole"), cache=tmp_path / "cache"))
    process = started(*OPTIONS, *dataset, "--runs", str(tmp_path / "killed"), cache=tmp_path / "cache")
    wait_for_checkpoint(tmp_path / "killed")
    kill_all(process)
    [whole], [killed] = ([*(tmp_path / name).iterdir()] for name in ("whole", "killed"))
    with pytest.raises(ValueError, match="is not finished"):
        open_run(killed)
    finished(started("--resume", str(killed), cache=tmp_path / "cache"))
    for name in ("agent.safetensors", WEIGHTS):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert "best on val" in (whole / "report.md").read_text()
    assert json.loads((whole / "config.json").read_text())["agent_settings"]["joint"] is True
    run = open_run(whole)
    assert run.config.classifier.weights == str(whole / WEIGHTS)
    classifier = run.config.classifier.make_classifier()
    assert classifier.class_names == run.class_names == ("left", "right")
    assert all(torch.isfinite(value).all() for value in classifier.state_dict().values())


# --- by torchrun, two processes on the CPU


def curves(runs: Path) -> list[list[float]]:
    """Both losses and the norm of the scorer's gradient, a line each."""
    with next(runs.glob("*/metrics.csv")).open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["train/loss"]]
    names = ("train/loss", "train/classifier_loss", "train/gradient_norm")
    return [[float(row[name]) for name in names] for row in rows]


def weights(runs: Path) -> dict[str, torch.Tensor]:
    [run] = runs.iterdir()
    return load_file(run / WEIGHTS) | load_file(run / "agent.safetensors")


@pytest.mark.campaign
@pytest.mark.slow
def test_a_pair_trains_jointly_as_one_with_twice_the_videos_and_is_gone_on_with_by_either(
    tmp_path, video_folder, kill_all
):
    options = (*OPTIONS, "--dataset", f"folder:{video_folder}", "--classifier-rate", "0.001")
    options += ("--flip", "--deterministic")
    cache = {"cache": tmp_path / "cache"}

    def begun(name: str, *, num_envs: int, processes: int) -> subprocess.Popen:
        runs = ("--num-envs", str(num_envs), "--runs", str(tmp_path / name))
        return started(*options, *runs, **cache, processes=processes)

    finished(begun("one", num_envs=4, processes=1))
    finished(begun("pair", num_envs=2, processes=2))
    for name, processes in (("pair again", 2), ("one after", 1)):
        process = begun(name, num_envs=2, processes=2)
        wait_for_checkpoint(tmp_path / name)
        kill_all(process)
        [run] = (tmp_path / name).iterdir()
        assert not (run / "agent.safetensors").exists()
        if processes == 1:
            assert "cannot be gone on with by 3 (they cannot share 4 clips" in refused(run, processes=3, **cache)
        finished(started("--resume", str(run), **cache, processes=processes))
    one, pair, after = (curves(tmp_path / name) for name in ("one", "pair", "one after"))
    assert len(one) == len(pair) == len(after) > 0
    for line, *others in zip(one, pair, after, strict=True):
        for other in others:
            assert other == pytest.approx(line, abs=1e-4)
    found = {name: weights(tmp_path / name) for name in ("one", "pair", "pair again", "one after")}
    for name, value in found["pair"].items():
        assert torch.equal(found["pair again"][name], value)
        for other in ("one", "one after"):
            torch.testing.assert_close(found[other][name], value, rtol=0, atol=1e-3)


def refused(run: Path, *, cache: Path, processes: int) -> str:
    process = started("--resume", str(run), cache=cache, processes=processes)
    output = process.communicate(timeout=900)[0]
    assert process.returncode != 0
    return output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--agent", "max_response"), "agent 'max_response' is trained by one process, not by 2"),
        (("--agent", "dsn", "--joint", "--baseline", "moving_average"), "moving_average keeps a mean of each video"),
    ],
)
@pytest.mark.campaign
@pytest.mark.slow
def test_what_several_processes_cannot_learn_is_refused(tmp_path, video_folder, options, message):
    process = started(
        *options, "--dataset", f"folder:{video_folder}", "--runs", str(tmp_path), cache=tmp_path, processes=2
    )
    assert message in process.communicate(timeout=600)[0]
    assert process.returncode != 0
