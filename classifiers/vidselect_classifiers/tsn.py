"""TSN's classifiers (Wang et al., ECCV 2016): a 2D network on a picture, or on a stack of optical flow of ten channels.

A clip is one frame, or with `modality="flow"` five fields of flow. In training several clips of a video, one from each
of its segments, are averaged (`FitConfig.segments`); in testing the clips of a grid are (25 in the paper).
Shapes: B clips, T frames a clip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torchvision.models import resnet18, resnet50, resnet101

from vidselect_classifiers.base import IMAGENET_MEAN, IMAGENET_STD, ClipClassifier, ClipGeometry
from vidselect_classifiers.bn_inception import BNInception
from vidselect_classifiers.flow import STACK_FRAMES

GEOMETRY = ClipGeometry(num_frames=1, resize=256, crop=(224, 224), mean=IMAGENET_MEAN, std=IMAGENET_STD)
# Of the checkpoints of BN-Inception: colours from 0 to 255, less their means; red comes first here.
CAFFE = {"mean": (128 / 255, 117 / 255, 104 / 255), "std": (1 / 255,) * 3}


def stacked(clips: Tensor) -> Tensor:
    """Clips (B, C, T, H, W) as pictures of all their channels, frame by frame: (B, T * C, H, W)."""
    return clips.transpose(1, 2).flatten(1, 2)


def _resnet_features(network: Any, clips: Tensor) -> Tensor:
    maps = network.maxpool(network.relu(network.bn1(network.conv1(stacked(clips)))))
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        maps = stage(maps)
    return network.avgpool(maps).flatten(1)


def _inception_features(network: Any, clips: Tensor) -> Tensor:
    return network.features(stacked(clips))


def _tsn(
    name: str,
    network: nn.Module,
    geometry: dict[str, Any],
    *,
    head: str = "fc",
    pool: Callable[[Any, Tensor], Tensor] = _resnet_features,
) -> ClipClassifier:
    if geometry.get("modality") == "flow":
        geometry = {"num_frames": STACK_FRAMES, **geometry}
    whole = replace(GEOMETRY, **geometry)
    if whole.modality == "rgb" and whole.num_frames != 1:
        raise ValueError(f"num_frames ({whole.num_frames}) of {name} must be 1: it sees single frames")
    return ClipClassifier(network, head=head, pool=pool, geometry=whole, name=name)


def tsn_resnet18(*, num_classes: int = 1000, **geometry: Any) -> ClipClassifier:
    """ResNet-18; 512 features."""
    return _tsn("tsn_resnet18", resnet18(num_classes=num_classes), geometry)


def tsn_resnet50(*, num_classes: int = 1000, **geometry: Any) -> ClipClassifier:
    """ResNet-50; 2048 features."""
    return _tsn("tsn_resnet50", resnet50(num_classes=num_classes), geometry)


def tsn_resnet101(*, num_classes: int = 1000, **geometry: Any) -> ClipClassifier:
    """ResNet-101; 2048 features."""
    return _tsn("tsn_resnet101", resnet101(num_classes=num_classes), geometry)


def tsn_bn_inception(*, num_classes: int = 1000, **geometry: Any) -> ClipClassifier:
    """BN-Inception; 1024 features."""
    network = BNInception(num_classes=num_classes)
    return _tsn("tsn_bn_inception", network, CAFFE | geometry, head="last_linear", pool=_inception_features)
