"""The losses on what candidates are worth, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from vidselect_agents.ranking_losses import (
    expected_worth_loss,
    saliency_class_loss,
    saliency_ranking_loss,
    weighted_ranking_loss,
)


def test_saliency_ranking_by_hand():
    # Pair (0, 1): z = 1, max(-(0.1 + 0.2), 0) = 0. Pair (1, 0): z = -1, max(-0.1 + 0.2, 0) = 0.1. Mean 0.05.
    loss = saliency_ranking_loss(torch.tensor([[0.5, 0.4]]), torch.tensor([[0.9, 0.1]]), margin=0.2)
    assert loss.item() == pytest.approx(0.05)
    # The wrong way round: (0, 1): max(0.5 - 0.4 + 0.2, 0) = 0.3; (1, 0): max(-(-0.1 + 0.2), 0) = 0. Mean 0.15.
    loss = saliency_ranking_loss(torch.tensor([[0.5, 0.4]]), torch.tensor([[0.1, 0.9]]), margin=0.2)
    assert loss.item() == pytest.approx(0.15)


def test_a_lead_of_the_margin_costs_nothing():
    scores = torch.tensor([[0.9, 0.6, 0.3]])
    assert saliency_ranking_loss(scores, torch.tensor([[3.0, 2.0, 1.0]]), margin=0.3).item() < 1e-6
    assert saliency_ranking_loss(scores, torch.tensor([[3.0, 2.0, 1.0]]), margin=0.4).item() > 0


def test_weighted_ranking_by_hand():
    # Worth differs by 2: 2 * max(1 - (0.5 - 0.25), 0) = 1.5; the only pair.
    loss = weighted_ranking_loss(torch.tensor([[0.5, 0.25]]), torch.tensor([[5.0, 3.0]]), margin=1.0)
    assert loss.item() == pytest.approx(1.5)
    equal = weighted_ranking_loss(torch.tensor([[0.5, 0.25]]), torch.tensor([[3.0, 3.0]]), margin=1.0)
    assert equal.item() == 0


def test_expected_worth_by_hand():
    # Drawn with 3/4 and 1/4, and never the third, which is padding: 3/4 * 0.8 + 1/4 * 0.4 = 0.7.
    scores, worth = torch.tensor([[3.0, 1.0, 9.0]]).log(), torch.tensor([[0.8, 0.4, 1.0]])
    loss = expected_worth_loss(scores, worth, valid=torch.tensor([[True, True, False]]))
    assert loss.item() == pytest.approx(-math.log(0.7))
    nothing = expected_worth_loss(scores, torch.zeros(1, 3), valid=torch.ones(1, 3, dtype=torch.bool))
    assert nothing.isfinite()


def test_gradients_raise_the_better_candidate():
    for loss_of in (
        lambda s: saliency_ranking_loss(s, torch.tensor([[0.9, 0.1]]), margin=0.5),
        lambda s: weighted_ranking_loss(s, torch.tensor([[0.9, 0.1]]), margin=0.5),
        lambda s: expected_worth_loss(s, torch.tensor([[0.9, 0.1]]), valid=torch.ones(1, 2, dtype=torch.bool)),
    ):
        scores = torch.zeros(1, 2, requires_grad=True)
        loss_of(scores).backward()
        assert scores.grad[0, 0] < 0 < scores.grad[0, 1]


def test_being_of_the_oracles_clips_by_hand():
    scores = torch.tensor([[0.5, 0.25, 0.9]])
    truth = torch.tensor([[0.9, 0.1, 0.95]])
    last_is_padding = torch.tensor([[True, True, False]])
    one = saliency_class_loss(scores, truth, num_salient=torch.tensor([1]), valid=last_is_padding)
    assert one.item() == pytest.approx(-(math.log(0.5) + math.log(0.75)) / 2)
    two_of_three = saliency_class_loss(scores, truth, num_salient=torch.tensor([2]))
    assert two_of_three.item() == pytest.approx(-(math.log(0.5) + math.log(0.75) + math.log(0.9)) / 3)
    both_contexts = saliency_class_loss(scores.repeat(2, 1), truth.repeat(2, 1), num_salient=torch.tensor([2, 3]))
    assert both_contexts.item() == pytest.approx(
        -(math.log(0.5) + math.log(0.75) + math.log(0.9) + math.log(0.5) + math.log(0.25) + math.log(0.9)) / 6
    )
