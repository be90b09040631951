"""How unlike each frame is the one before by structural similarity: the difference in MGSampler's published code.

Shapes: T frames of C channels (3: RGB, or 1: grey), h x w pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

WINDOW = 7  # pixels
STABILISERS = ((0.01 * 255) ** 2, (0.03 * 255) ** 2)  # C1 and C2 for bytes (Wang et al., TIP 2004, Eq. 13)
LUMA_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601


def ssim_differences(frames: Tensor) -> Tensor:
    """1 - SSIM of each frame and the one before: (..., T) float32, in [0, 2]; 0 for the first frame.

    MGSampler's authors take it of grey frames in place of Eq. 1 (their `generate_img_diff.py`): the mean over all
    places of a uniform window of 7 x 7 pixels that lies within the frame, with sample variances.

    Args:
        frames: (..., T, C, h, w) uint8, at least one, of 7 x 7 pixels or more.

    Example: two even frames of levels a and b -> 1 - (2 a b + C1) / (a^2 + b^2 + C1).

    Raises:
        ValueError: the frames are not such a tensor.
    """
    if frames.dtype != torch.uint8 or frames.ndim < 4 or frames.shape[-3] not in (1, 3) or frames.shape[-4] < 1:
        raise ValueError(f"frames ({frames.dtype}, {tuple(frames.shape)}) must be uint8 of shape (..., T, 3, h, w)")
    if min(frames.shape[-2:]) < WINDOW:
        raise ValueError(f"frames of {frames.shape[-2]} x {frames.shape[-1]} pixels must be at least {WINDOW} a side")
    grey = frames.double()  # variances are small differences of large squares
    if frames.shape[-3] == 3:
        luma = torch.tensor(LUMA_WEIGHTS, dtype=grey.dtype, device=grey.device)
        grey = (grey * luma[:, None, None]).sum(-3, keepdim=True).round()
    earlier, later = (part.flatten(0, -4) for part in (grey[..., :-1, :, :, :], grey[..., 1:, :, :, :]))
    if not len(earlier):
        return torch.zeros(frames.shape[:-3], device=frames.device)
    different = (1 - _ssim(earlier, later)).view(*frames.shape[:-4], -1)
    return functional.pad(different, (1, 0)).float()


def _ssim(first: Tensor, second: Tensor) -> Tensor:
    """Mean SSIM of pairs of pictures (K, 1, h, w): (K,)."""
    c1, c2 = STABILISERS
    means = [_window_mean(each) for each in (first, second)]
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    squares = [unbiased * (_window_mean(each**2) - mean**2) for each, mean in zip((first, second), means, strict=True)]
    both = unbiased * (_window_mean(first * second) - means[0] * means[1])
    light = (2 * means[0] * means[1] + c1) / (means[0] ** 2 + means[1] ** 2 + c1)
    structure = (2 * both + c2) / (squares[0] + squares[1] + c2)
    return (light * structure).mean((1, 2, 3))


def _window_mean(pictures: Tensor) -> Tensor:
    return functional.avg_pool2d(pictures, WINDOW, stride=1)
