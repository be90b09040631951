"""Clips of one batch whose maps differ in length, on which a network runs as if each were alone.

Shapes: B clips, C channels, T_b maps of clip b, M maps of all clips together, H x W pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# What treats every value alone, and may so be given all maps of all clips at once.
POINTWISE = (functional.relu, functional.silu, torch.add)


class RaggedMaps:
    """Maps (C, T_b, H, W) of B clips, of equal lengths together: no padding that a convolution could see.

    Modules and torch functions take it in place of a tensor and run once for each length. What does not look
    from one map to the next, a ReLU, a batch norm, a convolution of one map at a time, runs once for all clips
    together. Batch normalisation in training so takes its statistics of all clips, as it would of a tensor.

    Args:
        groups: for every length, its clips (b, C, T, H, W).
        order: (B,) int64, the place in the batch of each clip of the groups, one group after another.
        lengths: (B,) int64, T_b of every clip at first, in the order of the batch; what becomes of the maps
            later does not change it.
    """

    def __init__(self, groups: Sequence[Tensor], *, order: Tensor, lengths: Tensor) -> None:
        self._groups: list[Tensor] | None = list(groups)
        self._packed: Tensor | None = None
        self._sizes = [tuple(group.shape[:3:2]) for group in self._groups]  # b and T
        self.order, self.lengths = order, lengths

    @property
    def groups(self) -> list[Tensor]:
        """For every length, its clips."""
        if self._groups is None:
            assert self._packed is not None
            parts = self._packed.split([clips * maps for clips, maps in self._sizes])
            self._groups = [
                part.unflatten(0, size).transpose(1, 2) for part, size in zip(parts, self._sizes, strict=True)
            ]
        return self._groups

    def packed(self) -> Tensor:
        """(M, C, H, W): the maps of every clip after one another, of one group after another."""
        if self._packed is None:
            self._packed = torch.cat([group.transpose(1, 2).flatten(0, 1) for group in self.groups])
        return self._packed

    def with_packed(self, packed: Tensor) -> RaggedMaps:
        """The same clips, of as many maps, with other values (M, C', H', W')."""
        other = RaggedMaps([], order=self.order, lengths=self.lengths)
        other._groups, other._packed, other._sizes = None, packed, self._sizes
        return other

    def is_packable(self) -> bool:
        """Whether these are maps, and not yet what a pool or a layer made of them."""
        return self._packed is not None or self.groups[0].dim() == 5

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
        maps = args[0] if args else None
        if isinstance(maps, RaggedMaps) and maps.is_packable():
            if func is functional.batch_norm:
                return maps.with_packed(_batch_norm(maps.packed(), *args[1:], **kwargs))
            if func in POINTWISE and all(_fits(maps, other) for other in args[1:]):
                return _pointwise(func, maps, *args[1:], **kwargs)
        if getattr(func, "__name__", "") == "conv3d":  # torch hands over an object of its own
            return _conv3d(*args, **kwargs)
        return each_group(func, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """A tensor's method, for each group."""
        method = getattr(Tensor, name)
        if not callable(method):
            raise AttributeError(f"maps of different lengths have no common {name!r}")
        return functools.partial(each_group, method, self)

    def __add__(self, other: Any) -> RaggedMaps:
        return RaggedMaps.__torch_function__(torch.add, (), (self, other))

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


def _fits(maps: RaggedMaps, other: Any) -> bool:
    """Whether a pointwise function's second argument has a value for every value of the maps, or one for all."""
    if isinstance(other, RaggedMaps):
        return other.is_packable() and other._sizes == maps._sizes and other.packed().shape == maps.packed().shape
    return not isinstance(other, Tensor) or other.ndim == 0


def _pointwise(function: Callable, maps: RaggedMaps, *args: Any, **kwargs: Any) -> RaggedMaps:
    values = function(maps.packed(), *(_packed_of(value) for value in args), **kwargs)
    if values is maps._packed:  # in place: views of it, made before, are too
        maps._groups = None
    return maps.with_packed(values)


def _packed_of(value: Any) -> Any:
    return value.packed() if isinstance(value, RaggedMaps) else value


def _batch_norm(
    maps: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`batch_norm`; with known statistics on a CPU as what it then is, one product and one sum for each channel.

    torch takes the pixels of one map at a time, which is several times slower where maps have few.
    """
    if mean is None or variance is None or weight is None or bias is None or training or not _is_for_cpu(maps):
        return functional.batch_norm(maps, mean, variance, weight, bias, training, momentum, eps)
    scale = weight * (variance + eps).rsqrt()
    shift = bias - mean * scale
    return torch.addcmul(shift[:, None, None], maps, scale[:, None, None])


def _conv3d(
    maps: RaggedMaps,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> RaggedMaps:
    """`conv3d`: of all maps at once in two dimensions, where its kernel is one map long."""
    sizes = (stride, padding, dilation)
    if not all(isinstance(size, tuple) for size in sizes):
        return each_group(functional.conv3d, maps, weight, bias, *sizes, groups)
    if weight.shape[2] == 1 and stride[0] == 1 and padding[0] == 0 and maps.is_packable():
        in_space = functional.conv2d(
            maps.packed(), weight.squeeze(2), bias, stride[1:], padding[1:], dilation[1:], groups
        )
        return maps.with_packed(in_space)
    return each_group(_fast_conv3d, maps, weight, bias, *sizes, groups)


def _fast_conv3d(
    maps: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    """`conv3d`; on a CPU always by oneDNN.

    torch takes its own, several times slower, where a batch is small, as one clip of a few maps is.
    """
    if not _is_for_cpu(maps):
        return functional.conv3d(maps, weight, bias, stride, padding, dilation, groups)
    return torch.mkldnn_convolution(maps, weight, bias, padding, stride, dilation, groups)


def _is_for_cpu(maps: Tensor) -> bool:
    return maps.device.type == "cpu" and maps.dtype == torch.float32
