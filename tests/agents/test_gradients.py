"""Every estimator against the exact gradient of a problem small enough to enumerate."""

from __future__ import annotations

import copy
import itertools
from functools import partial

import pytest
import torch

from vidselect_agents.baselines import (
    Baseline,
    Greedy,
    GroupNormalised,
    LeaveOneOut,
    MovingAverage,
    NoBaseline,
    make_baseline,
)
from vidselect_agents.gradients import all_arms_loss, reinforce_loss
from vidselect_agents.selection import KeepOrDrop, OnePerSection

SCORES = torch.tensor([[[0.3, -0.5, 1.0], [0.0, 0.2, -0.1]]])  # one context, two sections of three clips
ARMS = torch.tensor([[[0.9, -0.5, 0.4], [-0.5, 0.7, 0.1]]])


def exact_gradient() -> torch.Tensor:
    """Of minus the mean over sections of the expected reward, by the softmax's own derivative."""
    p = SCORES.softmax(-1)
    value = (p * ARMS).sum(-1, keepdim=True)
    return -(p * (ARMS - value)) / 2


def gradient(loss_of, scores: torch.Tensor = SCORES) -> torch.Tensor:
    leaf = scores.clone().requires_grad_()
    loss_of(leaf).backward()
    assert leaf.grad is not None
    return leaf.grad


def test_all_arms_gradient_is_exact():
    found = gradient(lambda scores: all_arms_loss(OnePerSection(scores), ARMS))
    torch.testing.assert_close(found, exact_gradient())


def rewards_of(actions: torch.Tensor) -> torch.Tensor:
    return ARMS.expand(len(actions), -1, -1, -1).gather(-1, actions[..., None]).squeeze(-1)


def sampled_loss(scores: torch.Tensor, actions: torch.Tensor, baseline: Baseline) -> torch.Tensor:
    """REINFORCE on given actions."""
    policy = OnePerSection(scores)
    asked = baseline.tries(policy)
    tried = rewards_of(actions[:0] if asked is None else asked)
    advantages = baseline.advantages(rewards_of(actions), tried, torch.tensor([0]))
    return reinforce_loss(policy.log_prob(actions), advantages)


@pytest.mark.parametrize(
    "baseline", [NoBaseline(), Greedy(), MovingAverage(1, 2)], ids=lambda each: type(each).__name__
)
def test_one_sample_estimators_are_unbiased(baseline):
    """The expectation over all nine actions, each weighted by its probability, is the exact gradient."""
    if isinstance(baseline, MovingAverage):
        baseline.update(torch.tensor([0]), torch.tensor([[[0.2, -0.1]]]))
    total = torch.zeros_like(SCORES)
    for pair in itertools.product(range(3), repeat=2):
        actions = torch.tensor([[pair]])
        probability = OnePerSection(SCORES).log_prob(actions).sum().exp()

        fresh = copy.deepcopy(baseline)  # a sample must not see itself in the baseline
        total += probability * gradient(partial(sampled_loss, actions=actions, baseline=fresh))
    torch.testing.assert_close(total, exact_gradient())


def test_leave_one_out_is_unbiased_over_pairs_of_samples():
    total = torch.zeros_like(SCORES)
    for first, second in itertools.product(itertools.product(range(3), repeat=2), repeat=2):
        actions = torch.tensor([[first], [second]])
        probability = OnePerSection(SCORES).log_prob(actions).sum().exp()

        total += probability * gradient(partial(sampled_loss, actions=actions, baseline=LeaveOneOut()))
    torch.testing.assert_close(total, exact_gradient())


def test_keep_or_drop_gradient_is_unbiased():
    """Over all 2^3 selections of three frames, against the enumerated expectation."""
    scores = torch.tensor([[0.4, -0.2, 0.1]])
    everything = torch.tensor(list(itertools.product((0, 1), repeat=3)))[:, None]
    rewards = torch.randn(8, 1, 1, generator=torch.Generator().manual_seed(0))

    def expected(leaf: torch.Tensor) -> torch.Tensor:
        return -(KeepOrDrop(leaf).log_prob(everything).exp() * rewards).sum()

    def weighted(leaf: torch.Tensor) -> torch.Tensor:
        log_prob = KeepOrDrop(leaf).log_prob(everything)
        weights = log_prob.detach().exp() * 8  # the loss is a mean over its eight samples
        return reinforce_loss(log_prob, rewards * weights)

    torch.testing.assert_close(gradient(weighted, scores), gradient(expected, scores))


def test_greedy_baseline_has_zero_advantage_on_the_greedy_arm():
    greedy = OnePerSection(SCORES).mode()[None]
    assert gradient(partial(sampled_loss, actions=greedy, baseline=Greedy())).abs().max() == 0


def test_leave_one_out_by_hand():
    rewards = torch.tensor([1.0, 2.0, 6.0]).view(3, 1, 1)
    nothing, contexts = rewards[:0], torch.tensor([0])
    advantages = LeaveOneOut().advantages(rewards, nothing, contexts)  # of the others the means are 4, 3.5 and 1.5
    assert advantages.flatten().tolist() == [-3.0, -1.5, 4.5]
    with pytest.raises(ValueError, match="at least 2 samples"):
        LeaveOneOut().advantages(rewards[:1], nothing, contexts)


def test_group_normalised_advantages_by_hand():
    """Mean 3, standard deviation (of a sample) sqrt(7): GRPO's advantage in its own units."""
    rewards = torch.tensor([1.0, 2.0, 6.0]).view(3, 1, 1)
    advantages = GroupNormalised().advantages(rewards, rewards[:0], torch.tensor([0])).flatten()
    assert advantages.tolist() == pytest.approx([-2 / 7**0.5, -1 / 7**0.5, 3 / 7**0.5], rel=1e-5)
    same = torch.full((3, 1, 1), 0.4)
    assert GroupNormalised().advantages(same, same[:0], torch.tensor([0])).abs().max() < 1e-3


def test_moving_average_by_hand():
    average = MovingAverage(3, 1, momentum=0.9)
    average.update(torch.tensor([2]), torch.tensor([[[1.0]], [[3.0]]]))
    assert average.of(torch.tensor([0, 2])).flatten().tolist() == [0.0, 2.0]
    average.update(torch.tensor([2]), torch.tensor([[[12.0]]]))
    assert average.of(torch.tensor([2])).item() == pytest.approx(0.9 * 2 + 0.1 * 12)


def test_repeated_visits_of_a_context_count_with_their_mean():
    average = MovingAverage(2, 1)
    average.update(torch.tensor([1, 0, 1]), torch.tensor([[[1.0], [5.0], [0.0]]]))
    assert average.of(torch.tensor([0, 1])).flatten().tolist() == [5.0, 0.5]


def test_unknown_baseline_is_refused():
    with pytest.raises(ValueError, match="unknown baseline 'median'"):
        make_baseline("median", num_contexts=1, num_decisions=2)
