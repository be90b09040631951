"""Algorithms that nobody here wrote, on VideoClipSearch-v0."""

from __future__ import annotations

import numpy as np
import pytest
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import VecMonitor

from vidselect_agents.registry import make_agent
from vidselect_agents.sb3.vec_env import BatchedVecEnv
from vidselect_env.envs.search.batched import SearchVectorEnv
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.envs.sources import BankSource


def adapted(bank, **options) -> BatchedVecEnv:
    options = {"num_candidates": 6, "observation": "features", "price": 0.05} | options
    return BatchedVecEnv(SearchVectorEnv(SearchProblem(BankSource(bank), **options), num_envs=4))


def test_the_adapter_tells_episodes_of_several_steps(bank):
    env = adapted(bank, max_clips=2)
    env.seed(0)
    env.reset()
    first = env.step(np.array([0, 0, 6, 0]))
    assert first[2].tolist() == [False, False, True, False]
    assert first[3][0] == {}
    assert first[3][2]["episode"] | {"t": 0} == {"r": 0.0, "l": 1, "t": 0}
    _, _, ended, infos = env.step(np.array([1, 6, 0, 1]))
    assert ended.tolist() == [True, True, False, True]
    assert [info.get("episode", {}).get("l") for info in infos] == [2, 2, None, 2]
    assert infos[1]["episode"]["r"] in (pytest.approx(-0.05), pytest.approx(0.95))


@pytest.mark.parametrize(
    ("algorithm", "policy", "options"),
    [
        (PPO, "MlpPolicy", {"n_steps": 8, "batch_size": 16}),
        (PPO, "MultiInputPolicy", {"n_steps": 8, "batch_size": 16}),
        (DQN, "MlpPolicy", {"learning_starts": 8, "buffer_size": 64}),
    ],
)
def test_stable_baselines_learns_through_the_adapter(bank, algorithm, policy, options):
    env = adapted(bank, flat=policy == "MlpPolicy")
    model = algorithm(policy, VecMonitor(env), gamma=1.0, seed=0, device="cpu", **options).learn(64)
    actions, _ = model.predict(env.reset(), deterministic=True)
    assert actions.shape == (4,)


def test_maskable_ppo_never_does_what_does_nothing(bank):
    contrib = pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed")
    env = adapted(bank, flat=True)
    model = contrib.MaskablePPO("MlpPolicy", env, gamma=1.0, n_steps=8, batch_size=16, seed=0, device="cpu").learn(64)
    observations = env.reset()
    for _ in range(20):
        masks = env.action_masks()
        actions, _ = model.predict(observations, action_masks=masks)
        assert masks[np.arange(4), actions].all()
        observations = env.step(actions)[0]


def test_an_sb3_agent_of_one_step_says_that_a_search_is_not(bank):
    env = adapted(bank).env
    with pytest.raises(ValueError, match=r"BatchedVecEnv.*docs/search\.md"):
        make_agent("ppo", env).learn(env, 8)
