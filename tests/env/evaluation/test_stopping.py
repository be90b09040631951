"""Searchers in the one evaluator, and rules that stop, on banks made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidselect_env.bank import ClipBank
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.envs.search.run import search
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import Result, evaluate
from vidselect_env.evaluation.stopping import (
    Point,
    Spread,
    StopRule,
    clips_for,
    frontier,
    spread_order,
    top1_at,
    useful,
)


class InTurn:
    """The order in time."""

    needs = Needs(fields=())

    def scores(self, looks):
        return -torch.arange(looks.valid.shape[1]).expand(looks.valid.shape).float()

    def cost_gmacs(self, shapes):
        return 0.5


def hand_problem(**options) -> SearchProblem:
    """Two videos of class 1 whose clips give it 0.6, 0.95, 0.3, 0.2, and 0.2, 0.7, 0.9, 0.99."""
    of_label = torch.tensor([[0.6, 0.95, 0.3, 0.2], [0.2, 0.7, 0.9, 0.99]])
    bank = ClipBank.from_tensors(
        torch.stack([1 - of_label, of_label], -1).log(), [1, 1], features=torch.zeros(2, 4, 1), classifier_gmacs=2.0
    )
    return SearchProblem(BankSource(bank), **({"num_candidates": None, "observation": "features"} | options))


def classified(stop: str, threshold: float) -> list[list[int]]:
    state = search(StopRule(InTurn(), stop, threshold), hand_problem(), torch.arange(2))
    return [row.nonzero().flatten().tolist() for row in state.classified]


def test_confidence_stops_once_the_fused_prediction_is_sure():
    # fused of video 0: 0.6, 0.775; of video 1: 0.2 (0.8 of class 0)
    assert classified("confidence", 0.77) == [[0, 1], [0]]
    assert classified("confidence", 0.5) == [[0], [0]]
    assert classified("confidence", 1.1) == [[0, 1, 2, 3]] * 2


def test_entropy_stops_once_little_is_left():
    entropy = -(0.8 * np.log(0.8) + 0.2 * np.log(0.2))
    assert classified("entropy", entropy + 1e-4) == [[0, 1, 2, 3], [0]]


def test_patience_stops_once_the_class_has_stayed():
    # fused of video 0: 1, 1; of video 1: 0.2, 0.45, 0.6, 0.6975: class 0, 0, 1, 1
    assert classified("patience", 1) == [[0, 1], [0, 1]]
    assert classified("patience", 2) == [[0, 1, 2], [0, 1, 2, 3]]


def test_count_is_a_fixed_number():
    assert classified("count", 3) == [[0, 1, 2]] * 2


def test_a_rule_has_a_row_like_everybodys():
    row = evaluate(StopRule(InTurn(), "confidence", 0.77), hand_problem(), name="rule")
    assert row.clips_per_video == 1.5
    assert row.classifier_gmacs == pytest.approx(3.0)
    assert row.scorer_gmacs == pytest.approx(0.5)
    assert row.right == (True, False)
    assert row.relative_cost == pytest.approx(3.5 / 8)


def test_decisions_and_paid_looks_are_counted():
    class Decides:
        """Classifies candidate 2, which is looked at first, and stops."""

        needs = Needs()

        def begin(self, view):
            return 0

        def next(self, view, memory):
            return torch.full((len(view),), 2 if memory < 2 else 4), memory + 1

        def cost_gmacs(self, shapes):
            return 4.0

        def step_gmacs(self, shapes):
            return 0.1

    row = evaluate(Decides(), hand_problem(looks="paid"), name="decides")
    assert row.clips_per_video == 1
    assert row.scorer_gmacs == pytest.approx(4 / 4 + 3 * 0.1)  # one look of four; look, classify, stop


def test_who_never_stops_is_told_so():
    class Stubborn(StopRule):
        def next(self, view, memory):
            return torch.full((len(view),), 9 % view.classified.shape[1]), memory

    with pytest.raises(RuntimeError, match="never stops"):
        search(Stubborn(InTurn(), "count", 1), _endless(), torch.arange(2))


def _endless() -> SearchProblem:
    problem = hand_problem()
    problem.max_clips = 1000
    return problem


def test_a_searcher_needs_a_search(make_bank):
    problem = ClipSelectProblem(BankSource(make_bank()), observation="features")
    with pytest.raises(TypeError, match="VideoClipSelect-v0"):
        evaluate(StopRule(InTurn(), "count", 1), problem, name="rule")


def test_an_order_that_sees_all_looks_is_refused_where_they_are_paid():
    class Looks(InTurn):
        needs = Needs(fields=("features",))

    with pytest.raises(ValueError, match="paid"):
        evaluate(StopRule(Looks(), "count", 1), hand_problem(looks="paid"), name="rule")
    assert evaluate(StopRule(InTurn(), "count", 2), hand_problem(looks="paid"), name="rule").clips_per_video == 2


def test_the_spread_order_halves_the_video():
    assert spread_order(9) == [4, 0, 8, 2, 6, 1, 3, 5, 7]


def test_the_spread_stays_within_short_videos(make_ragged_bank):
    problem = SearchProblem(BankSource(make_ragged_bank([3, 6])), num_candidates=None, observation="features")
    state = search(StopRule(Spread(), "count", 2), problem, torch.arange(2))
    assert state.order.tolist() == [[2, 1, 0, 0, 0, 0], [2, 0, 0, 1, 0, 0]]


def point(clips: float, top1: float) -> Point:
    return Point(
        clips,
        Result(
            selector="",
            num_videos=1,
            top1=top1,
            top5=0,
            mean_average_precision=0,
            clips_per_video=clips,
            scorer_gmacs=0,
            classifier_gmacs=0,
            relative_cost=0,
        ),
    )


def test_the_useful_points_are_those_that_no_mixture_beats():
    points = [point(1, 0.5), point(2, 0.6), point(3, 0.8), point(4, 0.75), point(5, 0.85), point(2, 0.4)]
    assert [each.setting for each in useful(points)] == [1, 3, 5]


def test_points_between_are_mixtures():
    points = [point(1, 0.5), point(3, 0.8)]
    assert top1_at(points, 2) == pytest.approx(0.65)
    assert top1_at(points, 9) == 0.8
    assert np.isnan(top1_at(points, 0.5))
    assert clips_for(points, 0.65) == pytest.approx(2)
    assert np.isnan(clips_for(points, 0.9))


def test_a_frontier_is_in_order_of_cost():
    points = frontier(lambda count: StopRule(InTurn(), "count", count), hand_problem(), [4, 1, 2], name="turn")
    assert [each.setting for each in points] == [1, 2, 4]
    assert [each.result.top1 for each in points] == [0.5, 0.5, 1.0]
