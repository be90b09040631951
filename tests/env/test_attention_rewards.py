"""Eqs. 2 to 4 of AS, every branch by hand."""

import pytest
import torch

from vidselect_env.envs.rewards import attention_rewards

LABEL = torch.tensor([True, False, False])


@pytest.mark.parametrize(
    ("before", "after", "reward"),
    [
        ([0.3, 0.6, 0.1], [0.5, 0.4, 0.1], 10.0),  # wrong, then right
        ([0.5, 0.4, 0.1], [0.3, 0.6, 0.1], -10.0),  # right, then wrong
        ([0.5, 0.4, 0.1], [0.6, 0.3, 0.1], 1.0),  # right and surer
        ([0.6, 0.3, 0.1], [0.5, 0.4, 0.1], -1.0),  # right and less sure
        ([0.2, 0.7, 0.1], [0.3, 0.6, 0.1], 1.0),  # wrong, but nearer
        ([0.3, 0.6, 0.1], [0.2, 0.7, 0.1], -1.0),  # wrong and farther
        ([0.5, 0.4, 0.1], [0.5, 0.3, 0.2], 0.0),  # the label's probability stays
        ([0.5, 0.4, 0.1], [0.5 + 1e-8, 0.4, 0.1], 0.0),  # rounding
    ],
)
def test_every_branch(before, after, reward):
    found = attention_rewards(torch.tensor(before), torch.tensor(after), LABEL, omega=10.0)
    assert found.item() == reward


def test_several_labels_count_together():
    labels = torch.tensor([True, True, False])
    before, after = torch.tensor([0.3, 0.3, 0.4]), torch.tensor([0.45, 0.25, 0.3])
    assert attention_rewards(before, after, labels, omega=5.0).item() == 5.0


def test_a_small_omega_is_refused():
    with pytest.raises(ValueError, match=r"omega \(0.5\) must be at least 1"):
        attention_rewards(torch.ones(3), torch.ones(3), LABEL, omega=0.5)
