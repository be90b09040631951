"""Checkpoints of other libraries under the names of this package's networks (`checkpoint_dialects` lists both).

Most differ in names alone; X3D of PySlowFast and mmaction2 has one batch norm more, which is multiplied into its
neighbours (`_fold_shortcut_norms`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from vidselect_classifiers.checkpoint_dialects import DIALECTS, LIBRARIES, REFUSED, X3D

BATCH_NORM_EPS = 1e-5  # of X3D, here and there


def library_of(state: Mapping[str, Tensor]) -> str | None:
    """Whose names a state dict has: a library of `LIBRARIES`; None of others, this package's among them.

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
    why = REFUSED.get((library, name), f"from those there is a way to {', '.join(known)}")
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
