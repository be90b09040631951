"""Late fusion against numbers worked by hand."""

from __future__ import annotations

import pytest
import torch

from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import Result, evaluate, evaluate_with_predictions
from vidselect_env.evaluation.fusion import Stream, fuse, normalised
from vidselect_env.evaluation.references import REFERENCES


def stream(
    probabilities, *, videos=("a", "b", "c"), labels=(0, 1, 1), clips=2.0, scorer=0.5, classifier=1.5, share=0.5
):
    probabilities = torch.tensor(probabilities)
    targets = torch.nn.functional.one_hot(torch.tensor(labels), probabilities.shape[1]).bool()
    result = Result(
        selector="x",
        num_videos=len(videos),
        top1=0.0,
        top5=0.0,
        mean_average_precision=0.0,
        clips_per_video=clips,
        scorer_gmacs=scorer,
        classifier_gmacs=classifier,
        relative_cost=share,
    )
    return Stream(result=result, videos=videos, probabilities=probabilities, targets=targets)


RGB = [[0.7, 0.3], [0.6, 0.4], [0.9, 0.1]]
FLOW = [[0.4, 0.6], [0.2, 0.8], [0.4, 0.6]]


def test_the_mean_of_two_streams_by_hand():
    """(.55, .45) is right, (.4, .6) is right, (.65, .35) is wrong."""
    row = fuse([stream(RGB), stream(FLOW)], name="both")
    assert row.right == (True, True, False)
    assert row.top1 == pytest.approx(2 / 3)


def test_weights_by_hand():
    """1 to 3: (.475, .525) is wrong, (.3, .7) right, (.525, .475) wrong; 1 to 9: (.43, .57), (.24, .76), (.45, .55)."""
    assert fuse([stream(RGB), stream(FLOW)], weights=(1, 3), name="both").right == (False, True, False)
    assert fuse([stream(RGB), stream(FLOW)], weights=(1, 9), name="both").right == (False, True, True)
    assert fuse([stream(RGB), stream(FLOW)], weights=(5, 0), name="both").right == (True, False, False)
    assert normalised((1, 1.5), 2) == pytest.approx([0.4, 0.6])


def test_it_costs_what_the_streams_cost():
    """Dense is 2 / 0.5 = 4 GMACs of one and 6 / 0.25 = 24 of the other: 8 of 28."""
    second = stream(FLOW, clips=3.0, scorer=2.0, classifier=4.0, share=0.25)
    row = fuse([stream(RGB), second], name="both")
    assert (row.clips_per_video, row.scorer_gmacs, row.classifier_gmacs) == (5.0, 2.5, 5.5)
    assert row.relative_cost == pytest.approx(8 / 28)


def test_three_streams_and_videos_in_another_order():
    third = stream(list(reversed(FLOW)), videos=("c", "b", "a"), labels=(1, 1, 0))
    row = fuse([stream(RGB), stream(FLOW), third], weights=(2, 1, 1), name="three")
    assert row.right == fuse([stream(RGB), stream(FLOW)], name="two").right == (True, True, False)


def test_videos_that_one_stream_lacks_are_left_out():
    short = stream(FLOW[1:], videos=("b", "c"), labels=(1, 1))
    row = fuse([stream(RGB), short], name="both")
    assert (row.num_videos, row.right) == (2, (True, False))
    with pytest.raises(ValueError, match="no test video in common"):
        fuse([stream(RGB), stream(FLOW, videos=("x", "y", "z"))], name="both")


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="two runs or more, not 1"):
        fuse([stream(RGB)], name="one")
    with pytest.raises(ValueError, match=r"weights \(3\) must be as many as the runs that are fused \(2\)"):
        fuse([stream(RGB), stream(FLOW)], weights=(1, 1, 1), name="both")
    for weights in ((0, 0), (1, -1), (1, float("nan"))):
        with pytest.raises(ValueError, match="must be at least 0, and one above it"):
            fuse([stream(RGB), stream(FLOW)], weights=weights, name="both")
    with pytest.raises(ValueError, match="the same classes and labels"):
        fuse([stream(RGB), stream(FLOW, labels=(0, 0, 1))], name="both")
    with pytest.raises(ValueError, match="a video twice"):
        stream(RGB, videos=("a", "a", "b"))


def test_predictions_are_those_that_are_judged(bank):
    problem = ClipSelectProblem(BankSource(bank), observation="skim")
    result, probabilities = evaluate_with_predictions(REFERENCES["oracle"](), problem, name="oracle")
    assert result.right == evaluate(REFERENCES["oracle"](), problem, name="oracle").right
    right = probabilities.argmax(-1) == bank.targets.float().argmax(-1)
    assert result.top1 == pytest.approx(right.float().mean().item())
    assert probabilities.sum(-1).tolist() == pytest.approx([1.0] * len(probabilities))
