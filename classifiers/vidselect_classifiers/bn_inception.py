"""BN-Inception (Ioffe and Szegedy, ICML 2015), the network of TSN: parameter names are those of the common checkpoints.

Shapes: B pictures, C channels, H x W pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Block(NamedTuple):
    """Planes of the branches of a block; one that halves the maps has neither the first branch nor the last layer.

    single: of the 1 x 1 branch, 0 for none. triple: before and in the 3 x 3 branch. double: before and in that of two
    3 x 3. pooled: after pooling, 0 for none. largest: whether maxima are pooled, not means.
    """

    single: int
    triple: tuple[int, int]
    double: tuple[int, int]
    pooled: int
    largest: bool = False


BLOCKS = {
    "3a": Block(64, (64, 64), (64, 96), 32),
    "3b": Block(64, (64, 96), (64, 96), 64),
    "3c": Block(0, (128, 160), (64, 96), 0, True),
    "4a": Block(224, (64, 96), (96, 128), 128),
    "4b": Block(192, (96, 128), (96, 128), 128),
    "4c": Block(160, (128, 160), (128, 160), 128),
    "4d": Block(96, (128, 192), (160, 192), 128),
    "4e": Block(0, (128, 192), (192, 256), 0, True),
    "5a": Block(352, (192, 320), (160, 224), 128),
    "5b": Block(352, (192, 320), (192, 224), 128, True),
}


class BNInception(nn.Module):
    """The whole network; every convolution has a bias, batch norm and ReLU after it."""

    def __init__(self, *, num_classes: int) -> None:
        super().__init__()
        self._convolution("conv1_7x7_s2", 3, 64, size=7, stride=2)
        self._convolution("conv2_3x3_reduce", 64, 64)
        planes = self._convolution("conv2_3x3", 64, 192, size=3)
        for name, block in BLOCKS.items():
            planes = self._block(f"inception_{name}", block, planes)
        self.last_linear = nn.Linear(planes, num_classes)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.last_linear(self.features(pictures))

    def features(self, pictures: Tensor) -> Tensor:
        """(B, 1024) of normalised pictures (B, C, H, W); of colours red comes first, and the checkpoints' blue does."""
        maps = pictures.flip(1) if pictures.shape[1] == 3 else pictures
        maps = _halved(self._run("conv1_7x7_s2", maps))
        maps = _halved(self._run("conv2_3x3", self._run("conv2_3x3_reduce", maps)))
        for name, block in BLOCKS.items():
            maps = self._run_block(f"inception_{name}", block, maps)
        return maps.mean((2, 3))

    def _convolution(self, name: str, in_planes: int, planes: int, *, size: int = 1, stride: int = 1) -> int:
        self.add_module(name, nn.Conv2d(in_planes, planes, size, stride, padding=size // 2))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(planes))
        return planes

    def _block(self, name: str, block: Block, planes: int) -> int:
        """Make a block's layers; the planes that it gives."""
        stride = 1 if block.single else 2
        out = block.triple[1] + block.double[1] + (block.single + block.pooled or planes)
        if block.single:
            self._convolution(f"{name}_1x1", planes, block.single)
            self._convolution(f"{name}_pool_proj", planes, block.pooled)
        self._convolution(f"{name}_3x3_reduce", planes, block.triple[0])
        self._convolution(f"{name}_3x3", *block.triple, size=3, stride=stride)
        self._convolution(f"{name}_double_3x3_reduce", planes, block.double[0])
        self._convolution(f"{name}_double_3x3_1", *block.double, size=3)
        self._convolution(f"{name}_double_3x3_2", block.double[1], block.double[1], size=3, stride=stride)
        return out

    def _run(self, name: str, maps: Tensor) -> Tensor:
        return self.get_submodule(f"{name}_bn")(self.get_submodule(name)(maps)).relu()

    def _run_block(self, name: str, block: Block, maps: Tensor) -> Tensor:
        triple = self._run(f"{name}_3x3", self._run(f"{name}_3x3_reduce", maps))
        double = self._run(f"{name}_double_3x3_1", self._run(f"{name}_double_3x3_reduce", maps))
        double = self._run(f"{name}_double_3x3_2", double)
        if not block.single:
            return torch.cat([triple, double, _halved(maps)], dim=1)
        pool = nn.functional.max_pool2d if block.largest else nn.functional.avg_pool2d
        pooled = self._run(f"{name}_pool_proj", pool(maps, 3, stride=1, padding=1))
        return torch.cat([self._run(f"{name}_1x1", maps), triple, double, pooled], dim=1)


def _halved(maps: Tensor) -> Tensor:
    return nn.functional.max_pool2d(maps, 3, stride=2, ceil_mode=True)
