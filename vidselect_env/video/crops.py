"""Crops of clips in testing: the centre, three along the longer side, or ten.

Shapes: ... any leading dimensions, h x w pixels of resized frames, H x W of a crop, X crops.
"""

from __future__ import annotations

import torch
from torch import Tensor

NUM_VIEWS = {"centre": 1, "three": 3, "ten": 10}


def view_crops(frames: Tensor, crop: tuple[int, int], *, views: str) -> Tensor:
    """Crops of frames (..., h, w): (X, ..., H, W).

    Args:
        crop: height and width, at most those of the frames.
        views: `centre`; `three`, at both ends and in the middle of the longer side; `ten`, four corners and the centre,
            and all five mirrored.

    Raises:
        ValueError: there is no such kind.
    """
    from torchvision.transforms.functional import center_crop, ten_crop  # takes a second to import

    if views not in NUM_VIEWS:
        raise ValueError(f"views ({views!r}) must be one of {', '.join(NUM_VIEWS)}")
    if views == "centre":
        return center_crop(frames, list(crop))[None]
    if views == "ten":
        return torch.stack(ten_crop(frames, list(crop)))
    down, across = frames.shape[-2] - crop[0], frames.shape[-1] - crop[1]
    wide = across >= down
    room, fixed = (across, down) if wide else (down, across)
    found = []
    for place in (0, round(room / 2), room):
        top, left = (round(fixed / 2), place) if wide else (place, round(fixed / 2))
        found.append(frames[..., top : top + crop[0], left : left + crop[1]])
    return torch.stack(found)
