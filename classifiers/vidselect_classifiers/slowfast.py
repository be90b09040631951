"""SlowFast (Feichtenhofer et al., ICCV 2019): a slow pathway of many planes, and a fast one of few on all frames.

Shapes: B clips, T frames a clip, T / alpha of them slow, C planes, D feature values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidselect_classifiers.base import ClipClassifier
from vidselect_classifiers.ragged import takes_ragged
from vidselect_classifiers.resnet3d import GEOMETRY, LAYERS_18, LAYERS_50, STAGES, Bottleneck, initialise

PLANES = (64, 128, 256, 512)  # of the slow pathway's blocks
EXPANSION = 4  # of a block's output
BETA_INVERSE = 8  # slow planes for each fast one
FUSION_RATIO = 2  # planes of a lateral connection for each fast one
# Of the stem and the four stages: how many frames a convolution sees.
SLOW_KERNELS, FAST_KERNELS = (1, 1, 1, 3, 3), (5, 3, 3, 3, 3)

Pathways = tuple[Any, Any]  # slow and fast: tensors, or `RaggedMaps` after similarity guided sampling


@takes_ragged
def joined(slow: Tensor, fused: Tensor) -> Tensor:
    """The slow maps (B, C, T, H, W) and those of the lateral connection, one after another in C.

    Where sampling has left fewer of one, zeros stand before and after them (ATFR, appendix A): half of them before,
    rounded down.
    """
    longest = max(slow.shape[2], fused.shape[2])
    parts = []
    for maps in (slow, fused):
        missing = longest - maps.shape[2]
        before = missing // 2
        parts.append(functional.pad(maps, (0, 0, 0, 0, before, missing - before)) if missing else maps)
    return torch.cat(parts, dim=1)


class Stem(nn.Module):
    """Every alpha-th frame to the slow pathway and all to the fast one, each through a convolution and a maximum."""

    def __init__(self, *, alpha: int) -> None:
        super().__init__()
        self.alpha = alpha
        self.slow = _stem(PLANES[0], SLOW_KERNELS[0])
        self.fast = _stem(PLANES[0] // BETA_INVERSE, FAST_KERNELS[0])

    def forward(self, clips: Tensor) -> Pathways:
        # Evenly from the first to the last frame, as PySlowFast and PyTorchVideo take them.
        taken = torch.linspace(0, clips.shape[2] - 1, clips.shape[2] // self.alpha).long().to(clips.device)
        return self.slow(clips.index_select(2, taken)), self.fast(clips)


class Stage(nn.Module):
    """The lateral connection from the fast pathway to the slow one, then the blocks of both.

    The connection belongs to what comes after it: what stands between two stages, such as similarity guided sampling,
    stands before it.
    """

    def __init__(self, number: int, num_blocks: int, *, alpha: int, fusion_kernel: int) -> None:
        super().__init__()
        entering = PLANES[0] if number == 1 else PLANES[number - 2] * EXPANSION
        fast = entering // BETA_INVERSE
        lateral = nn.Conv3d(
            fast,
            fast * FUSION_RATIO,
            (fusion_kernel, 1, 1),
            stride=(alpha, 1, 1),
            padding=(fusion_kernel // 2, 0, 0),
            bias=False,
        )
        self.lateral = nn.Sequential(lateral, nn.BatchNorm3d(fast * FUSION_RATIO), nn.ReLU(inplace=True))
        options: dict[str, Any] = {"num_blocks": num_blocks, "stride": 1 if number == 1 else 2}
        planes, wide = PLANES[number - 1], entering + fast * FUSION_RATIO
        self.slow = _blocks(wide, planes, temporal_kernel=SLOW_KERNELS[number], **options)
        self.fast = _blocks(fast, planes // BETA_INVERSE, temporal_kernel=FAST_KERNELS[number], **options)

    def forward(self, pathways: Pathways) -> Pathways:
        slow, fast = pathways
        return self.slow(joined(slow, self.lateral(fast))), self.fast(fast)


class SlowFast(nn.Module):
    """Stem, four stages, means over time and space of both pathways side by side, dropout, linear layer.

    Args:
        alpha: fast frames for each slow one. fusion_kernel: fast frames that a lateral connection sees.
    """

    def __init__(self, *, num_blocks: Sequence[int], alpha: int, fusion_kernel: int, num_classes: int) -> None:
        super().__init__()
        self.stem = Stem(alpha=alpha)
        for i, blocks in enumerate(num_blocks):
            self.add_module(STAGES[i + 1], Stage(i + 1, blocks, alpha=alpha, fusion_kernel=fusion_kernel))
        last = PLANES[-1] * EXPANSION
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(last + last // BETA_INVERSE, num_classes)
        initialise(self, last_norms=(module.conv3[1] for module in self.modules() if isinstance(module, Bottleneck)))

    def pool(self, pathways: Any) -> Tensor:
        """Features (B, D) of both pathways' maps."""
        return self.dropout(torch.cat([self.avgpool(maps).flatten(1) for maps in pathways], dim=1))

    def forward(self, clips: Tensor) -> Tensor:
        maps: Any = clips
        for name in STAGES:
            maps = self.get_submodule(name)(maps)
        return self.fc(self.pool(maps))


def _stem(planes: int, temporal_kernel: int) -> nn.Sequential:
    convolution = nn.Conv3d(
        3,
        planes,
        (temporal_kernel, 7, 7),
        stride=(1, 2, 2),
        padding=(temporal_kernel // 2, 3, 3),
        bias=False,
    )
    largest = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
    return nn.Sequential(convolution, nn.BatchNorm3d(planes), nn.ReLU(inplace=True), largest)


def _blocks(in_planes: int, planes: int, *, num_blocks: int, stride: int, temporal_kernel: int) -> nn.Sequential:
    out_planes = planes * EXPANSION
    blocks = [
        Bottleneck(
            in_planes if number == 0 else out_planes,
            planes,
            out_planes,
            temporal_kernel=temporal_kernel,
            stride=stride if number == 0 else 1,
        )
        for number in range(num_blocks)
    ]
    return nn.Sequential(*blocks)


def _slowfast(
    name: str, num_blocks: Sequence[int], num_classes: int, geometry: dict[str, Any], *, alpha: int, fusion_kernel: int
) -> ClipClassifier:
    own = replace(GEOMETRY, **geometry)
    if own.num_frames % alpha:
        raise ValueError(f"num_frames ({own.num_frames}) of {name} must be a multiple of {alpha}")
    network = SlowFast(num_blocks=num_blocks, alpha=alpha, fusion_kernel=fusion_kernel, num_classes=num_classes)
    return ClipClassifier(network, head="fc", stages=STAGES, pool=SlowFast.pool, geometry=own, name=name)


def slowfast_4x16_r50(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """SlowFast 4 x 16 on ResNet-50: 4 of 32 frames are slow; 2304 features.

    `geometry` are fields of `ClipGeometry` to change, as in all builders.
    """
    return _slowfast("slowfast_4x16_r50", LAYERS_50, num_classes, geometry, alpha=8, fusion_kernel=5)


def slowfast_8x8_r50(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """SlowFast 8 x 8 on ResNet-50: 8 of 32 frames are slow; 2304 features."""
    return _slowfast("slowfast_8x8_r50", LAYERS_50, num_classes, geometry, alpha=4, fusion_kernel=7)


def slowfast_8x8_r18(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """SlowFast 8 x 8 on 18 layers, two bottleneck blocks a stage, as the ATFR paper's Table 4 has it."""
    return _slowfast("slowfast_8x8_r18", LAYERS_18, num_classes, geometry, alpha=4, fusion_kernel=7)
