"""X3D: a small image network expanded in time, space, width and depth (Feichtenhofer, CVPR 2020).

Parameter names are those of PyTorchVideo's checkpoints (`blocks.1.res_blocks.0.branch2.conv_a.weight`). Time
keeps its size through all stages, and may have any from 1 on at each.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from vidselect_classifiers.base import ClipClassifier, ClipGeometry
from vidselect_classifiers.i3d import KINETICS_CLASSES
from vidselect_classifiers.resnet3d import PYSLOWFAST_MEAN, PYSLOWFAST_STD, initialise

STAGES = tuple(f"blocks.{i}" for i in range(5))
STEM_PLANES = 12
STAGE_PLANES = (12, 24, 48, 96)
STAGE_BLOCKS = (1, 2, 5, 3)
BOTTLENECK_FACTOR = 2.25
SQUEEZE_FACTOR = 1 / 16
FEATURES = 2048


def round_width(width: float) -> int:
    """The multiple of 8 next to a width; the one above where that would take more than a tenth off it.

    Examples: 24 * 2.9 = 69.6 -> 72; 27 / 16 -> 8, the least.
    """
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


class Stem(nn.Module):
    """1 x 3 x 3 convolution that halves space, then 5 x 1 x 1 of each plane alone.

    The first is called `conv_t` and the second `conv_xy`: the checkpoints' names, the wrong way round.
    """

    def __init__(self, planes: int) -> None:
        super().__init__()
        spatial = nn.Conv3d(3, planes, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), bias=False)
        temporal = nn.Conv3d(planes, planes, (5, 1, 1), padding=(2, 0, 0), groups=planes, bias=False)
        self.conv = nn.Sequential(OrderedDict(conv_t=spatial, conv_xy=temporal))
        self.norm = nn.BatchNorm3d(planes)

    def forward(self, clips: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(clips)))


class SqueezeExcitation(nn.Module):
    """Each plane times a weight in (0, 1) that a small network takes from the planes' means."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        squeezed = round_width(planes * SQUEEZE_FACTOR)
        self.block = nn.Sequential(
            nn.Conv3d(planes, squeezed, 1), nn.ReLU(), nn.Conv3d(squeezed, planes, 1), nn.Sigmoid()
        )

    def forward(self, maps: Tensor) -> Tensor:
        return maps * self.block(maps.mean(dim=(2, 3, 4), keepdim=True))


class Bottleneck(nn.Module):
    """1 x 1 x 1 convolution, 3 x 3 x 3 of each plane alone, squeeze-and-excitation if asked for, 1 x 1 x 1."""

    def __init__(self, in_planes: int, planes: int, out_planes: int, *, stride: int, squeeze: bool) -> None:
        super().__init__()
        self.conv_a = nn.Conv3d(in_planes, planes, 1, bias=False)
        self.norm_a = nn.BatchNorm3d(planes)
        self.conv_b = nn.Conv3d(planes, planes, 3, stride=(1, stride, stride), padding=1, groups=planes, bias=False)
        self.norm_b = nn.Sequential(nn.BatchNorm3d(planes), SqueezeExcitation(planes) if squeeze else nn.Identity())
        self.conv_c = nn.Conv3d(planes, out_planes, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(out_planes)

    def forward(self, maps: Tensor) -> Tensor:
        maps = functional.relu(self.norm_a(self.conv_a(maps)))
        maps = functional.silu(self.norm_b(self.conv_b(maps)))
        return self.norm_c(self.conv_c(maps))


class ResBlock(nn.Module):
    """A bottleneck on a shortcut, which has a convolution where the block strides, and a norm where it widens."""

    def __init__(self, in_planes: int, out_planes: int, *, stride: int, squeeze: bool) -> None:
        super().__init__()
        planes = int(BOTTLENECK_FACTOR * out_planes)
        widens = in_planes != out_planes
        self.branch1_conv: nn.Module = nn.Identity()
        if widens or stride != 1:
            self.branch1_conv = nn.Conv3d(in_planes, out_planes, 1, stride=(1, stride, stride), bias=False)
        self.branch1_norm = nn.BatchNorm3d(out_planes) if widens else nn.Identity()
        self.branch2 = Bottleneck(in_planes, planes, out_planes, stride=stride, squeeze=squeeze)

    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu(self.branch1_norm(self.branch1_conv(maps)) + self.branch2(maps))


class Stage(nn.Module):
    """Residual blocks: the first halves space, and every other has squeeze-and-excitation, from the first on."""

    def __init__(self, in_planes: int, out_planes: int, *, num_blocks: int) -> None:
        super().__init__()
        self.res_blocks = nn.Sequential()
        for i in range(num_blocks):
            block = ResBlock(
                in_planes if i == 0 else out_planes, out_planes, stride=2 if i == 0 else 1, squeeze=i % 2 == 0
            )
            self.res_blocks.append(block)

    def forward(self, maps: Tensor) -> Tensor:
        return self.res_blocks(maps)


class ProjectedPool(nn.Module):
    """Maps (B, D, T, H, W) to features (B, 2048): widened, averaged over time and space, widened again.

    The published networks average over windows of their training size, and their classes' probabilities over
    the windows; this one averages over all there is, which is the same for one window.
    """

    def __init__(self, in_planes: int) -> None:
        super().__init__()
        planes = int(BOTTLENECK_FACTOR * in_planes)
        self.pre_conv = nn.Conv3d(in_planes, planes, 1, bias=False)
        self.pre_norm = nn.BatchNorm3d(planes)
        self.post_conv = nn.Conv3d(planes, FEATURES, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        maps = functional.relu(self.pre_norm(self.pre_conv(maps)))
        return functional.relu(self.post_conv(maps.mean(dim=(2, 3, 4), keepdim=True))).flatten(1)


class Head(nn.Module):
    """Projected pool, dropout, linear layer."""

    def __init__(self, in_planes: int, *, num_classes: int) -> None:
        super().__init__()
        self.pool = ProjectedPool(in_planes)
        self.dropout = nn.Dropout(0.5)
        self.proj = nn.Linear(FEATURES, num_classes)

    def forward(self, maps: Tensor) -> Tensor:
        return self.proj(self.dropout(self.pool(maps)))


class X3D(nn.Module):
    """X3D with `width_factor` times the planes and `depth_factor` times the blocks of the smallest one."""

    def __init__(self, *, num_classes: int, width_factor: float, depth_factor: float) -> None:
        super().__init__()
        planes = round_width(STEM_PLANES * width_factor)
        blocks: list[nn.Module] = [Stem(planes)]
        for base_planes, base_blocks in zip(STAGE_PLANES, STAGE_BLOCKS, strict=True):
            out_planes = round_width(base_planes * width_factor)
            blocks.append(Stage(planes, out_planes, num_blocks=math.ceil(base_blocks * depth_factor)))
            planes = out_planes
        blocks.append(Head(planes, num_classes=num_classes))
        self.blocks = nn.Sequential(*blocks)
        initialise(self, last_norms=(module.norm_c for module in self.modules() if isinstance(module, Bottleneck)))

    def pool(self, maps: Tensor) -> Tensor:
        """Features (B, 2048) of the last stage's maps (B, D, T, H, W)."""
        head = self.blocks[-1]
        assert isinstance(head, Head)
        return head.dropout(head.pool(maps))

    def forward(self, clips: Tensor) -> Tensor:
        return self.blocks(clips)


def _x3d(
    name: str, own: dict[str, Any], num_classes: int, geometry: dict[str, Any], *, width: float = 2.0, depth: float
) -> ClipClassifier:
    """An X3D on clips of its `own` geometry, and of `geometry` where that says otherwise.

    With 400 classes they carry the names of Kinetics-400, which the checkpoints leave out.
    """
    return ClipClassifier(
        X3D(num_classes=num_classes, width_factor=width, depth_factor=depth),
        head="blocks.5.proj",
        stages=STAGES,
        pool=X3D.pool,
        geometry=ClipGeometry(**{"mean": PYSLOWFAST_MEAN, "std": PYSLOWFAST_STD, **own, **geometry}),
        class_names=KINETICS_CLASSES if num_classes == len(KINETICS_CLASSES) else None,
        name=name,
    )


def x3d_xs(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """X3D-XS: 4 frames of 160 x 160; `geometry` are fields of `ClipGeometry` to change, as in all builders."""
    own = {"num_frames": 4, "frame_stride": 12, "resize": 182, "crop": (160, 160)}
    return _x3d("x3d_xs", own, num_classes, geometry, depth=2.2)


def x3d_s(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """X3D-S: 13 frames of 160 x 160."""
    own = {"num_frames": 13, "frame_stride": 6, "resize": 182, "crop": (160, 160)}
    return _x3d("x3d_s", own, num_classes, geometry, depth=2.2)


def x3d_m(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """X3D-M: 16 frames of 224 x 224."""
    own = {"num_frames": 16, "frame_stride": 5, "resize": 256, "crop": (224, 224)}
    return _x3d("x3d_m", own, num_classes, geometry, depth=2.2)


def x3d_l(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """X3D-L: 16 frames of 312 x 312, and more blocks."""
    own = {"num_frames": 16, "frame_stride": 5, "resize": 356, "crop": (312, 312)}
    return _x3d("x3d_l", own, num_classes, geometry, depth=5.0)


def x3d_xl(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """X3D-XL: as X3D-L, and wider."""
    own = {"num_frames": 16, "frame_stride": 5, "resize": 356, "crop": (312, 312)}
    return _x3d("x3d_xl", own, num_classes, geometry, width=2.9, depth=5.0)
