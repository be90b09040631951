"""What training changes of a clip: which part of its frames is taken, at what scale and brightness; mixed clips.

Shapes: B clips, T frames a clip, C classes, h x w pixels of a resized frame, H x W of the classifier's crop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class ClipJitter:
    """How the pixels of a training clip vary, the same for all its frames.

    Args:
        scales: smallest and largest factor by which a frame is enlarged before it is cropped (scale jitter).
        random_crop: the crop lies anywhere in the frame, rather than in its middle.
        brightness: all values are multiplied by 1 +- at most this.
        colour: and each of red, green and blue by 1 +- at most this.

    Raises:
        ValueError: scales that are not positive and in order, or a share outside [0, 1).
    """

    scales: tuple[float, float] = (1.0, 1.0)
    random_crop: bool = False
    brightness: float = 0.0
    colour: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.scales[0] <= self.scales[1]:
            raise ValueError(f"scale_jitter {self.scales} must be a smallest and a largest factor above 0")
        for name in ("brightness", "colour"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 0 and below 1")

    @property
    def takes_whole_frames(self) -> bool:
        """Whether it needs more of a frame than the centre crop."""
        return self.random_crop or self.scales != (1.0, 1.0)

    def __call__(self, frames: Tensor, *, crop: tuple[int, int], generator: torch.Generator) -> Tensor:
        """A clip of resized frames (T, 3, h, w) uint8, as training sees it: (T, 3, H, W) uint8.

        Frames that are `crop` already keep their place and scale.

        Raises:
            ValueError: the crop does not fit into the frame at the smallest scale.
        """
        scale, down, across, gain = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        gains = torch.rand(3, 1, 1, generator=generator)
        if self.takes_whole_frames:
            factor = self.scales[0] + scale * (self.scales[1] - self.scales[0])
            place = (down, across) if self.random_crop else (0.5, 0.5)
            height, width = frames.shape[-2:]
            top, left, box_height, box_width = crop_box((height, width), crop=crop, scale=factor, place=place)
            frames = frames[..., top : top + box_height, left : left + box_width]
            if (box_height, box_width) != crop:
                frames = F.interpolate(frames, size=crop, mode="bilinear", antialias=True, align_corners=False)
        if self.brightness or self.colour:
            factors = (1 + self.brightness * (2 * gain - 1)) * (1 + self.colour * (2 * gains - 1))
            frames = (frames * factors).round().clamp(0, 255).to(torch.uint8)
        return frames


def crop_box(
    frame: tuple[int, int], *, crop: tuple[int, int], scale: float, place: tuple[float, float]
) -> tuple[int, int, int, int]:
    """The part of a frame that, enlarged by `scale`, is the crop: its top, left, height and width.

    Args:
        frame: height and width.
        crop: height and width.
        place: in [0, 1] of the way from the uppermost place to the lowest, and from the leftmost to the rightmost.

    Example: a frame of 100 x 200, crop 40 x 60, `scale=2`, in the middle -> (40, 85, 20, 30).

    Raises:
        ValueError: the part is larger than the frame.
    """
    height, width = (max(1, round(side / scale)) for side in crop)
    if height > frame[0] or width > frame[1]:
        raise ValueError(
            f"crop {crop} at scale {scale:.3f} takes {height} x {width} pixels, and a frame has {frame[0]} x {frame[1]}"
        )
    rooms = (frame[0] - height, frame[1] - width)
    top, left = (min(int(at * (room + 1)), room) for at, room in zip(place, rooms, strict=True))
    return top, left, height, width


def mirrored(clips: Tensor, *, modality: str) -> Tensor:
    """Clips (..., 3, H, W) uint8, left and right exchanged; of flow, what went to the right goes to the left.

    Example: displacements 128 (none) and 138 -> 118 and 128, in the other order.
    """
    clips = clips.flip(-1)
    if modality == "flow":
        clips[..., 0, :, :] = -clips[..., 0, :, :]  # 256 - x: bytes wrap around
    return clips


def mixup(clips: Tensor, targets: Tensor, *, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Every clip mixed with another of the batch, and their targets by the same share (Zhang et al., ICLR 2018).

    Args:
        clips: (B, T, 3, H, W) uint8.
        targets: (B, C) probabilities.
        alpha: the share of the first clip is drawn from Beta(alpha, alpha), once a batch.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    others = torch.randperm(len(clips), generator=generator)
    return mixed(clips, targets, others=others, share=float(np.random.default_rng(seed).beta(alpha, alpha)))


def mixed(clips: Tensor, targets: Tensor, *, others: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """`share` of every clip, and the rest of the clip that `others` (B,) names; targets likewise.

    Example: share 0.75 of 100 and 0.25 of 200 -> 125.
    """
    both = share * clips + (1 - share) * clips[others]
    return both.round().to(clips.dtype), share * targets + (1 - share) * targets[others]
