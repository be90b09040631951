"""Joint training from the command line: killed and taken up, and what its run is good for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from vidselect_agents.commands.saved import open_run
from vidselect_env.experiment.run import WEIGHTS

REPOSITORY = Path(__file__).parents[2]
OPTIONS = (
    *("--agent", "dsn", "--joint", "--sections", "2", "--clips", "2", "--candidates", "6", "--num-envs", "4"),
    *("--total-timesteps", "24", "--samples-per-context", "1", "--draw-candidates", "--classifier-rate", "0.01"),
    *("--skim-size", "16", "--checkpoint-every", "4", "--device", "cpu"),
)


def started(*arguments: str, cache: Path) -> subprocess.Popen:
    command = [sys.executable, str(REPOSITORY / "scripts" / "train_agent.py"), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "VIDSELECT_CACHE": str(cache)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(process: subprocess.Popen) -> str:
    output = process.communicate(timeout=900)[0]
    assert process.returncode == 0, output
    return output


@pytest.mark.slow
def test_a_joint_run_that_is_killed_ends_with_the_same_bytes_and_serves_its_own_classifier(tmp_path, video_folder):
    dataset = ("--dataset", f"folder:{video_folder}")
    finished(started(*OPTIONS, *dataset, "--runs", str(tmp_path / "whole"), cache=tmp_path / "cache"))
    process = started(*OPTIONS, *dataset, "--runs", str(tmp_path / "killed"), cache=tmp_path / "cache")
    deadline = time.monotonic() + 600
    while not list((tmp_path / "killed").glob("*/checkpoint.pt")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
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
