"""Clips of one batch whose maps differ in length, on which a network runs as if each were alone.

Shapes: B clips, C channels, T_b maps of clip b, H x W pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class RaggedMaps:
    """Maps (C, T_b, H, W) of B clips, of equal lengths together: no padding that a convolution could see.

    Modules and torch functions take it in place of a tensor and run once for each length. Batch normalisation
    in training is the exception: its statistics are those of all clips together, as they would be of a tensor.

    Args:
        groups: for every length, its clips (b, C, T, H, W).
        order: (B,) int64, the place in the batch of each clip of the groups, one group after another.
        lengths: (B,) int64, T_b of every clip at first, in the order of the batch; what becomes of the maps
            later does not change it.
    """

    def __init__(self, groups: Sequence[Tensor], *, order: Tensor, lengths: Tensor) -> None:
        self.groups = list(groups)
        self.order, self.lengths = order, lengths

    def joined(self) -> Tensor:
        """One tensor in the order of the batch, where the groups have the same shape again, as after pooling."""
        return torch.cat(self.groups)[self.order.argsort()]

    def dim(self) -> int:
        return self.groups[0].dim()

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.batch_norm and _is_training(*args, **kwargs):
            return _joint_batch_norm(*args, **kwargs)
        if getattr(func, "__name__", "") == "conv3d":  # torch hands over an object of its own
            func = _fast_conv3d
        return each_group(func, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """A tensor's method, for each group."""
        method = getattr(Tensor, name)
        if not callable(method):
            raise AttributeError(f"maps of different lengths have no common {name!r}")
        return functools.partial(each_group, method, self)

    def __add__(self, other: Any) -> RaggedMaps:
        return each_group(torch.add, self, other)

    def __mul__(self, other: Any) -> RaggedMaps:
        return each_group(torch.mul, self, other)


def each_group(function: Callable, *args: Any, **kwargs: Any) -> RaggedMaps:
    """`function` of each group in turn, where `RaggedMaps` are among its arguments."""
    first = next(_ragged_in([*args, *kwargs.values()]))
    groups = [
        function(
            *(_of_group(value, number) for value in args),
            **{name: _of_group(value, number) for name, value in kwargs.items()},
        )
        for number in range(len(first.groups))
    ]
    return RaggedMaps(groups, order=first.order, lengths=first.lengths)


def _ragged_in(values: Iterable[Any]) -> Iterator[RaggedMaps]:
    for value in values:
        if isinstance(value, RaggedMaps):
            yield value
        elif isinstance(value, list | tuple):
            yield from _ragged_in(value)


def _of_group(value: Any, number: int) -> Any:
    if isinstance(value, list | tuple):  # the tensors of torch.cat
        return type(value)(_of_group(each, number) for each in value)
    return value.groups[number] if isinstance(value, RaggedMaps) else value


def takes_ragged(function: Callable) -> Callable:
    """Decorate a function that asks for a tensor's shape, so that it runs on each group of `RaggedMaps`."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if any(True for _ in _ragged_in([*args, *kwargs.values()])):
            return each_group(function, *args, **kwargs)
        return function(*args, **kwargs)

    return wrapper


def _is_training(*args: Any, training: bool = False, **kwargs: Any) -> bool:
    return args[5] if len(args) > 5 else training


def _fast_conv3d(
    maps: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """`conv3d`; on a CPU always by oneDNN.

    torch takes its own, several times slower, where a batch is small, as one clip of a few maps is.
    """
    sizes = (stride, padding, dilation)
    if maps.device.type != "cpu" or maps.dtype != torch.float32 or not all(isinstance(size, tuple) for size in sizes):
        return functional.conv3d(maps, weight, bias, stride, padding, dilation, groups)
    return torch.mkldnn_convolution(maps, weight, bias, padding, stride, dilation, groups)


def _joint_batch_norm(maps: RaggedMaps, *args: Any, **kwargs: Any) -> RaggedMaps:
    """Batch norm over the values of all groups, channel by channel."""
    channels_first = [group.movedim(1, 0) for group in maps.groups]
    values = [group.flatten(1) for group in channels_first]
    normed = functional.batch_norm(torch.cat(values, dim=1)[None], *args, **kwargs)[0]
    parts = normed.split([value.shape[1] for value in values], dim=1)
    # Copies, not views: a ReLU may work in place.
    groups = [part.view(group.shape).movedim(0, 1).clone() for part, group in zip(parts, channels_first, strict=True)]
    return RaggedMaps(groups, order=maps.order, lengths=maps.lengths)
