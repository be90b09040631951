"""Measures against the truth about where the action is, which no agent sees.

Seconds are of the file; a span is from its start to its end.
Shapes: B contexts, K candidates a context, A spans of action (padded with nan).
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDING_S = 1e-6  # seconds are differences of seconds: half may come out as a little less


def overlaps_action(candidate_spans_s: Tensor, action_spans_s: Tensor) -> Tensor:
    """Whether each candidate overlaps a span of the action by at least half of the shorter of the two: (B, K) bool.

    Args:
        candidate_spans_s: (B, K, 2). action_spans_s: (B, A, 2), as of `padded_spans`.

    Example: action [1.0, 1.2): the clip [1.1, 1.5) hits (0.1 of 0.2 s), [1.15, 1.55) does not.
    """
    _check(candidate_spans_s, action_spans_s)
    starts, ends = candidate_spans_s.double()[:, :, None].unbind(-1)  # (B, K, 1)
    first, last = action_spans_s.double()[:, None].unbind(-1)  # (B, 1, A)
    overlap = torch.minimum(ends, last) - torch.maximum(starts, first)
    shorter = torch.minimum(ends - starts, last - first)
    return ((overlap >= shorter / 2 - ROUNDING_S) & (overlap > 0)).any(-1)  # nan is never larger


def hit(candidate_spans_s: Tensor, selection: Tensor, action_spans_s: Tensor) -> Tensor:
    """The share of each context's selected clips that overlap the action: (B,) float64 in [0, 1].

    It is nan where nothing is selected, and where it is not known where the action is: take `nanmean`.

    Args:
        candidate_spans_s: (B, K, 2). selection: (B, K) bool. action_spans_s: (B, A, 2), as of `padded_spans`.

    Raises:
        ValueError: shapes do not agree.
    """
    if selection.shape != candidate_spans_s.shape[:2]:
        raise ValueError(
            f"selection {tuple(selection.shape)} must be {tuple(candidate_spans_s.shape[:2])}, as the spans"
        )
    hits = (overlaps_action(candidate_spans_s, action_spans_s) & selection).sum(-1).double()
    share = hits / selection.sum(-1)
    return share.masked_fill(~is_known(action_spans_s), torch.nan)


def nearest_scores(candidate_spans_s: Tensor, action_spans_s: Tensor) -> Tensor:
    """Minus the seconds from each candidate's middle to that of the nearest span of the action: (B, K) float64.

    The candidates of largest score are what perfect localisation would choose. It is nan where it is not known where
    the action is.

    Args:
        candidate_spans_s: (B, K, 2). action_spans_s: (B, A, 2), as of `padded_spans`.

    Raises:
        ValueError: shapes do not agree.
    """
    _check(candidate_spans_s, action_spans_s)
    middles, of_action = candidate_spans_s.double().mean(-1), action_spans_s.double().mean(-1)
    distance = (middles[:, :, None] - of_action[:, None]).abs()
    nearest = distance.nan_to_num(nan=torch.inf).amin(-1)
    return (-nearest).masked_fill(~is_known(action_spans_s)[:, None], torch.nan)


def is_known(action_spans_s: Tensor) -> Tensor:
    """Whether it is known where the action is, of spans (B, A, 2): (B,) bool."""
    return (~action_spans_s.isnan()).all(-1).any(-1)


def _check(candidate_spans_s: Tensor, action_spans_s: Tensor) -> None:
    for name, spans in (("candidate_spans_s", candidate_spans_s), ("action_spans_s", action_spans_s)):
        if spans.ndim != 3 or spans.shape[-1] != 2 or len(spans) != len(candidate_spans_s):
            raise ValueError(f"{name} {tuple(spans.shape)} must be ({len(candidate_spans_s)}, ..., 2)")
