"""Algorithms that nobody here wrote, on VideoClipSearch-v0."""

from __future__ import annotations

import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import VecMonitor

import vidselect_env  # noqa: F401 (registers the environments)
from vidselect_agents.registry import make_agent
from vidselect_agents.sb3.vec_env import BatchedVecEnv
from vidselect_env.envs.search.batched import SearchVectorEnv
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.envs.sources import BankSource

REPOSITORY = Path(__file__).resolve().parents[2]


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


def test_ppo_from_the_docs_learns(make_bank):
    text = (REPOSITORY / "docs" / "search.md").read_text()
    [code] = re.findall(r"```python\n(# ppo_search\.py.*?)```", text, re.DOTALL)
    names: dict = {"__name__": "ppo_search"}
    exec(code, names)
    bank = make_bank(num_videos=4, num_clips=6)
    history = names["train"](updates=15, bank=bank, num_candidates=6, observation="features", price=0.3)
    assert all(np.isfinite(history))
    assert np.mean(history[-3:]) > history[0] + 0.2  # at such a price it learns at least not to look at everything


def test_torchrls_check_passes(bank):
    pytest.importorskip("torchrl", reason="TorchRL is not installed")
    from torchrl.envs import GymWrapper
    from torchrl.envs.utils import check_env_specs

    env = gymnasium.make(
        "VideoClipSearch-v0", bank=bank, num_candidates=6, observation="features", disable_env_checker=True
    )
    check_env_specs(GymWrapper(env))
