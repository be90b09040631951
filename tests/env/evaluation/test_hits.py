"""Hits and nearest clips, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from vidselect_env.datasets.labels import padded_spans
from vidselect_env.evaluation.hits import hit, nearest_scores, overlaps_action

# Four clips of 0.4 s, 0.4 s apart, of each of two videos.
SPANS = torch.tensor([[[0.0, 0.4], [0.4, 0.8], [0.8, 1.2], [1.2, 1.6]]] * 2, dtype=torch.float64)


def test_a_clip_hits_a_short_action_of_which_it_holds_half():
    # 0.2 s of action, [0.7, 0.9): half of it in the second clip, half in the third.
    assert overlaps_action(SPANS[:1], padded_spans([((0.7, 0.9),)])).tolist() == [[False, True, True, False]]
    # A little later: 0.09 of 0.2 s in the second clip is less than half.
    assert overlaps_action(SPANS[:1], padded_spans([((0.71, 0.91),)])).tolist() == [[False, False, True, False]]


def test_a_clip_hits_a_long_action_that_fills_half_of_it():
    # [0.6, 1.3): half of the second clip, all of the third, a quarter of the fourth.
    assert overlaps_action(SPANS[:1], padded_spans([((0.6, 1.3),)])).tolist() == [[False, True, True, False]]


@pytest.mark.parametrize("shift", [0.0, 1.2, 3600.1])
def test_exactly_half_is_a_hit_wherever_it_is(shift):
    clip = torch.tensor([[[shift, shift + 0.4]]], dtype=torch.float64)
    assert overlaps_action(clip, padded_spans([((shift + 0.2, shift + 0.6),)])).tolist() == [[True]]
    assert overlaps_action(clip, padded_spans([((shift + 0.21, shift + 0.61),)])).tolist() == [[False]]


def test_touching_is_no_overlap():
    assert overlaps_action(SPANS[:1], padded_spans([((1.6, 1.6 + 1e-7),)])).tolist() == [[False] * 4]


def test_hit_is_the_share_of_the_selected_clips():
    truth = padded_spans([((0.7, 0.9),), ((0.0, 0.4), (1.2, 1.6))])
    selection = torch.tensor([[True, True, True, False], [True, False, False, True]])
    assert hit(SPANS, selection, truth).tolist() == pytest.approx([2 / 3, 1.0])
    selection = torch.tensor([[True, False, False, False], [False, True, True, True]])
    assert hit(SPANS, selection, truth).tolist() == pytest.approx([0.0, 1 / 3])


def test_hit_is_not_known_without_truth_or_choice():
    truth = padded_spans([(), ((0.0, 0.4),)])
    selection = torch.tensor([[True, False, False, False], [False] * 4])
    assert all(math.isnan(value) for value in hit(SPANS, selection, truth).tolist())


def test_the_nearest_clip_has_the_middle_nearest_to_the_actions():
    # Middles of the clips are 0.2, 0.6, 1.0, 1.4; of the action 0.75.
    scores = nearest_scores(SPANS[:1], padded_spans([((0.7, 0.8),)]))
    assert scores[0].tolist() == pytest.approx([-0.55, -0.15, -0.25, -0.65])


def test_of_several_spans_the_nearest_counts_and_padding_does_not():
    scores = nearest_scores(SPANS, padded_spans([((0.1, 0.3), (1.3, 1.7)), ((0.5, 0.7),)]))
    assert scores[0].tolist() == pytest.approx([0.0, -0.4, -0.5, -0.1])
    assert scores[1].tolist() == pytest.approx([-0.4, 0.0, -0.4, -0.8])
    assert nearest_scores(SPANS, padded_spans([(), ()])).isnan().all()


def test_shapes_that_do_not_agree_are_named():
    with pytest.raises(ValueError, match=r"selection \(2, 3\) must be \(2, 4\)"):
        hit(SPANS, torch.ones(2, 3, dtype=torch.bool), padded_spans([(), ()]))
    with pytest.raises(ValueError, match=r"action_spans_s \(1, 1, 2\) must be \(2, ..., 2\)"):
        nearest_scores(SPANS, padded_spans([()]))
