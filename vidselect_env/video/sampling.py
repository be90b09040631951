"""Which N frames of a whole video a classifier sees: MGSampler and what it is compared with (its Table 3).

Pure functions on tensors; nothing here opens a file. Each gives (N,) int64, sorted. Where randomness is
wanted (training) a generator is passed in; without one (testing) the result is fixed.

A video of T frames is an axis from 0 to T, on which frame t covers [t, t + 1).
Shapes: T frames of the video, N frames wanted.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDINGS = ("middle", "authors")


def salience(curve: Tensor, *, mu: float = 0.5) -> Tensor:
    """How much of a video's motion each frame holds (MGSampler, Eq. 6): (T,) float64, of sum 1.

    A video in which nothing moves is uniform, and so is any with `mu=0` (0 ** 0 is 1).

    Args:
        curve: (T,) S_t, such as `motion_curve` gives; its scale does not matter.
        mu: smoothing, at least 0: below 1 it lessens the influence of motion, above 1 it raises it.

    Example: [0, 1, 4, 4], `mu=0.5` -> [0, 0.2, 0.4, 0.4].

    Raises:
        ValueError: the curve is empty, has negative or infinite values, or mu is negative.
    """
    weights = _weights(curve, mu)
    return weights / weights.sum()


def motion_guided_frames(
    curve: Tensor,
    num_frames: int,
    *,
    mu: float = 0.5,
    rounding: str = "middle",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Frames between which equally much moves (MGSampler, section 3.3): (N,) int64, sorted.

    Salience is cumulated (Eq. 4) to a curve that rises from 0 to 1 in straight lines, over [t, t + 1) by the
    salience of frame t. The axis of values is cut into N equal parts; each gives one value, a random one with
    a generator, else its middle, and the frame where the curve takes that value: the one whose middle,
    t + 1/2, is nearest. (Counting from the frames' middles the paper's rounding would take half of the
    motion for the frame before it, and `mu=0` would not be TSN's sampling, as the paper says it is.)

    Frames repeat where N is larger than the number of frames with any motion. A video in which nothing
    moves, and `mu=0`, give exactly `segment_frames`.

    Example: [0, 1, 4, 4], `mu=0.5`, N=4 -> values 1/8, 3/8, 5/8, 7/8 on the curve 0, 0, 0.2, 0.6, 1
    -> [1, 2, 3, 3].

    Args:
        rounding: `middle`, as above, or `authors`, as their published code (`find_nearest` in `loading.py`): a value's
            frame is the earlier of the two whose difference brings the cumulated salience nearest to the value. A
            video in which nothing moves, of which their code makes nothing, is sampled by `segment_frames`.

    Example of `authors`: the same curve cumulates to 0.2, 0.6, 1 after the differences of frames 0-1, 1-2, 2-3
    -> [0, 0, 1, 2].

    Raises:
        ValueError: as in `salience`, `num_frames` < 1, or an unknown rounding.
    """
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding ({rounding!r}) must be one of {', '.join(ROUNDINGS)}")
    if rounding == "authors":
        _check_curve(curve)
        if not curve[1:].any():
            return segment_frames(len(curve), num_frames, generator=generator)
        cumulated = _weights(curve[1:], mu).cumsum(dim=0)
        values = _values(float(cumulated[-1]), num_frames, generator)
        return (cumulated - values[:, None]).abs().argmin(-1)
    cumulated = _weights(curve, mu).cumsum(dim=0)  # not normalised: uniform weights give integers, without rounding
    values = _values(float(cumulated[-1]), num_frames, generator)
    return torch.searchsorted(cumulated, values, right=True).clamp(max=len(curve) - 1)


def segment_frames(num_video_frames: int, num_frames: int, *, generator: torch.Generator | None = None) -> Tensor:
    """One frame from each of N equal parts of the video (TSN): (N,) int64, sorted.

    A random one with a generator, else the middle one. Parts are cut without rounding to frames; where N is
    larger than the number of frames, frames repeat.

    Example: 10 frames, N=4 -> the frames at 1.25, 3.75, 6.25, 8.75 -> [1, 3, 6, 8].

    Raises:
        ValueError: a count is not positive.
    """
    _check_counts(num_video_frames=num_video_frames)
    places = _values(float(num_video_frames), num_frames, generator)
    return places.long().clamp(max=num_video_frames - 1)


def fixed_stride_frames(
    num_video_frames: int, num_frames: int, *, stride: int = 4, generator: torch.Generator | None = None
) -> Tensor:
    """One clip of N frames, `stride` apart: (N,) int64, sorted.

    It begins anywhere with a generator, else lies in the middle. In a video shorter than the clip it begins
    at frame 0; past the end, the last frame repeats.

    Example: 20 frames, N=4 (a span of 13) -> [3, 7, 11, 15].

    Raises:
        ValueError: a count is not positive.
    """
    _check_counts(num_video_frames=num_video_frames, num_frames=num_frames, stride=stride)
    last_start = max(num_video_frames - 1 - (num_frames - 1) * stride, 0)
    start = last_start // 2
    if generator is not None:
        start = int(torch.randint(last_start + 1, (), generator=generator, device=generator.device))
    return (start + torch.arange(num_frames) * stride).clamp(max=num_video_frames - 1)


def motion_magnitude_frames(curve: Tensor, num_frames: int) -> Tensor:
    """The N frames that differ most from the one before (MGSampler, Table 3): (N,) int64, sorted.

    Of equal ones the earlier are taken. Where N is larger than the number of frames, all are, each evenly
    repeated.

    Example: [0, 3, 1, 3, 2], N=2 -> [1, 3];  [0, 1], N=4 -> [0, 0, 1, 1].

    Raises:
        ValueError: the curve is empty, has negative or infinite values, or `num_frames` < 1.
    """
    _check_curve(curve)
    _check_counts(num_frames=num_frames)
    if num_frames > len(curve):
        return torch.arange(num_frames, device=curve.device) * len(curve) // num_frames
    by_magnitude = curve.argsort(descending=True, stable=True)
    return by_magnitude[:num_frames].sort().values


def _weights(curve: Tensor, mu: float) -> Tensor:
    """Salience up to a factor: (T,) float64, 1 everywhere where it is uniform."""
    _check_curve(curve)
    if not mu >= 0:
        raise ValueError(f"mu ({mu}) must be at least 0")
    largest = curve.max().double()
    if largest == 0:
        return torch.ones_like(curve, dtype=torch.float64)
    return (curve.double() / largest) ** mu


def _values(total: float, num_values: int, generator: torch.Generator | None) -> Tensor:
    """One value from each of N equal parts of [0, total]: (N,) float64, random with a generator, else the middle."""
    _check_counts(num_frames=num_values)
    within = torch.full((num_values,), 0.5, dtype=torch.float64)
    if generator is not None:
        within = torch.rand(num_values, dtype=torch.float64, generator=generator, device=generator.device)
    parts = torch.arange(num_values, device=within.device)
    # The product first: with an integer total and the middle it is exact, so that a quotient which is a whole
    # number comes out as one.
    return (parts + within) * total / num_values


def _check_curve(curve: Tensor) -> None:
    if curve.ndim != 1 or len(curve) < 1:
        raise ValueError(f"curve {tuple(curve.shape)} must be of shape (T,), with at least one frame")
    wrong = curve[~(curve.isfinite() & (curve >= 0))]
    if len(wrong):
        raise ValueError(f"curve has a value ({float(wrong[0])}) that must be finite and not negative")


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} ({count}) must be at least 1")
