"""Light networks on single frames of compressed video, and on the picture of a sound (SCSampler, section 3.3).

Shapes: B inputs of c channels and h x w values, D feature values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

# What brings a stream's values to about one: pixels a frame, levels of 255, levels around grey, log mel.
SCALES: dict[str, tuple[float, float]] = {
    "vectors": (0.0, 1.0),
    "residual": (0.0, 8.0),
    "intra": (110.0, 60.0),
    "mel": (-10.0, 3.0),
}
CHANNELS = {"vectors": 2, "residual": 3, "intra": 3, "mel": 1}
NETWORKS = ("auto", "small", "resnet18", "shufflenet")
SMALL_SIDE = 64


def stream_network(stream: str, shape: Sequence[int], *, num_outputs: int, network: str, pretrained: bool) -> nn.Module:
    """A network from one frame (or mel picture) of a stream to `num_outputs` numbers.

    Its buffer `is_pretrained` tells, also after saving and loading, whether it began with ImageNet weights.

    Args:
        stream: a key of `SCALES`.
        shape: (..., h, w) of one candidate's signal.
        network: `small`, a narrow ResNet for frames of about 32 x 32 (of sounds a narrow VGG); `resnet18` or
            `shufflenet` (of sounds the VGG of 18 layers); or `auto`: small below 64 pixels.
        pretrained: begin with torchvision's ImageNet weights where the network has them and they can be had.

    Raises:
        ValueError: an unknown network.
    """
    if network not in NETWORKS:
        raise ValueError(f"network ({network!r}) must be one of {', '.join(NETWORKS)}")
    if network == "auto":
        network = "small" if min(shape[-2:]) < SMALL_SIDE else "resnet18"
    made: Any
    is_pretrained = False
    if stream == "mel":
        made = SoundVGG(num_outputs=num_outputs, small=network == "small")
    elif network == "small":
        made = SmallResNet(CHANNELS[stream], num_outputs=num_outputs, stride=1 if min(shape[-2:]) < 16 else 2)
    else:
        made, is_pretrained = _torchvision_network(network, pretrained=pretrained)
        _take_channels(made, CHANNELS[stream])
        made.fc = nn.Linear(made.fc.in_features, num_outputs)
    made.register_buffer("is_pretrained", torch.tensor(is_pretrained))
    return made


def _torchvision_network(name: str, *, pretrained: bool) -> tuple[Any, bool]:
    from torchvision.models import resnet18, shufflenet_v2_x0_5  # takes a second to import

    build, weights = {
        "resnet18": (resnet18, "ResNet18_Weights.IMAGENET1K_V1"),
        "shufflenet": (shufflenet_v2_x0_5, "ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1"),
    }[name]
    network = build()
    return network, pretrained and _load_imagenet(network, weights)


class SmallResNet(nn.Module):
    """Three residual blocks of 8, 16 and 32 planes."""

    def __init__(self, channels: int, *, num_outputs: int, stride: int, width: int = 8) -> None:
        from torchvision.models.resnet import BasicBlock  # takes a second to import

        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        blocks, planes = [], width
        for number in range(3):
            wider = width * 2**number
            shortcut = None
            if wider != planes:
                shortcut = nn.Sequential(nn.Conv2d(planes, wider, 1, stride=2, bias=False), nn.BatchNorm2d(wider))
            blocks.append(BasicBlock(planes, wider, 1 if shortcut is None else 2, shortcut))
            planes = wider
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(planes, num_outputs)

    def forward(self, frames: Tensor) -> Tensor:
        return self.fc(self.blocks(self.stem(frames)).mean((2, 3)))


class SoundVGG(nn.Module):
    """A VGG on mel pictures (B, 1, 40, 200), averaged over what is left of time and pitch.

    The paper's has 18 layers, which it does not list: here 16 convolutions (2, 2, 4, 4, 4, a pool after
    each group but the last) and two linear layers. `small` has one convolution a group, 8 to 32 planes wide.
    """

    def __init__(self, *, num_outputs: int, small: bool) -> None:
        from torchvision.models import vgg  # takes a second to import

        super().__init__()
        groups = [(8, 1), (16, 1), (24, 1), (32, 1)] if small else [(64, 2), (128, 2), (256, 4), (512, 4), (512, 4)]
        plan: list[int | str] = []
        for planes, count in groups:
            plan += [planes] * count + ["M"]
        first = vgg.make_layers(plan[:-1], batch_norm=True)
        first[0] = nn.Conv2d(1, groups[0][0], 3, stride=(1, 2) if small else 1, padding=1)
        self.features = first
        hidden = 4 * groups[-1][0] if not small else groups[-1][0]
        self.classifier = nn.Sequential(
            nn.Linear(groups[-1][0], hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, num_outputs)
        )

    def forward(self, pictures: Tensor) -> Tensor:
        return self.classifier(self.features(pictures).mean((2, 3)))


def scaled(stream: str, values: Tensor) -> Tensor:
    """Values of a stream as its network takes them: float32, about one in size."""
    middle, size = SCALES[stream]
    return (values.float() - middle) / size


def _take_channels(network: nn.Module, channels: int) -> None:
    """Let the first convolution take another number of channels, with the mean of its weights in each."""
    name, old = next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    if old.in_channels == channels:
        return
    new = nn.Conv2d(channels, old.out_channels, old.kernel_size, old.stride, old.padding, bias=False)  # type: ignore[arg-type]
    with torch.no_grad():
        new.weight.copy_(old.weight.mean(1, keepdim=True).expand_as(new.weight) * 3 / channels)
    network.set_submodule(name, new)


def _load_imagenet(network: nn.Module, name: str) -> bool:
    """Load torchvision's weights; False, and said so, if they cannot be had."""
    from torchvision.models import get_weight  # takes a second to import

    try:
        state = get_weight(name).get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        tqdm.write(f"weights {name} could not be downloaded ({error}): the scorer is trained from scratch")
        return False
    network.load_state_dict(state)
    return True
