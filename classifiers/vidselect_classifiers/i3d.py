"""I3D: Inception-v1 inflated to three dimensions (Carreira & Zisserman, CVPR 2017).

Parameter names are those of the usual PyTorch checkpoints (`Mixed_3b.b1b.conv3d.weight`), which were
converted from TensorFlow: hence its SAME padding and its batch-norm epsilon.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.video import R3D_18_Weights

from vidselect_classifiers.base import ClipClassifier, ClipGeometry
from vidselect_classifiers.ragged import takes_ragged

GEOMETRY = ClipGeometry(num_frames=64, resize=256, crop=(224, 224), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
KINETICS_CLASSES = tuple(R3D_18_Weights.KINETICS400_V1.meta["categories"])


@takes_ragged
def pad_same(x: Tensor, *, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Pad (B, C, T, H, W) with zeros as TensorFlow's SAME: ceil(size / stride) outputs along each axis.

    What is odd goes to the end, so the padding depends on the size of the input.

    Example: size 8, kernel 3, stride 2 -> 4 outputs, which need 9 inputs: none before, one after.
    """
    padding: list[int] = []
    for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        outputs = -(-size // s)
        total = max((outputs - 1) * s + k - size, 0)
        padding += [total // 2, total - total // 2]
    return functional.pad(x, padding)


class Unit3D(nn.Module):
    """Convolution with SAME padding, batch norm, ReLU; the last layer is the convolution alone, with bias."""

    def __init__(
        self, in_planes: int, out_planes: int, *, kernel: int = 1, stride: int = 1, last: bool = False
    ) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(in_planes, out_planes, kernel, stride=stride, bias=last)
        self.bn = None if last else nn.BatchNorm3d(out_planes, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3d(pad_same(x, kernel=self.conv3d.kernel_size, stride=self.conv3d.stride))
        return x if self.bn is None else functional.relu(self.bn(x))


class MaxPool3dSame(nn.Module):
    """Max pooling with SAME padding.

    TensorFlow leaves the padding out of the maximum; zeros do the same here, for every input is a ReLU's.
    """

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel = kernel
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        pooled = pad_same(x, kernel=self.kernel, stride=self.stride)
        for dim, (size, step) in enumerate(zip(self.kernel, self.stride, strict=True), start=2):
            pooled = _max_along(pooled, dim, size=size, step=step)
        return pooled


@takes_ragged
def _max_along(x: Tensor, dim: int, *, size: int, step: int) -> Tensor:
    """Maximum of windows along one axis.

    A box's maximum is the maximum of its axes' maxima; on a CPU this is some 20 times faster than
    `max_pool3d`, which took a third of I3D's time.
    """
    last = x.shape[dim] - size
    windows = [
        x.narrow(dim, start, last + 1)[(slice(None),) * dim + (slice(None, None, step),)] for start in range(size)
    ]
    return functools.reduce(torch.maximum, windows)


class InceptionModule(nn.Module):
    """Four branches, concatenated: 1; 1 then 3; 1 then 3; pool then 1.

    Args:
        in_planes: planes of the input.
        planes: of b0, b1a, b1b, b2a, b2b, b3b.
    """

    def __init__(self, in_planes: int, planes: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        p0, p1a, p1b, p2a, p2b, p3b = planes
        self.b0 = Unit3D(in_planes, p0)
        self.b1a = Unit3D(in_planes, p1a)
        self.b1b = Unit3D(p1a, p1b, kernel=3)
        self.b2a = Unit3D(in_planes, p2a)
        self.b2b = Unit3D(p2a, p2b, kernel=3)
        self.b3a = MaxPool3dSame((3, 3, 3), (1, 1, 1))
        self.b3b = Unit3D(in_planes, p3b)

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))]
        return torch.cat(branches, dim=1)


class I3D(nn.Module):
    """The RGB stream: clips (B, 3, T, H, W) in [-1, 1] -> logits (B, C)."""

    def __init__(self, *, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        stages = {
            "Conv3d_1a_7x7": Unit3D(3, 64, kernel=7, stride=2),
            "MaxPool3d_2a_3x3": MaxPool3dSame((1, 3, 3), (1, 2, 2)),
            "Conv3d_2b_1x1": Unit3D(64, 64),
            "Conv3d_2c_3x3": Unit3D(64, 192, kernel=3),
            "MaxPool3d_3a_3x3": MaxPool3dSame((1, 3, 3), (1, 2, 2)),
            "Mixed_3b": InceptionModule(192, (64, 96, 128, 16, 32, 32)),
            "Mixed_3c": InceptionModule(256, (128, 128, 192, 32, 96, 64)),
            "MaxPool3d_4a_3x3": MaxPool3dSame((3, 3, 3), (2, 2, 2)),
            "Mixed_4b": InceptionModule(480, (192, 96, 208, 16, 48, 64)),
            "Mixed_4c": InceptionModule(512, (160, 112, 224, 24, 64, 64)),
            "Mixed_4d": InceptionModule(512, (128, 128, 256, 24, 64, 64)),
            "Mixed_4e": InceptionModule(512, (112, 144, 288, 32, 64, 64)),
            "Mixed_4f": InceptionModule(528, (256, 160, 320, 32, 128, 128)),
            "MaxPool3d_5a_2x2": MaxPool3dSame((2, 2, 2), (2, 2, 2)),
            "Mixed_5b": InceptionModule(832, (256, 160, 320, 32, 128, 128)),
            "Mixed_5c": InceptionModule(832, (384, 192, 384, 48, 128, 128)),
        }
        self.stage_names = tuple(stages)
        for name, stage in stages.items():
            self.add_module(name, stage)
        self.dropout = nn.Dropout(dropout)
        self.logits = Unit3D(1024, num_classes, last=True)

    @takes_ragged
    def pool(self, maps: Tensor) -> Tensor:
        """Features (B, 1024) of the last stage's maps (B, 1024, T, H, W).

        The paper pools over (2, 7, 7), takes logits at each time and averages them. The last layer is
        linear, so its input may be averaged instead. A clip whose maps are smaller than that is pooled
        over what there is.
        """
        kernel = [min(size, most) for size, most in zip(maps.shape[2:], (2, 7, 7), strict=True)]
        return self.dropout(functional.avg_pool3d(maps, kernel, stride=1).mean(dim=(2, 3, 4)))

    def forward(self, clips: Tensor) -> Tensor:
        maps = clips
        for name in self.stage_names:
            maps = self.get_submodule(name)(maps)
        features = self.pool(maps)
        return self.logits(features[:, :, None, None, None]).flatten(1)


def i3d(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """I3D on RGB; any number of frames from 8 on.

    With 400 classes they carry the names of Kinetics-400, which its checkpoints leave out.
    """
    network = I3D(num_classes=num_classes)
    return ClipClassifier(
        network,
        head="logits.conv3d",
        stages=network.stage_names,
        pool=I3D.pool,
        geometry=replace(GEOMETRY, **geometry),
        class_names=KINETICS_CLASSES if num_classes == len(KINETICS_CLASSES) else None,
        name="i3d",
    )
