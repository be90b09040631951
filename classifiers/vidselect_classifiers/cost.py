"""Multiply-adds of a module on an input."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def gmacs(module: nn.Module, input_shape: Sequence[int], *, dtype: torch.dtype = torch.float32) -> float:
    """Multiply-adds of one forward pass, in units of 1e9.

    Counts convolutions and matrix products (attention included), as the action-recognition papers do
    under the name FLOPs; normalisation, activations and pooling are left out. Nothing is computed: a
    copy of the module runs on the meta device, in evaluation mode.

    Args:
        module: takes one tensor.
        input_shape: the whole shape, batch included: `(1, 3, 8, 112, 112)`.
        dtype: of the input.
    """
    twin = copy.deepcopy(module).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        twin(torch.empty(tuple(input_shape), dtype=dtype, device="meta"))
    return counter.get_total_flops() / 2 / 1e9
