"""R3D, MC3 and R(2+1)D on torchvision's VideoResNet (Tran et al., CVPR 2018).

The 18-layer networks are torchvision's own, parameter names included. The 34-layer ones have
[3, 4, 6, 3] blocks under the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torchvision.models.video.resnet import (
    BasicBlock,
    BasicStem,
    Conv2Plus1D,
    Conv3DNoTemporal,
    Conv3DSimple,
    R2Plus1dStem,
    VideoResNet,
)

from vidselect_classifiers.base import ClipClassifier, ClipGeometry

GEOMETRY = ClipGeometry(num_frames=16, resize=(128, 171), crop=(112, 112))
STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
LAYERS_18 = [2, 2, 2, 2]
LAYERS_34 = [3, 4, 6, 3]


class Conv2Plus1DOwnMidplanes(Conv2Plus1D):
    """A (2+1)D convolution that takes its middle planes from its own input and output planes.

    torchvision computes them once a block, from the block's first convolution, and uses them for both; the
    paper does so for each convolution (section 3.5), and so do the published 34-layer weights. They differ
    in the second convolution of the first block of stages 2, 3 and 4: 288, 576 and 1152 middle planes,
    where torchvision has 230, 460 and 921.
    """

    def __init__(self, in_planes: int, out_planes: int, midplanes: int, stride: int = 1, padding: int = 1) -> None:
        own = in_planes * out_planes * 3 * 3 * 3 // (in_planes * 3 * 3 + 3 * out_planes)
        super().__init__(in_planes, out_planes, own, stride, padding)


def average(network: Any, maps: Tensor) -> Tensor:
    """Mean over time and space of maps (B, D, T, H, W): (B, D)."""
    return network.avgpool(maps).flatten(1)


def _video_resnet(
    name: str,
    conv_makers: Sequence[type[Conv3DSimple | Conv3DNoTemporal | Conv2Plus1D]],
    layers: list[int],
    stem: Callable[..., nn.Module],
    num_classes: int,
    geometry: dict[str, Any],
) -> ClipClassifier:
    return ClipClassifier(
        VideoResNet(BasicBlock, conv_makers, layers, stem, num_classes=num_classes),
        head="fc",
        stages=STAGES,
        pool=average,
        geometry=replace(GEOMETRY, **geometry),
        name=name,
    )


def r3d_18(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """ResNet3D-18; `geometry` are fields of `ClipGeometry` to change, as in all builders."""
    return _video_resnet("r3d_18", [Conv3DSimple] * 4, LAYERS_18, BasicStem, num_classes, geometry)


def r3d_34(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """ResNet3D-34."""
    return _video_resnet("r3d_34", [Conv3DSimple] * 4, LAYERS_34, BasicStem, num_classes, geometry)


def mc3_18(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """MC3-18: 3D convolutions in the stem and the first stage, 2D ones after."""
    makers = [Conv3DSimple, Conv3DNoTemporal, Conv3DNoTemporal, Conv3DNoTemporal]
    return _video_resnet("mc3_18", makers, LAYERS_18, BasicStem, num_classes, geometry)


def r2plus1d_18(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """R(2+1)D-18, with torchvision's middle planes, so that its published weights fit."""
    return _video_resnet("r2plus1d_18", [Conv2Plus1D] * 4, LAYERS_18, R2Plus1dStem, num_classes, geometry)


def r2plus1d_34(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """R(2+1)D-34, with the paper's middle planes (see `Conv2Plus1DOwnMidplanes`)."""
    makers = [Conv2Plus1DOwnMidplanes] * 4
    return _video_resnet("r2plus1d_34", makers, LAYERS_34, R2Plus1dStem, num_classes, geometry)
