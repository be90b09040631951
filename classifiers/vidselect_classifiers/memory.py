"""How much memory a classifier takes, and how many clips it is given at once."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vidselect_classifiers.base import ClipClassifier

MOST_CLIPS = 64
# Of tensors; convolutions take about as much again for themselves. It does not follow what memory a machine has: a
# batch's size may show in the last bits of its outputs, and these are to be the same everywhere.
BUDGET_BYTES = {"cpu": 1 << 29, "cuda": 1 << 32}


def clips_at_once(classifier: ClipClassifier, device: str | torch.device) -> int:
    """How many clips a classifier takes at once: as many as its tensors have room for, a power of two up to 64.

    A classifier that cannot be run without numbers, whose memory is thus not known, takes 8.
    """
    try:
        one, two = (peak_bytes(classifier, (count, *classifier.input_shape), dtype=torch.uint8) for count in (1, 2))
    except Exception:  # of a network of somebody's: reads values, or knows no meta device
        return 8
    budget = BUDGET_BYTES.get(torch.device(device).type, BUDGET_BYTES["cuda"])
    fitting = max((budget - one) // max(two - one, 1) + 1, 1)
    return min(1 << (int(fitting).bit_length() - 1), MOST_CLIPS)


def peak_bytes(module: nn.Module, input_shape: tuple[int, ...], *, dtype: torch.dtype = torch.float32) -> int:
    """The most bytes of tensors that are there at once in a forward pass without gradients, input included.

    Parameters are left out, and so is what operators take for themselves. Nothing is computed: a copy of the module
    runs on the meta device, in evaluation mode.

    Args:
        module: takes one tensor.
        input_shape: the whole shape, batch included.
        dtype: of the input.
    """
    twin = copy.deepcopy(module).to("meta").eval()
    clips = torch.empty(input_shape, dtype=dtype, device="meta")
    watcher = _Watcher()
    with torch.no_grad(), watcher:
        twin(clips)
    return watcher.most_bytes + clips.numel() * clips.element_size()


class _Watcher(TorchDispatchMode):
    """Sees every operator's outputs, and which of the earlier ones are still there."""

    def __init__(self) -> None:
        super().__init__()
        self.most_bytes = 0
        self._there: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        given = {_id_of(each) for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)}
        self._there = {key: held for key, held in self._there.items() if not held[0].expired()}
        for each in tree_leaves(outputs):
            if isinstance(each, torch.Tensor) and _id_of(each) not in given:  # no view of what was there
                storage = each.untyped_storage()
                self._there[_id_of(each)] = StorageWeakRef(storage), storage.nbytes()
        self.most_bytes = max(self.most_bytes, sum(size for _, size in self._there.values()))
        return outputs


def _id_of(tensor: torch.Tensor) -> int:
    """Of its storage, which views share."""
    return tensor.untyped_storage()._cdata
