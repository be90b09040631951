"""TSM (Lin et al., ICCV 2019): a ResNet on single frames, some of whose planes are shifted by one frame.

Parameter names are torchvision's, so that its ImageNet weights fit. A clip's frames may be of the whole video
(`--sampler segment` or `motion_guided`), or follow one another.
Shapes: B clips, T frames a clip, C planes, D feature values.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import ResNet, resnet50

from vidselect_classifiers.base import IMAGENET_MEAN, IMAGENET_STD, ClipClassifier, ClipGeometry

GEOMETRY = ClipGeometry(num_frames=8, frame_stride=8, resize=256, crop=(224, 224), mean=IMAGENET_MEAN, std=IMAGENET_STD)
FOLDS = 8  # of the planes one part is moved to the frame before, and one to the frame after


def shifted(maps: Tensor) -> Tensor:
    """Planes moved in time (section 3.2): (B, T, C, H, W) -> the same; what comes from outside the clip is 0.

    Example: C = 8, T = 2, all planes of frame t being t + 1 -> frame 0 has [2, 0, 1, 1 ...], frame 1 [0, 1, 2, 2 ...].
    """
    fold = maps.shape[2] // FOLDS
    from_next = functional.pad(maps[:, 1:, :fold], (0,) * 7 + (1,))
    from_last = functional.pad(maps[:, :-1, fold : 2 * fold], (0,) * 6 + (1, 0))
    return torch.cat([from_next, from_last, maps[:, :, 2 * fold :]], dim=2)


class ShiftedConv2d(nn.Conv2d):
    """The first convolution of a block, with the weights of `like`, on frames (B * T, C, H, W) that are shifted.

    The block's shortcut takes them as they are.
    """

    def __init__(self, like: nn.Conv2d, *, num_frames: int) -> None:
        super().__init__(like.in_channels, like.out_channels, kernel_size=1, bias=False)
        self.weight, self.num_frames = like.weight, num_frames

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(shifted(input.unflatten(0, (-1, self.num_frames))).flatten(0, 1))


def _shift(network: ResNet, *, num_frames: int) -> None:
    """Let the first convolution of every block shift."""
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        for block in stage:
            block.conv1 = ShiftedConv2d(block.conv1, num_frames=num_frames)


def _features(network: Any, clips: Tensor) -> Tensor:
    """The mean over frames of what the last layer takes: the mean of its logits is its logits of the mean."""
    frames = clips.transpose(1, 2).flatten(0, 1)
    maps = network.maxpool(network.relu(network.bn1(network.conv1(frames))))
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        maps = stage(maps)
    features = network.dropout(network.avgpool(maps).flatten(1))
    return features.unflatten(0, (len(clips), -1)).mean(1)


def tsm_resnet50(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """TSM on ResNet-50, an eighth of the planes each way, in the residual branches; 2048 features."""
    own = replace(GEOMETRY, **geometry)
    network = resnet50(num_classes=num_classes)
    _shift(network, num_frames=own.num_frames)
    network.dropout = nn.Dropout(0.5)
    return ClipClassifier(network, head="fc", pool=_features, geometry=own, name="tsm_resnet50")
