"""Sets drawn without replacement, taught by the worth of their fused prediction; and its upper bound."""

from __future__ import annotations

import pytest
import torch

from vidselect_agents import make_agent
from vidselect_agents.plackett_luce import PlackettLuceConfig
from vidselect_agents.registry import needs_of
from vidselect_env.bank import ClipBank
from vidselect_env.envs.rewards import gain_rewards
from vidselect_env.evaluation.evaluate import evaluate

SETTINGS = (
    {},
    {"log_probability": "order"},
    {"gradient": "all_arms"},
    {"baseline": "group_normalised"},
    {"baseline": "greedy"},
)


def top1(agent, env) -> float:
    return evaluate(agent, env.problem, name="x").top1


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_it_learns_from_reward_which_clips_show_the_action(signal_bank, frames_env, settings):
    env = frames_env(signal_bank(num_videos=120), observation="skim", reward="gain")
    agent = make_agent("plackett_luce", env, seed=0, learning_rate=3e-3, **settings)
    before = top1(make_agent("uniform", env), env)
    agent.learn(env, 20 * 60)
    assert top1(agent, env) > before + 0.2


def test_all_sets_are_summed_over_only_where_they_are_few(signal_bank, frames_env):
    env = frames_env(signal_bank(num_videos=20, num_clips=16), observation="skim", num_candidates=16, num_kept=8)
    agent = make_agent("plackett_luce", env, gradient="all_arms")
    with pytest.raises(ValueError, match=r"8 of 16 candidates make 12870, and it takes at most 1000"):
        agent.learn(env, 20)


def test_the_reward_that_it_needs_is_its_setting():
    assert needs_of("plackett_luce", PlackettLuceConfig(reward="log_prob")).reward == "log_prob"
    with pytest.raises(ValueError, match=r"reward \('worth'\) must be one of attention"):
        PlackettLuceConfig(reward="worth")


@pytest.mark.parametrize(
    ("reward", "expected"),
    [("gain", 0.9 - 0.5), ("confidence", 0.9 - 0.5), ("correct", 1.0), ("margin", 0.9 - 0.1), ("attention", 10.0)],
)
def test_rewards_of_keeping_the_clip_that_shows_the_label(frames_env, reward, expected):
    """Two clips say (0.9, 0.1) and (0.1, 0.9) of a video of class 0: all of them leave it open, the first is right."""
    clips = torch.tensor([[0.9, 0.1], [0.09, 0.91]]).log()
    bank = ClipBank.from_tensors(clips[None].expand(20, -1, -1).contiguous(), [0] * 20)
    env = frames_env(bank, num_candidates=2, num_kept=1, reward=reward)
    env.reset(seed=0)
    rewards = env.decision_rewards(torch.tensor([[[1, 0]]], dtype=torch.int8).expand(1, 20, 2))
    torch.testing.assert_close(rewards, torch.full((1, 20, 1), expected), atol=0.006, rtol=0)


def test_a_gain_needs_labels_and_confidence_does_not():
    before, after = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.2, 0.8]])
    first = torch.tensor([[True, False]])
    assert gain_rewards("gain", before, after, first).item() == pytest.approx(-0.3)
    assert gain_rewards("confidence", before, after, first).item() == pytest.approx(0.3)


def test_an_unknown_reward_is_refused(signal_bank, frames_env):
    with pytest.raises(ValueError, match=r"reward \('accuracy'\) must be one of attention, correct"):
        frames_env(signal_bank(num_videos=20), reward="accuracy")


def test_truth_spans_refuses_videos_of_which_nobody_knows_where_the_action_is(signal_bank, frames_env):
    env = frames_env(signal_bank(num_videos=20), observation="skim")
    with pytest.raises(ValueError, match="'truth_spans' needs to know where the action is"):
        make_agent("truth_spans", env).learn(env, 20)
