"""Networks on optical flow: their first convolution takes displacements, not colours (Wang et al., TSN, ECCV 2016).

A flow clip is a clip of pictures like any other: red is the displacement to the right, green that downwards, 128 is
none, and blue says nothing. A 3D network sees two channels over time; a 2D one a stack of all fields of a clip, which
are 2 T channels: x of the first field, y of the first, x of the second ...
Shapes: T fields of a clip, O output planes, I input channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

# 128 stands for no displacement; the spread is TSN's, of pictures of flow in [0, 1].
FLOW_MEAN = (128 / 255,) * 3
FLOW_STD = (0.226,) * 3
FLOW_CHANNELS = 2
STACK_FRAMES = 5  # of TSN: ten channels


def first_convolution(network: nn.Module) -> tuple[str, nn.Conv2d | nn.Conv3d]:
    """The convolution that takes the pixels, and its name.

    Raises:
        ValueError: the network has none.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            return name, module
    raise ValueError(f"a {type(network).__name__} has no convolution that could take optical flow")


def take_flow(network: nn.Module, *, num_frames: int) -> None:
    """Put a first convolution of flow's channels in the place of that of colours, its weights averaged from them.

    Args:
        num_frames: fields of a clip; of a network whose first convolution is 2D, half of its channels.

    Raises:
        ValueError: the network has no first convolution of three channels.
    """
    name, old = first_convolution(network)
    if old.in_channels != 3 or old.groups != 1:
        raise ValueError(
            f"convolution {name!r} must take 3 channels to be made one of flow; it takes {old.in_channels}"
        )
    num_channels = FLOW_CHANNELS * (num_frames if isinstance(old, nn.Conv2d) else 1)
    new = type(old)(
        num_channels,
        old.out_channels,
        kernel_size=old.kernel_size,  # type: ignore[arg-type]
        stride=old.stride,  # type: ignore[arg-type]
        padding=old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    with torch.no_grad():
        new.weight.copy_(averaged(old.weight, num_channels))
        if new.bias is not None and old.bias is not None:
            new.bias.copy_(old.bias)
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, new)


def averaged(weight: Tensor, num_channels: int) -> Tensor:
    """The mean over a kernel's colours, for each of the channels of flow: (O, 3, ...) -> (O, num_channels, ...).

    TSN, section 3.2 ("cross modality pre-training").

    Example: weights 1, 2 and 6 of red, green and blue -> 3 and 3.
    """
    return weight.mean(1, keepdim=True).repeat_interleave(num_channels, dim=1)


def adapted(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Weights of a network on colours, for one on flow; those that are of flow already, and all others, as they are."""
    name, convolution = first_convolution(network)
    key = f"{name}.weight"
    given = state.get(key)
    if given is None or given.shape[1] != 3 or convolution.in_channels == 3:
        return dict(state)
    return {**state, key: averaged(given, convolution.in_channels)}
