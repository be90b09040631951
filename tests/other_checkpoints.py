"""Checkpoints with the names and shapes of other libraries, made by hand, and what their networks say of clips."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]

# What PySlowFast 1.0, mmaction2 1.2.0 and PyTorchVideo 0.1.5 call their parts. {s} counts stages from 1 to 4.
X3D_NAMES = {
    "PySlowFast": {
        "stem": ("s1.pathway0_stem.conv_xy", "s1.pathway0_stem.conv", "s1.pathway0_stem.bn"),
        "block": lambda s, b: f"s{s + 1}.pathway0_res{b}.",
        "shortcut": ("branch1", "branch1_bn"),
        "branch": tuple(f"branch2.{part}" for part in ("a", "a_bn", "b", "b_bn", "c", "c_bn")),
        "squeeze": ("branch2.se.fc1", "branch2.se.fc2"),
        "head": ("head.conv_5", "head.conv_5_bn", "head.lin_5", "head.projection"),
    },
    "mmaction2": {
        "stem": ("backbone.conv1_s.conv", "backbone.conv1_t.conv", "backbone.conv1_t.bn"),
        "block": lambda s, b: f"backbone.layer{s}.{b}.",
        "shortcut": ("downsample.conv", "downsample.bn"),
        "branch": tuple(f"conv{i}.{part}" for i in (1, 2, 3) for part in ("conv", "bn")),
        "squeeze": ("se_module.fc1", "se_module.fc2"),
        "head": ("backbone.conv5.conv", "backbone.conv5.bn", "cls_head.fc1", "cls_head.fc2"),
    },
}
I3D_NAMES = {
    "PySlowFast": {
        "stem": ("s1.pathway0_stem.conv", "s1.pathway0_stem.bn"),
        "block": lambda s, b: f"s{s + 1}.pathway0_res{b}.",
        "shortcut": ("branch1", "branch1_bn"),
        "branch": tuple(f"branch2.{part}" for part in ("a", "a_bn", "b", "b_bn", "c", "c_bn")),
        "head": "head.projection",
    },
    "PyTorchVideo": {
        "stem": ("blocks.0.conv", "blocks.0.norm"),
        "block": lambda s, b: f"blocks.{s if s == 1 else s + 1}.res_blocks.{b}.",  # blocks.2 is a pooling
        "shortcut": ("branch1_conv", "branch1_norm"),
        "branch": tuple(f"branch2.{kind}_{part}" for part in "abc" for kind in ("conv", "norm")),
        "head": "blocks.6.proj",
    },
}
X3D_STAGES = {1: (24, 54, 8, 3), 2: (48, 108, 8, 5), 3: (96, 216, 16, 11), 4: (192, 432, 32, 7)}
I3D_STAGES = {
    1: (256, 64, (3, 3, 3)),
    2: (512, 128, (3, 1, 3, 1)),
    3: (1024, 256, (3, 1, 3, 1, 3, 1)),
    4: (2048, 512, (1, 3, 1)),
}


class Made:
    """A random state dict; convolutions of He's size, batch norms that are no identity."""

    def __init__(self) -> None:
        self.state: State = {}
        self.generator = torch.Generator().manual_seed(0)

    def random(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def matrix(self, name: str, shape: tuple[int, ...], *, bias: bool = False) -> None:
        fan_in = torch.Size(shape[1:]).numel()
        self.state[f"{name}.weight"] = self.random(*shape) * (2 / fan_in) ** 0.5
        if bias:
            self.state[f"{name}.bias"] = 0.1 * self.random(shape[0])

    def norm(self, name: str, planes: int) -> None:
        self.state |= {
            f"{name}.weight": 1 + 0.2 * self.random(planes),
            f"{name}.bias": 0.2 * self.random(planes),
            f"{name}.running_mean": 0.2 * self.random(planes),
            f"{name}.running_var": 0.5 + torch.rand(planes, generator=self.generator),
            f"{name}.num_batches_tracked": torch.tensor(7),
        }


def made_x3d(library: str) -> State:
    """X3D-S under a library's names."""
    names, made = X3D_NAMES[library], Made()
    made.matrix(names["stem"][0], (24, 3, 1, 3, 3))
    made.matrix(names["stem"][1], (24, 1, 5, 1, 1))
    made.norm(names["stem"][2], 24)
    planes = 24
    for stage, (out, inner, squeezed, num_blocks) in X3D_STAGES.items():
        for block in range(num_blocks):
            at = names["block"](stage, block)
            if block == 0:
                made.matrix(at + names["shortcut"][0], (out, planes, 1, 1, 1))
                made.norm(at + names["shortcut"][1], out)
            a, a_norm, b, b_norm, c, c_norm = (at + part for part in names["branch"])
            made.matrix(a, (inner, planes, 1, 1, 1))
            made.norm(a_norm, inner)
            made.matrix(b, (inner, 1, 3, 3, 3))
            made.norm(b_norm, inner)
            if block % 2 == 0:
                made.matrix(at + names["squeeze"][0], (squeezed, inner, 1, 1, 1), bias=True)
                made.matrix(at + names["squeeze"][1], (inner, squeezed, 1, 1, 1), bias=True)
            made.matrix(c, (out, inner, 1, 1, 1))
            made.norm(c_norm, out)
            planes = out
    conv_5, norm_5, lin_5, last = names["head"]
    made.matrix(conv_5, (432, 192, 1, 1, 1))
    made.norm(norm_5, 432)
    made.matrix(lin_5, (2048, 432) if library == "mmaction2" else (2048, 432, 1, 1, 1))
    made.matrix(last, (400, 2048), bias=True)
    return made.state


def conv(state: State, name: str, maps: Tensor, **options: Any) -> Tensor:
    return functional.conv3d(maps, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)


def norm(state: State, name: str, maps: Tensor) -> Tensor:
    mean, var, weight, bias = (state[f"{name}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(maps, mean, var, weight, bias)


def x3d_logits(state: State, library: str, clips: Tensor) -> Tensor:
    """What the library's X3D says of clips (B, 3, T, H, W)."""
    names = X3D_NAMES[library]
    maps = conv(state, names["stem"][0], clips, stride=(1, 2, 2), padding=(0, 1, 1))
    maps = conv(state, names["stem"][1], maps, padding=(2, 0, 0), groups=24)
    maps = norm(state, names["stem"][2], maps).relu()
    for stage, (_, inner, _, num_blocks) in X3D_STAGES.items():
        for block in range(num_blocks):
            at = names["block"](stage, block)
            step = (1, 2, 2) if block == 0 else 1
            shortcut = maps
            if block == 0:
                shortcut = conv(state, at + names["shortcut"][0], maps, stride=step)
                shortcut = norm(state, at + names["shortcut"][1], shortcut)
            a, a_norm, b, b_norm, c, c_norm = (at + part for part in names["branch"])
            maps = norm(state, a_norm, conv(state, a, maps)).relu()
            maps = norm(state, b_norm, conv(state, b, maps, stride=step, padding=1, groups=inner))
            if block % 2 == 0:
                mean = maps.mean(dim=(2, 3, 4), keepdim=True)
                squeezed = conv(state, at + names["squeeze"][0], mean).relu()
                maps = maps * conv(state, at + names["squeeze"][1], squeezed).sigmoid()
            maps = norm(state, c_norm, conv(state, c, functional.silu(maps)))
            maps = (maps + shortcut).relu()
    conv_5, norm_5, lin_5, last = names["head"]
    pooled = norm(state, norm_5, conv(state, conv_5, maps)).relu().mean(dim=(2, 3, 4))
    hidden = (pooled @ state[f"{lin_5}.weight"].flatten(1).T).relu()
    return hidden @ state[f"{last}.weight"].T + state[f"{last}.bias"]


def made_i3d(library: str) -> State:
    """I3D on ResNet-50 under a library's names."""
    names, made = I3D_NAMES[library], Made()
    made.matrix(names["stem"][0], (64, 3, 5, 7, 7))
    made.norm(names["stem"][1], 64)
    planes = 64
    for stage, (out, inner, kernels) in I3D_STAGES.items():
        for block, kernel in enumerate(kernels):
            at = names["block"](stage, block)
            if block == 0:
                made.matrix(at + names["shortcut"][0], (out, planes, 1, 1, 1))
                made.norm(at + names["shortcut"][1], out)
            a, a_norm, b, b_norm, c, c_norm = (at + part for part in names["branch"])
            made.matrix(a, (inner, planes, kernel, 1, 1))
            made.norm(a_norm, inner)
            made.matrix(b, (inner, inner, 1, 3, 3))
            made.norm(b_norm, inner)
            made.matrix(c, (out, inner, 1, 1, 1))
            made.norm(c_norm, out)
            planes = out
    made.matrix(names["head"], (400, 2048), bias=True)
    return made.state


def i3d_logits(state: State, library: str, clips: Tensor) -> Tensor:
    """What the library's I3D says of clips (B, 3, T, H, W)."""
    names = I3D_NAMES[library]
    maps = conv(state, names["stem"][0], clips, stride=(1, 2, 2), padding=(2, 3, 3))
    maps = norm(state, names["stem"][1], maps).relu()
    maps = functional.max_pool3d(maps, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
    for stage, (_, _, kernels) in I3D_STAGES.items():
        for block, kernel in enumerate(kernels):
            at = names["block"](stage, block)
            step = (1, 2, 2) if stage > 1 and block == 0 else 1
            shortcut = maps
            if block == 0:
                shortcut = conv(state, at + names["shortcut"][0], maps, stride=step)
                shortcut = norm(state, at + names["shortcut"][1], shortcut)
            a, a_norm, b, b_norm, c, c_norm = (at + part for part in names["branch"])
            maps = norm(state, a_norm, conv(state, a, maps, padding=(kernel // 2, 0, 0))).relu()
            maps = norm(state, b_norm, conv(state, b, maps, stride=step, padding=(0, 1, 1))).relu()
            maps = (norm(state, c_norm, conv(state, c, maps)) + shortcut).relu()
        if stage == 1:
            maps = functional.max_pool3d(maps, (2, 1, 1))
    last = names["head"]
    return maps.mean(dim=(2, 3, 4)) @ state[f"{last}.weight"].T + state[f"{last}.bias"]
