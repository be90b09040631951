"""An algorithm from outside the package: the docs' own example, installed as a distribution of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vidselect_agents import AGENTS, make_agent, register_agent
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource

DOCS = Path(__file__).resolve().parents[2] / "docs" / "plugins.md"

PROGRAM = """
import importlib.util, sys, torch
spec = importlib.util.spec_from_file_location("world", sys.argv[1])
world = importlib.util.module_from_spec(spec); spec.loader.exec_module(world)
from vidselect_agents import make_agent
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import evaluate
problem = ClipSelectProblem(BankSource(world.random_bank(num_videos=200)), observation="features")
env = SelectVectorEnv(problem, num_envs=16)
agent = make_agent(sys.argv[2], env).learn(env, 1600)
ours, uniform = (evaluate(each, problem, name="x").top1 for each in (agent, make_agent("uniform", env)))
assert ours > uniform + 0.1, (ours, uniform)
print(type(agent.inner).__module__)
"""


@pytest.fixture(scope="module")
def distribution(tmp_path_factory) -> Path:
    """A folder as an installer leaves it: a module, and metadata with an entry point."""
    site = tmp_path_factory.mktemp("site")
    code = re.search(r"```python\n(import torch.*?)```", DOCS.read_text(), re.DOTALL).group(1)
    assert len(code.strip().splitlines()) < 40
    (site / "linucb.py").write_text(code)
    metadata = site / "linucb_vidselect-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: linucb-vidselect\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[vidselect.agents]\nlinucb = linucb:LinUCB\n")
    return site


@pytest.mark.parametrize("name", ["linucb", "linucb:LinUCB"])
def test_the_docs_example_learns_from_outside_the_package(distribution, name):
    world = Path(__file__).resolve().parents[1] / "conftest.py"
    paths = os.pathsep.join([str(distribution), str(world.parent)])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, str(world), name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "linucb"


class Mine:
    def __init__(self, env, *, seed=0, size=1):
        self.size = size

    def predict(self, observation, deterministic=False):
        return observation, None


def test_a_registered_agent_has_a_name_and_its_own_settings(bank):
    env = SelectVectorEnv(ClipSelectProblem(BankSource(bank), observation="features"), num_envs=2)
    register_agent("mine", Mine)
    try:
        assert make_agent("mine", env, size=3).inner.size == 3
        with pytest.raises(ValueError, match="'mine' is already registered"):
            register_agent("mine", Mine)
    finally:
        del AGENTS["mine"]
