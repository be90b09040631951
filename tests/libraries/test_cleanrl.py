"""PPO in a single file, in CleanRL's manner, on both kinds of environment."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "ppo.py"


@pytest.fixture(scope="module")
def ppo():
    spec = importlib.util.spec_from_file_location("ppo", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ppo"] = module  # where dataclasses look for its names
    spec.loader.exec_module(module)
    yield module
    del sys.modules["ppo"]


def test_it_learns_which_clips_the_classifier_is_right_about(ppo, make_bank):
    """A clip taken at random earns -0.13 on this bank, and features tell the right ones."""
    bank = make_bank(num_videos=12)
    history = ppo.train(ppo.Args(total_timesteps=25_000, num_envs=64, num_steps=8), bank=bank)
    assert np.isfinite(history).all()
    assert np.mean(history[-5:]) > np.mean(history[:2]) + 0.3


def test_it_learns_when_to_stop(ppo, make_bank):
    """At such a price at least not to look at everything."""
    bank = make_bank(num_videos=4, num_clips=6)
    args = ppo.Args(env_id="VideoClipSearch-v0", total_timesteps=15_000)
    history = ppo.train(args, bank=bank, frames=6, observation="features", price=0.3)
    assert np.isfinite(history).all()
    assert np.mean(history[-3:]) > history[0] + 0.2


def test_same_seed_same_returns_and_another_seed_others(ppo, make_bank):
    bank = make_bank(num_videos=4)

    def returns(seed: int) -> list[float]:
        return ppo.train(ppo.Args(total_timesteps=64, num_envs=4, num_steps=4, seed=seed), bank=bank)

    assert returns(0) == returns(0) != returns(1)


@pytest.mark.slow
def test_it_is_a_program(tmp_path):
    """On the small synthetic bank, which is made for it."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(FILE), "--total-timesteps", "2048", "--num-envs", "32", "--log-dir", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "mean return of the first rollout" in done.stdout
    assert list(tmp_path.glob("events.out.tfevents*"))
