"""The most that any selector can get right: is there a selection whose fused prediction is right?

Which clips to take so that a label's mean probability exceeds every other class's is an integer program with a variable
a candidate. It is small, and solved exactly.

Shapes: B contexts, K candidates, G parts of the candidates, C classes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vidselect_env.envs.rewards import is_correct

TIME_LIMIT_S = 10.0  # for one label of one video; the programs of some 30 candidates take milliseconds


def fused(probabilities: Tensor, selection: Tensor, valid: Tensor, *, dropped: float = 0.0) -> Tensor:
    """Mean prediction (B, C) of the candidates of (B, K, C) that are chosen; the others count `dropped` (AS, Eq. 10).

    Args:
        selection, valid: (B, K) bool. Where nothing counts, all classes get 0.
    """
    weights = torch.where(selection, 1.0, dropped) * valid
    return (probabilities * weights[..., None]).sum(1) / weights.sum(1, keepdim=True).clamp(min=1e-9)


def right_selection(
    probabilities: Tensor, targets: Tensor, *, valid: Tensor, limits: tuple[Tensor, int, int], dropped: float = 0.0
) -> Tensor | None:
    """A selection (K,) bool of one video whose fused prediction is right; None where there is none.

    With as many clips as may be taken if that can be right, and otherwise with fewer. It is exact but for classes whose
    fused probabilities differ by less than 1e-6, and for a program that is not solved in `TIME_LIMIT_S`.

    Args:
        probabilities: (K, C). targets: (C,) bool. valid: (K,) bool, what may be taken.
        limits: of `Choice.limits`.
        dropped: what a candidate counts that is not taken.
    """
    parts, fewest, most = limits
    most = min(most, int((parts & valid).sum(1).max()))
    fewest = 0 if dropped and fewest < most else fewest
    for least in dict.fromkeys((most, min(fewest, most))):
        for label in targets.nonzero().flatten().tolist():
            leads = (probabilities[:, label, None] - probabilities[:, ~targets]).double() * valid[:, None]
            taken = _largest_lead(leads.numpy(), parts & valid, least=least, most=most, dropped=dropped)
            if taken is not None and is_correct(
                fused(probabilities[None], taken[None], valid[None], dropped=dropped)[0], targets
            ):
                return taken
    return None


def _largest_lead(leads: np.ndarray, parts: Tensor, *, least: int, most: int, dropped: float) -> Tensor | None:
    """The selection (K,) bool whose smallest lead over a rival, summed over its candidates, is largest.

    Args:
        leads: (K, R) of the label over R rivals. parts: (G, K) bool, of each of which `least` to `most` are taken.

    Returns:
        None where no selection leads over every rival.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # takes a moment to import

    num_candidates, num_rivals = leads.shape
    if not num_rivals:
        return parts.any(0)
    own = dropped * leads.sum(0)
    gains = (1 - dropped) * leads
    within = np.where(parts.numpy()[..., None], gains, -np.inf)
    best = np.sort(within, axis=1)[:, ::-1][:, :most]  # (G, most, R)
    best[:, least:] = np.maximum(best[:, least:], 0)
    if (best.sum((0, 1)) + own <= 0).any():  # one rival is ahead, whatever is taken
        return None
    # Variables: K of 0 or 1, and the smallest lead, which is maximised.
    objective = np.append(np.zeros(num_candidates), -1.0)
    led = LinearConstraint(np.hstack([gains.T, -np.ones((num_rivals, 1))]), -own, np.inf)
    counted = np.hstack([parts.numpy().astype(float), np.zeros((len(parts), 1))])
    allowed = np.append(parts.any(0).numpy().astype(float), np.inf)
    result = milp(
        objective,
        constraints=[led, LinearConstraint(counted, least, most)],
        bounds=Bounds(np.append(np.zeros(num_candidates), -np.inf), allowed),
        integrality=np.append(np.ones(num_candidates), 0),
        options={"time_limit": TIME_LIMIT_S},
    )
    return None if result.x is None else torch.from_numpy(result.x[:-1] > 0.5)
