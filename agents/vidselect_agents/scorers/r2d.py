"""R2D: a 2D ResNet that sees a clip's frames folded into channels.

Shapes: B clips, T frames of 3 channels, D feature values.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock


class R2D(nn.Module):
    """DSN's observation network without its last layer (section V-B; "ResNet2D-18").

    A ResNet without max-pool whose first convolution takes all frames of a skim at once: 8 RGB frames
    are 24 channels. With the default width 64 and blocks (2, 2, 2, 2) it is the paper's R2D-18, 1.93
    GMACs for 8 frames of 112 x 112; narrower and shallower ones serve small skims.

    Args:
        num_frames: T.
        width: channels of the first stage; each further stage doubles them.
        blocks: residual blocks of each stage.
        stem_kernel: size of the first convolution, whose stride is 2.
        norm: from a number of channels to their normalisation.
    """

    def __init__(
        self,
        num_frames: int = 8,
        *,
        width: int = 64,
        blocks: tuple[int, ...] = (2, 2, 2, 2),
        stem_kernel: int = 7,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3 * num_frames, width, stem_kernel, stride=2, padding=stem_kernel // 2, bias=False),
            norm(width),
            nn.ReLU(inplace=True),
        )
        stages, channels = [], width
        for number, count in enumerate(blocks):
            planes = width * 2**number
            stages.append(_stage(channels, planes, count, stride=1 if number == 0 else 2, norm=norm))
            channels = planes
        self.stages = nn.Sequential(*stages)
        self.feature_dim = channels

    def forward(self, skims: Tensor) -> Tensor:
        """(B, T, 3, h, w) uint8 -> (B, D) float32."""
        return self.stages(self.stem(fold_frames(skims))).mean((2, 3))


def fold_frames(skims: Tensor) -> Tensor:
    """Frames as channels, (B, T, 3, h, w) uint8 -> (B, 3 * T, h, w) float32: their mean, then their steps.

    The mean frame lies in [-1, 1]; the T - 1 differences of successive frames are four times their size. This
    is the frames in another basis, with nothing lost: the first convolution can undo it. But a network that
    is handed differences finds motion within its first updates, where one that is handed frames may take
    thousands.
    """
    frames = skims.to(torch.float32)
    mean = frames.mean(1, keepdim=True).mul_(1 / 127.5).sub_(1)
    steps = (frames[:, 1:] - frames[:, :-1]).mul_(4 / 127.5)
    return torch.cat([mean, steps], dim=1).flatten(1, 2)


def _stage(channels: int, planes: int, count: int, *, stride: int, norm: Callable[[int], nn.Module]) -> nn.Sequential:
    shortcut = None
    if stride != 1 or channels != planes:
        shortcut = nn.Sequential(nn.Conv2d(channels, planes, 1, stride=stride, bias=False), norm(planes))
    first = BasicBlock(channels, planes, stride, shortcut, norm_layer=norm)
    return nn.Sequential(first, *(BasicBlock(planes, planes, norm_layer=norm) for _ in range(count - 1)))
