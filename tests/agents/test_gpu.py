"""Everything on a GPU, against the CPU."""

from __future__ import annotations

import pytest
import torch

from vidselect_agents import make_agent
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import evaluate

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("problem_class", [ClipSelectProblem, FrameSelectProblem])
def test_rewards_are_those_of_the_cpu(bank, problem_class):
    results = []
    for device in ("cpu", "cuda"):
        env = SelectVectorEnv(problem_class(BankSource(bank, device=device), observation="features"), num_envs=4)
        env.reset(options={"video_index": [0, 1, 2, 3]})
        env.action_space.seed(0)
        observations, rewards, *_ = env.step(env.action_space.sample())
        assert observations.device.type == device
        results.append(rewards.cpu())
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("name", ["dsn", "as", "max_response", "ppo", "dqn", "ranking", "mgsampler", "empirical"])
def test_agents_learn_and_are_evaluated_there(bank, name):
    source = BankSource(bank, device="cuda")
    if name in ("as", "ranking", "mgsampler", "empirical"):
        problem = FrameSelectProblem(source, observation="features+predictions" if name == "as" else "skim")
    else:
        problem = ClipSelectProblem(source, observation="skim", per_section=name == "dqn")
    settings = {"dqn": {"buffer_size": 64, "learning_starts": 16, "batch_size": 16}}.get(name, {})
    env = SelectVectorEnv(problem, num_envs=16)
    agent = make_agent(name, env, device="cuda", **settings).learn(env, 64)
    assert evaluate(agent, problem, name=name).num_videos == bank.num_videos
