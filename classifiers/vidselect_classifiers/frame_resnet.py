"""Image classifiers as clip classifiers: torchvision's ImageNet ResNets on a clip of one frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor
from torchvision.models import ResNet, resnet18, resnet50

from vidselect_classifiers.base import IMAGENET_MEAN, IMAGENET_STD, ClipClassifier, ClipGeometry

GEOMETRY = ClipGeometry(num_frames=1, resize=256, crop=(224, 224), mean=IMAGENET_MEAN, std=IMAGENET_STD)


def _frame_features(network: ResNet, clips: Tensor) -> Tensor:
    out = network.maxpool(network.relu(network.bn1(network.conv1(clips.squeeze(2)))))
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        out = stage(out)
    return network.avgpool(out).flatten(1)


def _frame_resnet(name: str, build: Callable[..., ResNet], num_classes: int, changes: dict[str, Any]) -> ClipClassifier:
    geometry = replace(GEOMETRY, **changes)
    if geometry.num_frames != 1:
        raise ValueError(f"num_frames ({geometry.num_frames}) of {name} must be 1: it sees single frames")
    return ClipClassifier(
        build(num_classes=num_classes),
        head="fc",
        pool=_frame_features,
        geometry=geometry,
        name=name,
    )


def frame_resnet18(*, num_classes: int = 1000, **geometry: Any) -> ClipClassifier:
    """ResNet-18 on one frame; 512 features."""
    return _frame_resnet("frame_resnet18", resnet18, num_classes, geometry)


def frame_resnet50(*, num_classes: int = 1000, **geometry: Any) -> ClipClassifier:
    """ResNet-50 on one frame; 2048 features."""
    return _frame_resnet("frame_resnet50", resnet50, num_classes, geometry)
