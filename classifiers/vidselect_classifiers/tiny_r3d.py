"""The default problem's classifier: a small R3D on clips of 8 frames of 32 x 32."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torchvision.models.video.resnet import BasicBlock, Conv3DSimple

from vidselect_classifiers.base import ClipClassifier, ClipGeometry
from vidselect_classifiers.video_resnet import STAGES, average

GEOMETRY = ClipGeometry(num_frames=8, resize=(32, 32), crop=(32, 32))


class TinyR3D(nn.Module):
    """R3D of one block a stage, of `width`, 2, 4 and 8 times `width` planes, under R3D's parameter names."""

    def __init__(self, *, num_classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(3, width, kernel_size=(3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(inplace=True),
        )
        self.layer1 = nn.Sequential(BasicBlock(width, width, Conv3DSimple))
        self.layer2 = nn.Sequential(_halving_block(width, 2 * width))
        self.layer3 = nn.Sequential(_halving_block(2 * width, 4 * width))
        self.layer4 = nn.Sequential(_halving_block(4 * width, 8 * width))
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(8 * width, num_classes)

    def forward(self, clips: Tensor) -> Tensor:
        maps = clips
        for stage in STAGES:
            maps = self.get_submodule(stage)(maps)
        return self.fc(average(self, maps))


def _halving_block(in_planes: int, out_planes: int) -> BasicBlock:
    """A block that halves time, height and width."""
    shortcut = nn.Sequential(
        nn.Conv3d(in_planes, out_planes, kernel_size=1, stride=2, bias=False), nn.BatchNorm3d(out_planes)
    )
    return BasicBlock(in_planes, out_planes, Conv3DSimple, stride=2, downsample=shortcut)


def tiny_r3d(*, num_classes: int = 8, width: int = 8, **geometry: Any) -> ClipClassifier:
    """A small R3D of `width` planes in its first stage; 8 * width features."""
    return ClipClassifier(
        TinyR3D(num_classes=num_classes, width=width),
        head="fc",
        stages=STAGES,
        pool=average,
        geometry=replace(GEOMETRY, **geometry),
        name="tiny_r3d",
    )
