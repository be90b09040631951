"""RL Zoo trains from its own kind of file, into its own kind of folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
FILE = REPOSITORY / "docs" / "examples" / "zoo_ppo.yml"


def test_its_file_has_a_key_an_environment_with_what_the_zoo_asks_for():
    import gymnasium

    import vidselect_env  # noqa: F401 (registers the environments)

    listed = yaml.safe_load(FILE.read_text())
    for name, settings in listed.items():
        assert name in gymnasium.registry
        assert {"n_timesteps", "policy"} <= set(settings)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["VideoClipSelect-v0", "VideoClipSearch-v0"])
def test_the_zoo_trains_and_leaves_its_folder(tmp_path, name):
    """On the small synthetic bank."""
    pytest.importorskip("rl_zoo3", reason="RL Zoo is not installed")
    command = [sys.executable, "-m", "rl_zoo3.train", "--algo", "ppo", "--env", name, "--gym-packages", "vidselect_env"]
    command += ["--conf-file", str(FILE), "--log-folder", str(tmp_path / "logs"), "--n-timesteps", "64"]
    command += ["--hyperparams", "n_envs:2", "n_steps:16", "batch_size:16", "--eval-freq", "-1", "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = tmp_path / "logs" / "ppo" / f"{name}_1"
    assert (folder / f"{name}.zip").exists()
    assert (folder / name / "config.yml").exists()

    from stable_baselines3 import PPO

    assert PPO.load(folder / f"{name}.zip", device="cpu").num_timesteps >= 64
