"""ImageNet weights as the start of DSN's observation network, a ResNet-18 but for its first convolution.

Shapes: T frames of a skim, 3 channels each.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vidselect_agents.scorers.candidates import R2D
from vidselect_classifiers.base import IMAGENET_STD
from vidselect_env.files import check_regular

_NAMES = {"conv1.": "stem.0.", "bn1.": "stem.1."} | {f"layer{number + 1}.": f"stages.{number}." for number in range(4)}


def load_resnet18(network: nn.Module, path: str | Path) -> None:
    """Start an R2D-18 with the weights of torchvision's `resnet18`, in place.

    The paper's first convolution, of 24 channels, is trained from Kinetics; here it is made of the RGB one. The mean
    frame, in [-1, 1], gets the RGB weights, brought to its range; each of the T - 1 differences gets their mean over
    channels, divided by T - 1. What subtracting ImageNet's mean would add is a constant, which batch norm takes away.

    Args:
        path: of a state dict, `.safetensors`, or `.pt` or `.pth`, of which nothing is executed.

    Raises:
        ValueError: the network is no R2D-18, or the file does not hold such weights.
    """
    if not isinstance(network, R2D):
        raise ValueError(f"scorer_weights are of scorer r2d18, not of {type(network).__name__}")
    own = network.state_dict()
    state = {_own_name(name): value for name, value in _read(Path(path)).items() if not name.startswith("fc.")}
    first = state.get("stem.0.weight")
    if first is None or set(state) != set(own) or first.shape[1] != 3:
        missing = ", ".join(sorted(set(own) ^ set(state))[:4]) or "its first convolution must take 3 channels"
        raise ValueError(f"{str(path)!r} holds no weights of a ResNet-18 for this scorer: {missing}")
    state["stem.0.weight"] = first_convolution(first, num_frames=own["stem.0.weight"].shape[1] // 3)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{str(path)!r} holds no weights of a ResNet-18 for this scorer: {error}") from error


def first_convolution(rgb: Tensor, *, num_frames: int) -> Tensor:
    """Weights (P, 3, k, k) for RGB, as those of a mean frame and T - 1 differences: (P, 3 * T, k, k).

    `fold_frames` gives the mean as x / 127.5 - 1, where ImageNet's networks take (x / 255 - mean) / std: weights of the
    first are those of the second over 2 std.
    """
    of_mean = rgb / (2 * torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
    steps = num_frames - 1
    of_steps = rgb.mean(1, keepdim=True).expand(-1, 3 * steps, -1, -1) / max(steps, 1)
    return torch.cat([of_mean, of_steps], dim=1)


def _own_name(name: str) -> str:
    prefix = next((prefix for prefix in _NAMES if name.startswith(prefix)), None)
    return name if prefix is None else _NAMES[prefix] + name.removeprefix(prefix)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        check_regular(path)
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # whatever a damaged file makes of its readers
        raise ValueError(f"weights {str(path)!r} cannot be read: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"weights {str(path)!r} must be a state dict: names and tensors")
    return state
