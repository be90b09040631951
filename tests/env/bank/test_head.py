"""Linear heads on a bank's features."""

import pytest
import torch

from vidselect_env.bank import ClipBank
from vidselect_env.fitting.head import bank_head, cross_fitted, fit_head, video_folds, with_head


def test_a_separable_problem_is_separated():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    features = torch.randn(60, 4, generator=generator)
    features[:, :3] += 6 * torch.nn.functional.one_hot(labels, 3)
    head = fit_head(features, torch.nn.functional.one_hot(labels, 3).bool())
    assert torch.equal(head(features).argmax(-1), labels)


def test_neighbouring_videos_share_a_fold():
    targets = torch.tensor([[True, False]] * 4 + [[False, True]] * 4)
    assert video_folds(targets, 2).tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    with pytest.raises(ValueError, match="class 0 has 4 videos: 5 folds"):
        video_folds(targets, 5)


def test_a_video_is_judged_by_a_head_that_never_saw_it():
    """Features are noise, one direction a video: a head that saw a video knows it by heart."""
    features = torch.eye(20).view(20, 1, 20)
    bank = ClipBank.from_tensors(torch.zeros(20, 1, 2), [0] * 10 + [1] * 10, features=features)
    labels = bank.targets.int().argmax(-1)

    def accuracy(judged: ClipBank) -> float:
        return (judged.field("logits").joined().argmax(-1) == labels).float().mean().item()

    assert accuracy(with_head(bank, bank_head(bank, l2=1e-4))) == 1.0
    assert accuracy(cross_fitted(bank, l2=1e-4)) <= 0.6


def test_one_fold_would_judge_what_it_was_fitted_on(bank):
    with pytest.raises(ValueError, match=r"folds \(1\) must be at least 2"):
        cross_fitted(bank, num_folds=1)
