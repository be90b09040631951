"""Checkpoints of other libraries under the names of this package's networks.

A `Dialect` says how a library calls the parts of a network. Most differ in names alone; X3D of PySlowFast and
mmaction2 has one batch norm more, which is multiplied into its neighbours (`_fold_shortcut_norms`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

X3D = ("x3d_xs", "x3d_s", "x3d_m", "x3d_l", "x3d_xl")
BATCH_NORM_EPS = 1e-5  # of X3D, here and there

# What each library calls a residual block's modules: stage, number of the block, the rest.
LIBRARIES = {
    "PySlowFast": r"s(\d)\.pathway0_res(\d+)\.(.+)",
    "mmaction2": r"backbone\.layer(\d)\.(\d+)\.(.+)",
    "PyTorchVideo": r"blocks\.(\d)\.res_blocks\.(\d+)\.(.+)",
}


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The names that a library has for the modules of a network.

    library: of `LIBRARIES`.
    networks: classifiers that its checkpoints fit.
    own_block: what a residual block is called here, with `{stage}` and `{block}`.
    stages: the stage here of each stage there.
    parts: modules of a block, there to here. others: all other modules.
    """

    library: str
    networks: tuple[str, ...]
    own_block: str
    stages: Mapping[str, int]
    parts: Mapping[str, str]
    others: Mapping[str, str] = field(default_factory=dict)

    def own_name(self, key: str) -> str | None:
        """The name here of a parameter or buffer; None of one that the network does not have."""
        module, _, leaf = key.rpartition(".")
        if found := re.fullmatch(LIBRARIES[self.library], module):
            stage, block, part = found.groups()
            if stage not in self.stages or part not in self.parts:
                return None
            return f"{self.own_block.format(stage=self.stages[stage], block=block)}.{self.parts[part]}.{leaf}"
        return f"{self.others[module]}.{leaf}" if module in self.others else None


_FROM_SECOND = {str(stage + 1): stage for stage in range(1, 5)}
_X3D_BLOCK = "blocks.{stage}.res_blocks.{block}"
_RESNET_BLOCK = "layer{stage}.{block}"

DIALECTS = (
    Dialect(
        library="PySlowFast",
        networks=X3D,
        own_block=_X3D_BLOCK,
        stages=_FROM_SECOND,
        parts={
            "branch1": "branch1_conv",
            "branch1_bn": "branch1_norm",
            "branch2.a": "branch2.conv_a",
            "branch2.a_bn": "branch2.norm_a",
            "branch2.b": "branch2.conv_b",
            "branch2.b_bn": "branch2.norm_b.0",
            "branch2.se.fc1": "branch2.norm_b.1.block.0",
            "branch2.se.fc2": "branch2.norm_b.1.block.2",
            "branch2.c": "branch2.conv_c",
            "branch2.c_bn": "branch2.norm_c",
        },
        others={
            "s1.pathway0_stem.conv_xy": "blocks.0.conv.conv_t",
            "s1.pathway0_stem.conv": "blocks.0.conv.conv_xy",
            "s1.pathway0_stem.bn": "blocks.0.norm",
            "head.conv_5": "blocks.5.pool.pre_conv",
            "head.conv_5_bn": "blocks.5.pool.pre_norm",
            "head.lin_5": "blocks.5.pool.post_conv",
            "head.projection": "blocks.5.proj",
        },
    ),
    Dialect(
        library="mmaction2",
        networks=X3D,
        own_block=_X3D_BLOCK,
        stages={str(stage): stage for stage in range(1, 5)},
        parts={
            "downsample.conv": "branch1_conv",
            "downsample.bn": "branch1_norm",
            "conv1.conv": "branch2.conv_a",
            "conv1.bn": "branch2.norm_a",
            "conv2.conv": "branch2.conv_b",
            "conv2.bn": "branch2.norm_b.0",
            "se_module.fc1": "branch2.norm_b.1.block.0",
            "se_module.fc2": "branch2.norm_b.1.block.2",
            "conv3.conv": "branch2.conv_c",
            "conv3.bn": "branch2.norm_c",
        },
        others={
            "backbone.conv1_s.conv": "blocks.0.conv.conv_t",
            "backbone.conv1_t.conv": "blocks.0.conv.conv_xy",
            "backbone.conv1_t.bn": "blocks.0.norm",
            "backbone.conv5.conv": "blocks.5.pool.pre_conv",
            "backbone.conv5.bn": "blocks.5.pool.pre_norm",
            "cls_head.fc1": "blocks.5.pool.post_conv",
            "cls_head.fc2": "blocks.5.proj",
        },
    ),
    Dialect(
        library="PySlowFast",
        networks=("i3d_r50",),
        own_block=_RESNET_BLOCK,
        stages=_FROM_SECOND,
        parts={
            "branch1": "downsample.0",
            "branch1_bn": "downsample.1",
            "branch2.a": "conv1.0",
            "branch2.a_bn": "conv1.1",
            "branch2.b": "conv2.0",
            "branch2.b_bn": "conv2.1",
            "branch2.c": "conv3.0",
            "branch2.c_bn": "conv3.1",
        },
        others={"s1.pathway0_stem.conv": "stem.0", "s1.pathway0_stem.bn": "stem.1", "head.projection": "fc"},
    ),
    Dialect(
        library="PyTorchVideo",
        networks=("i3d_r50",),
        own_block=_RESNET_BLOCK,
        stages={"1": 1, "3": 2, "4": 3, "5": 4},  # its second block is the maximum over pairs of maps
        parts={
            "branch1_conv": "downsample.0",
            "branch1_norm": "downsample.1",
            "branch2.conv_a": "conv1.0",
            "branch2.norm_a": "conv1.1",
            "branch2.conv_b": "conv2.0",
            "branch2.norm_b": "conv2.1",
            "branch2.conv_c": "conv3.0",
            "branch2.norm_c": "conv3.1",
        },
        others={"blocks.0.conv": "stem.0", "blocks.0.norm": "stem.1", "blocks.6.proj": "fc"},
    ),
)

# Of a library, what tensors of one network would fit and mean something else, and why.
_REFUSED = {
    ("mmaction2", "i3d_r50"): (
        "mmaction2's I3D halves time in its first convolution and in its first pooling too, and i3d_r50 does not: take "
        "PyTorchVideo's I3D_8x8_R50.pyth, or mmaction2's own module as a classifier"
    ),
    ("PyTorchVideo", "r2plus1d_50"): (
        "PyTorchVideo's R(2+1)D has fewer middle planes, and another stem: take its own module as a classifier"
    ),
}


def library_of(state: Mapping[str, Tensor]) -> str | None:
    """Whose names a state dict has: PySlowFast, mmaction2 or PyTorchVideo; None of others, this package's among them.

    X3D has PyTorchVideo's names here too.
    """
    for library, block in LIBRARIES.items():
        if any(re.fullmatch(block, key) for key in state):
            return library
    return None


def own_names(state: Mapping[str, Tensor], own: Mapping[str, Tensor], *, name: str) -> dict[str, Tensor]:
    """A state dict under the names and in the shapes of the network `own`, as far as they can be told.

    What is not known keeps its name. A prefix `module.` of all names (of data-parallel training) goes.

    Args:
        own: of the network that it is for.
        name: of the classifier.

    Raises:
        ValueError: the names are another library's, from which there is no way to this network; the message says
            what there is.
    """
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    library = library_of(state)
    if library is None or any(key in own for key in state):
        return dict(state)
    for dialect in DIALECTS:
        if dialect.library == library and name in dialect.networks:
            renamed = {dialect.own_name(key) or key: value for key, value in state.items()}
            if name in X3D:
                renamed = _fold_shortcut_norms(renamed, own)
            return {key: _as_convolution(value, own.get(key)) for key, value in renamed.items()}
    known = [network for dialect in DIALECTS if dialect.library == library for network in dialect.networks]
    why = _REFUSED.get((library, name), f"from those there is a way to {', '.join(known)}")
    raise ValueError(f"the names are {library}'s, which do not lead to {name}: {why} (docs/classifiers.md)")


def _as_convolution(value: Tensor, own: Tensor | None) -> Tensor:
    """A linear layer's matrix (D, C) as the 1 x 1 x 1 convolution that stands in its place here."""
    is_matrix_of_convolution = own is not None and own.ndim == 5 and value.ndim == 2 and own.shape[:2] == value.shape
    return value[..., None, None, None] if is_matrix_of_convolution else value


def _fold_shortcut_norms(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put batch norms of shortcuts that the network does not have into the convolution before and the norm beside.

    The shortcut's norm multiplies by a = weight / sqrt(running_var + eps) and adds bias - a * running_mean. Its
    convolution takes the factor; what is added goes to the bias of `norm_c`, for both are summed. This is what the
    norms do in evaluation.
    """
    folded = dict(state)
    for key in state:
        norm = key.removesuffix(".running_var")
        conv, beside = (
            f"{norm.removesuffix('norm')}conv.weight",
            norm.replace("branch1_norm", "branch2.norm_c") + ".bias",
        )
        parts = [f"{norm}.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")]
        if not norm.endswith("branch1_norm") or key in own or not {conv, beside, *parts} <= set(state):
            continue
        weight, bias, mean, var = (folded.pop(part) for part in parts)
        folded.pop(f"{norm}.num_batches_tracked", None)
        factor = weight / torch.sqrt(var + BATCH_NORM_EPS)
        folded[conv] = state[conv] * factor.view(-1, 1, 1, 1, 1)
        folded[beside] = state[beside] + bias - factor * mean
    return folded
