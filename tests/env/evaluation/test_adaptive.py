"""Each clip is charged with its own cost, where a classifier's clips cost different amounts."""

from __future__ import annotations

import pytest
import torch

from vidselect_classifiers import make_classifier
from vidselect_classifiers.sgs import gmacs_by_bins, with_sgs
from vidselect_env.bank import BankError, ClipBank, bank_spec, build_bank
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.sources import BankSource, LiveSource
from vidselect_env.evaluation.adaptive import adaptive_cost, describe
from vidselect_env.evaluation.evaluate import evaluate

BINS = [[1, 2, 3, 1], [3, 3, 2, 1]]


def bank() -> ClipBank:
    return ClipBank.from_tensors(
        torch.zeros(2, 4, 2),
        [0, 1],
        classifier_gmacs=9.0,
        num_bins=torch.tensor(BINS),
        bins_gmacs=(2.0, 5.0, 9.0),
    )


class Takes:
    needs = Needs(fields=())

    def __init__(self, *chosen: int) -> None:
        self.chosen = list(chosen)

    def select(self, looks):
        mask = torch.zeros_like(looks.valid)
        mask[:, self.chosen] = True
        return mask

    def cost_gmacs(self, shapes):
        return 0.0


def test_a_selection_costs_what_its_clips_cost():
    problem = FrameSelectProblem(BankSource(bank()), num_candidates=4, num_kept=2, observation="predictions")
    result = evaluate(Takes(0, 2), problem, name="x")
    # Clips 0 and 2 keep 1 and 3 maps of the first video, 3 and 2 of the second: 2 + 9 and 9 + 5.
    assert result.classifier_gmacs == pytest.approx((11 + 14) / 2)
    # All of them: 2 + 5 + 9 + 2 and 9 + 9 + 5 + 2.
    assert result.relative_cost == pytest.approx((11 + 14) / (18 + 25))


def test_the_mean_the_histogram_and_the_classes_at_both_ends():
    cost = adaptive_cost(bank())
    assert cost.mean_gmacs == pytest.approx((18 + 25) / 8)
    assert cost.most_gmacs == 9
    assert cost.histogram == (3, 2, 3)
    assert cost.mean_bins == (("0", 7 / 4), ("1", 9 / 4))
    assert describe(cost) == "5.375 GMACs a clip on average, at most 9; fewest maps kept: 0 1.75; most: 1 2.25"


def test_a_bank_without_sampling_has_no_such_cost(make_bank):
    with pytest.raises(BankError, match="no field 'num_bins'"):
        adaptive_cost(make_bank())


def test_a_bank_of_an_adaptive_classifier_stores_what_each_clip_kept(tmp_path, video_folder):
    dataset = load_dataset(f"folder:{video_folder}", split="train")
    torch.manual_seed(0)
    classifier = with_sgs(make_classifier("tiny_r3d", num_classes=2), num_bins=100).eval()
    spec = bank_spec(dataset, classifier, num_clips=3)
    built = build_bank(tmp_path, dataset, classifier, spec=spec, progress=False)
    assert built.spec.bins_gmacs == gmacs_by_bins(classifier)
    source, live = BankSource(built), LiveSource(dataset, classifier, spec=spec)
    videos, candidates = torch.tensor([0, 5]), torch.tensor([[0, 1, 2], [2, 1, 0]])
    costs = source.clip_gmacs(videos, candidates)
    torch.testing.assert_close(costs, live.clip_gmacs(videos, candidates))
    kept = built.field("num_bins").joined().view(8, 3)
    assert len(kept.unique()) > 1
    expected = torch.tensor(spec.bins_gmacs)[kept[videos[:, None], candidates] - 1]
    torch.testing.assert_close(costs, expected)
