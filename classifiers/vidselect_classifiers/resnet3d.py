"""3D ResNets of bottleneck blocks, as the ATFR paper compares them (Fayyaz et al., CVPR 2021).

`resnet3d_18_modified` is the paper's Table A.1, and `resnet3d_50` the same with 50 layers' blocks, as in its
authors' configuration; `i3d_r50` is I3D on ResNet-50 (Wang et al., CVPR 2018, as PySlowFast has it), and
`r2plus1d_50` R(2+1)D (Tran et al., CVPR 2018). Time may have any size from 1 on at each stage.

Parameter names are those that torchvision's `VideoResNet` has with its own bottleneck blocks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torchvision.models.video.resnet import Conv2Plus1D, Conv3DNoTemporal, R2Plus1dStem

from vidselect_classifiers.base import ClipClassifier, ClipGeometry
from vidselect_classifiers.video_resnet import Conv2Plus1DOwnMidplanes

# PySlowFast's pixels, and the frames of the ATFR paper.
PYSLOWFAST_MEAN = (0.45, 0.45, 0.45)
PYSLOWFAST_STD = (0.225, 0.225, 0.225)
GEOMETRY = ClipGeometry(
    num_frames=32, frame_stride=2, resize=256, crop=(224, 224), mean=PYSLOWFAST_MEAN, std=PYSLOWFAST_STD
)
STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
LAYERS_18 = (2, 2, 2, 2)
LAYERS_50 = (3, 4, 6, 3)
# (planes, output planes) of the blocks of each stage.
WIDTHS = ((64, 256), (128, 512), (256, 1024), (512, 2048))
MODIFIED_WIDTHS = ((8, 32), (64, 256), (128, 512), (256, 1024))


class Bottleneck(nn.Module):
    """Three convolutions, `temporal_kernel` x 1 x 1, spatial, and 1 x 1 x 1, on a shortcut.

    The middle one carries the stride. A `conv_maker` of torchvision's makes it, and says how the shortcut
    strides: `Conv3DNoTemporal` is 1 x 3 x 3 and leaves time alone, `Conv2Plus1D` is 1 x 3 x 3 then 3 x 1 x 1
    and strides over both.
    """

    def __init__(
        self,
        in_planes: int,
        planes: int,
        out_planes: int,
        *,
        temporal_kernel: int = 1,
        stride: int = 1,
        conv_maker: type[Conv3DNoTemporal | Conv2Plus1D] = Conv3DNoTemporal,
    ) -> None:
        super().__init__()
        first = nn.Conv3d(in_planes, planes, (temporal_kernel, 1, 1), padding=(temporal_kernel // 2, 0, 0), bias=False)
        middle = conv_maker(planes, planes, planes, stride)
        self.conv1 = nn.Sequential(first, nn.BatchNorm3d(planes), nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(middle, nn.BatchNorm3d(planes), nn.ReLU(inplace=True))
        self.conv3 = nn.Sequential(nn.Conv3d(planes, out_planes, 1, bias=False), nn.BatchNorm3d(out_planes))
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_planes != out_planes:
            strides = conv_maker.get_downsample_stride(stride)
            self.downsample = nn.Sequential(
                nn.Conv3d(in_planes, out_planes, 1, stride=strides, bias=False), nn.BatchNorm3d(out_planes)
            )

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps if self.downsample is None else self.downsample(maps)
        return self.relu(self.conv3(self.conv2(self.conv1(maps))) + shortcut)


class ResNet3D(nn.Module):
    """Stem, four stages of bottleneck blocks, mean over time and space, dropout, linear layer.

    Args:
        stem: from 3 planes to those of the first stage's blocks.
        num_blocks: of each stage.
        widths: (planes, output planes) of each stage's blocks.
        temporal_kernels: of the blocks' first convolutions, for each stage; a stage of more blocks repeats them.
        conv_maker: the blocks' middle convolution.
        halve_time: whether a maximum over pairs of maps follows the first stage, as the stage `pool2`. An
            odd map is kept, where PySlowFast drops it: time may have shrunk to 1.
        num_classes: of the linear layer.
    """

    def __init__(
        self,
        *,
        stem: nn.Module,
        num_blocks: Sequence[int],
        widths: Sequence[tuple[int, int]],
        temporal_kernels: Sequence[Sequence[int]],
        conv_maker: type[Conv3DNoTemporal | Conv2Plus1D] = Conv3DNoTemporal,
        halve_time: bool = False,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.stem = stem
        in_planes = widths[0][0]
        for i, (planes, out_planes) in enumerate(widths):
            blocks = []
            for j, kernel in zip(range(num_blocks[i]), itertools.cycle(temporal_kernels[i]), strict=False):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(
                    Bottleneck(
                        in_planes, planes, out_planes, temporal_kernel=kernel, stride=stride, conv_maker=conv_maker
                    )
                )
                in_planes = out_planes
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.pool2 = nn.MaxPool3d((2, 1, 1), ceil_mode=True) if halve_time else None
        self.stage_names = (*STAGES[:2], "pool2", *STAGES[2:]) if halve_time else STAGES
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(in_planes, num_classes)
        initialise(self, last_norms=(module.conv3[1] for module in self.modules() if isinstance(module, Bottleneck)))

    def pool(self, maps: Tensor) -> Tensor:
        """Features (B, D) of the last stage's maps (B, D, T, H, W)."""
        return self.dropout(self.avgpool(maps).flatten(1))

    def forward(self, clips: Tensor) -> Tensor:
        maps = clips
        for name in self.stage_names:
            maps = self.get_submodule(name)(maps)
        return self.fc(self.pool(maps))


def initialise(network: nn.Module, *, last_norms: Iterable[nn.Module]) -> None:
    """PySlowFast's initial weights: He's for convolutions, small ones for the linear layer, 0 for `last_norms`.

    Those are the last batch norm of each block, which so begins as its shortcut.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    for norm in last_norms:
        assert isinstance(norm, nn.BatchNorm3d)
        nn.init.zeros_(norm.weight)


def _stem(planes: int) -> nn.Module:
    """5 x 7 x 7 convolution and 1 x 3 x 3 maximum, which both halve space and leave time alone."""
    convolution = nn.Conv3d(3, planes, (5, 7, 7), stride=(1, 2, 2), padding=(2, 3, 3), bias=False)
    return nn.Sequential(convolution, nn.BatchNorm3d(planes), nn.ReLU(inplace=True), _max_pool())


def _max_pool() -> nn.Module:
    return nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))


def _classifier(name: str, network: ResNet3D, geometry: dict[str, Any]) -> ClipClassifier:
    return ClipClassifier(
        network,
        head="fc",
        stages=network.stage_names,
        pool=ResNet3D.pool,
        geometry=replace(GEOMETRY, **geometry),
        name=name,
    )


def _modified(name: str, num_blocks: Sequence[int], num_classes: int, geometry: dict[str, Any]) -> ClipClassifier:
    network = ResNet3D(
        stem=_stem(8),
        num_blocks=num_blocks,
        widths=MODIFIED_WIDTHS,
        temporal_kernels=((3,), (1,), (1,), (3,)),
        num_classes=num_classes,
    )
    return _classifier(name, network, geometry)


def resnet3d_18_modified(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """The ATFR paper's modified 3DResNet-18 (Table A.1): it keeps every frame to the end; 1024 features.

    `geometry` are fields of `ClipGeometry` to change, as in all builders.
    """
    return _modified("resnet3d_18_modified", LAYERS_18, num_classes, geometry)


def resnet3d_50(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """The ATFR paper's 3DResNet-50: Table A.1 with [3, 4, 6, 3] blocks; 1024 features."""
    return _modified("resnet3d_50", LAYERS_50, num_classes, geometry)


def i3d_r50(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """I3D on ResNet-50: 3 x 1 x 1 kernels in every block, then in every other; time is halved after `layer1`."""
    network = ResNet3D(
        stem=_stem(64),
        num_blocks=LAYERS_50,
        widths=WIDTHS,
        temporal_kernels=((3,), (3, 1), (3, 1), (1, 3)),
        halve_time=True,
        num_classes=num_classes,
    )
    return _classifier("i3d_r50", network, geometry)


def r2plus1d_50(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """R(2+1)D on ResNet-50: each 3 x 3 x 3 convolution in two; `layer2`, `layer3` and `layer4` halve time.

    The middle planes are the paper's (see `Conv2Plus1DOwnMidplanes`), and so is all else but for the 1 x 3 x 3
    maximum after the stem, which its authors' code has for clips of 224 x 224.
    """
    network = ResNet3D(
        stem=nn.Sequential(*R2Plus1dStem(), _max_pool()),
        num_blocks=LAYERS_50,
        widths=WIDTHS,
        temporal_kernels=((1,),) * 4,
        conv_maker=Conv2Plus1DOwnMidplanes,
        num_classes=num_classes,
    )
    return _classifier("r2plus1d_50", network, geometry)
