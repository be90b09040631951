"""A classifier for words on a talking face: it finds the mouth, cuts it out, looks at every frame, then along time.

Shapes: B clips, T frames a clip, C classes, H x W pixels of a clip, h x w pixels of the mouth.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.video.resnet import BasicBlock, Conv3DNoTemporal

from vidselect_classifiers.base import ClipClassifier, ClipGeometry
from vidselect_classifiers.video_resnet import average

GEOMETRY = ClipGeometry(num_frames=10, resize=(96, 128), crop=(80, 112), mean=(0.45, 0.45, 0.45), std=(0.2, 0.2, 0.2))
STAGES = ("locate", "stem", "layer1", "layer2", "frame", "tcn")
MOUTH = (32, 48)
# The stem and two layers halve height and width once each.
SHRINK = 8


class Locate(nn.Module):
    """Cuts the mouth out of a clip: (B, 3, T, H, W) -> (B, 3, T, h, w), at one place for all its frames.

    A small network gives every place of the mean frame, `shrink` times smaller, a weight; the window lies around
    the weighted mean of the places (a soft arg max), so that the place is learned with everything behind it. It is
    a spatial transformer that only shifts (Jaderberg et al., NeurIPS 2015).
    """

    def __init__(self, size: tuple[int, int], *, planes: int = 12, shrink: int = 4) -> None:
        super().__init__()
        self.size, self.shrink = size, shrink
        last = nn.Conv2d(planes, 1, kernel_size=5, padding=2)
        # All places alike at first: the middle of the frame.
        nn.init.normal_(last.weight, std=0.01)
        self.weigh = nn.Sequential(
            nn.Conv2d(3, planes, kernel_size=5, padding=2, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes, kernel_size=5, padding=2, bias=False),
            nn.BatchNorm2d(planes),
            nn.ReLU(inplace=True),
            last,
        )

    def forward(self, clips: Tensor) -> Tensor:
        batch, channels, num_frames, height, width = clips.shape
        across, down = self.centres(clips).unbind(1)
        columns = across[:, None] + _places(self.size[1], like=across) * self.size[1] / width
        rows = down[:, None] + _places(self.size[0], like=down) * self.size[0] / height
        grid = torch.stack(
            [columns[:, None].expand(-1, len(rows[0]), -1), rows[:, :, None].expand(-1, -1, len(columns[0]))], dim=-1
        )
        # All frames of a clip are channels here: they share the window.
        cut = F.grid_sample(clips.flatten(1, 2), grid.to(clips.dtype), padding_mode="border", align_corners=False)
        cut = cut.view(batch, channels, num_frames, *self.size)
        return cut.contiguous(memory_format=torch.channels_last_3d)

    def centres(self, clips: Tensor) -> Tensor:
        """Middle of the window in each clip, (B, 2): x and y from -1, the left or upper edge, to 1."""
        maps = self.weigh(F.avg_pool2d(clips.mean(2), self.shrink))[:, 0]
        weights = maps.float().flatten(1).softmax(1).view(maps.shape)
        across, down = weights.sum(1), weights.sum(2)
        # Sums, not products of matrices, which mixed precision would round to a pixel.
        return torch.stack([(each * _places(each.shape[1], like=each)).sum(1) for each in (across, down)], dim=1)


def _places(count: int, *, like: Tensor) -> Tensor:
    """Middles of `count` equal parts of [-1, 1], of the dtype and on the device of a tensor: 2 -> [-0.5, 0.5]."""
    return (2 * torch.arange(count, device=like.device, dtype=like.dtype) + 1) / count - 1


class LipTCN(nn.Module):
    """The mouth, a stem of three frames, two layers of single frames, a vector a frame, convolutions along time.

    Every stage is made of 3D convolutions, so that T stays until the mean over time. `features` values a frame
    see the whole mouth with a weight for each place: where something opens is what tells words apart.
    """

    def __init__(self, *, num_classes: int, width: int, features: int, dropout: float) -> None:
        super().__init__()
        self.locate = Locate(MOUTH)
        self.stem = nn.Sequential(
            nn.Conv3d(3, width, kernel_size=(3, 5, 5), stride=(1, 2, 2), padding=(1, 2, 2), bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(inplace=True),
        )
        self.layer1 = nn.Sequential(_halving_block(width, 2 * width))
        self.layer2 = nn.Sequential(_halving_block(2 * width, 4 * width))
        left = (1, MOUTH[0] // SHRINK, MOUTH[1] // SHRINK)
        self.frame = nn.Sequential(
            nn.Conv3d(4 * width, features, kernel_size=left, bias=False),
            nn.BatchNorm3d(features),
            nn.ReLU(inplace=True),
        )
        self.tcn = nn.Sequential(_TimeBlock(features, dropout), _TimeBlock(features, dropout))
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(features, num_classes)

    def forward(self, clips: Tensor) -> Tensor:
        maps = clips
        for stage in STAGES:
            maps = self.get_submodule(stage)(maps)
        return self.fc(_pool(self, maps))


class _TimeBlock(nn.Module):
    """A residual convolution over three neighbouring frames."""

    def __init__(self, features: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(features, features, kernel_size=(3, 1, 1), padding=(1, 0, 0), bias=False),
            nn.BatchNorm3d(features),
            nn.ReLU(),
            nn.Dropout(dropout),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.layers(maps)


def _halving_block(in_planes: int, out_planes: int) -> BasicBlock:
    """A block on single frames that halves height and width."""
    shortcut = nn.Sequential(
        nn.Conv3d(in_planes, out_planes, kernel_size=1, stride=(1, 2, 2), bias=False), nn.BatchNorm3d(out_planes)
    )
    return BasicBlock(in_planes, out_planes, Conv3DNoTemporal, stride=2, downsample=shortcut)


def _pool(network: Any, maps: Tensor) -> Tensor:
    return network.dropout(average(network, maps))


def lip_tcn(
    *, num_classes: int = 51, width: int = 16, features: int = 128, dropout: float = 0.3, **geometry: Any
) -> ClipClassifier:
    """A mouth's frames by themselves, then along time; 51 classes are the words of GRID.

    Args:
        width: planes of the stem.
        features: values a frame, and of the clip before the head.
        dropout: share of them that is left out in training.
        geometry: fields of `ClipGeometry`; the crop is where the mouth is looked for, and is at least 32 x 48.
    """
    shape = replace(GEOMETRY, **geometry)
    if shape.crop[0] < MOUTH[0] or shape.crop[1] < MOUTH[1]:
        raise ValueError(f"crop {shape.crop} of lip_tcn must be at least {MOUTH}")
    return ClipClassifier(
        LipTCN(num_classes=num_classes, width=width, features=features, dropout=dropout),
        head="fc",
        stages=STAGES,
        pool=_pool,
        geometry=shape,
        name="lip_tcn",
    )
