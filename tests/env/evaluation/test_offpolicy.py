"""Estimates from a log against the truth, which a bank knows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.envs.wrappers import LogInteractions, load_interactions
from vidselect_env.evaluation.offpolicy import (
    doubly_robust,
    importance_weights,
    inverse_propensity_score,
    self_normalised,
    true_value,
)


@pytest.fixture(scope="module")
def feedback(make_bank, tmp_path_factory):
    """The log of a policy that takes the first clip of a section with probability 0.6, each other with 0.2."""
    problem = ClipSelectProblem(BankSource(make_bank(num_videos=50)), observation="features")
    path = tmp_path_factory.mktemp("log") / "log.npz"
    env = LogInteractions(SelectVectorEnv(problem, num_envs=64), path)
    env.reset(seed=0)
    generator = torch.Generator().manual_seed(0)
    odds = torch.tensor([0.6, 0.2, 0.2])
    for _ in range(100):
        actions = torch.multinomial(odds.expand(64 * 6, -1), 1, generator=generator).view(64, 6)
        env.step(actions, propensities=odds[actions])
    env.write()
    return load_interactions(path)


@pytest.fixture(scope="module")
def policy(feedback):
    """The evaluated policy prefers the last clip."""
    return np.tile([0.1, 0.2, 0.7], (feedback["n_rounds"], 1))


def test_a_round_is_a_section_and_its_reward_is_the_arms(feedback):
    assert (feedback["n_rounds"], feedback["n_actions"]) == (100 * 64 * 6, 3)
    rows = np.arange(feedback["n_rounds"])
    np.testing.assert_array_equal(feedback["expected_reward"][rows, feedback["action"], 0], feedback["reward"])
    assert feedback["context_id"].max() < 50 * 6
    assert set(np.unique(feedback["pscore"]).round(3)) == {np.float32(0.2), np.float32(0.6)}


def test_a_rounds_context_is_what_was_observed_of_its_arms(make_bank, tmp_path):
    problem = ClipSelectProblem(BankSource(make_bank(num_videos=3)), observation="features")
    env = LogInteractions(SelectVectorEnv(problem, num_envs=2), tmp_path / "log.npz")
    observations, _ = env.reset(seed=0)
    env.step(torch.zeros(2, 6, dtype=torch.int64))
    env.write()
    context = load_interactions(tmp_path / "log.npz")["context"]
    assert context.shape == (2 * 6, 3 * 5)  # three clips of five features
    np.testing.assert_array_equal(context[7], observations[1, 3:6].flatten().numpy())


def test_a_skims_context_is_the_colours_of_its_frames(make_bank, tmp_path):
    env = SelectVectorEnv(ClipSelectProblem(BankSource(make_bank(num_videos=3))), num_envs=2)
    log = LogInteractions(env, tmp_path / "log.npz")
    observations, _ = log.reset(seed=0)
    log.step(torch.zeros(2, 6, dtype=torch.int64))
    log.write()
    context = load_interactions(tmp_path / "log.npz")["context"]
    assert context.shape == (2 * 6, 3 * 2 * 3)  # three clips, two frames, three colours
    assert context[0, 0] == pytest.approx(observations[0, 0, 0, 0].float().mean().item() / 255)


def test_every_estimator_is_near_the_truth(feedback, policy):
    truth = true_value(policy, feedback["expected_reward"])
    weights = importance_weights(feedback["action"], feedback["pscore"], policy)
    poor_model = np.full_like(policy, 0.3)
    error = 4 * (weights * feedback["reward"]).std() / np.sqrt(feedback["n_rounds"])
    assert inverse_propensity_score(feedback["reward"], weights) == pytest.approx(truth, abs=error)
    assert self_normalised(feedback["reward"], weights) == pytest.approx(truth, abs=error)
    robust = doubly_robust(feedback["reward"], weights, action=feedback["action"], policy=policy, predicted=poor_model)
    assert robust == pytest.approx(truth, abs=error)


def test_doubly_robust_is_exact_with_the_true_rewards(feedback, policy):
    weights = importance_weights(feedback["action"], feedback["pscore"], policy)
    found = doubly_robust(
        feedback["reward"],
        weights,
        action=feedback["action"],
        policy=policy,
        predicted=feedback["expected_reward"][..., 0],
    )
    assert found == pytest.approx(true_value(policy, feedback["expected_reward"]), rel=1e-5)


def test_by_hand():
    action, pscore, reward = np.array([0, 1]), np.array([0.5, 0.25]), np.array([1.0, 2.0])
    policy = np.array([[1.0, 0.0], [0.5, 0.5]])
    weights = importance_weights(action, pscore, policy)
    assert weights.tolist() == [2.0, 2.0]
    assert inverse_propensity_score(reward, weights) == 3.0
    assert self_normalised(reward, weights) == 1.5


def test_a_log_without_propensities_is_refused():
    with pytest.raises(ValueError, match="every propensity must be a positive number"):
        importance_weights(np.array([0]), np.array([np.nan]), np.array([[1.0, 0.0]]))
