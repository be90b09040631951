"""Eq. 6 of DSN, by hand."""

import pytest
import torch

from vidselect_env.envs.rewards import clip_rewards, is_correct


def test_a_right_clip_earns_its_probability_and_a_wrong_one_the_penalty():
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]])
    targets = torch.tensor([[True, False, False], [False, True, False]])
    assert clip_rewards(probabilities, targets, penalty=0.5).tolist() == pytest.approx([0.7, -0.5])


def test_any_of_several_labels_makes_a_clip_right():
    probabilities = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
    targets = torch.tensor([[True, True, False], [True, True, False]])
    assert is_correct(probabilities, targets).tolist() == [True, False]
    assert clip_rewards(probabilities, targets, penalty=1.0).tolist() == pytest.approx([0.5, -1.0])


def test_negative_penalty_is_refused():
    with pytest.raises(ValueError, match=r"penalty \(-0.1\) must be at least 0"):
        clip_rewards(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), penalty=-0.1)
