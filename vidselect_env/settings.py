"""Settings that are numbers: what they may be, said in one way for every configuration."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LARGEST_SEED = 2**32 - 1  # that NumPy takes


def check_settings(
    config: Any,
    *,
    at_least: Mapping[str, float] | None = None,
    above: Mapping[str, float] | None = None,
    at_most: Mapping[str, float] | None = None,
) -> None:
    """All numbers of a dataclass are finite, and those that are named are in their range; None is in every range.

    Raises:
        ValueError: one is not; the message has its name, its value and the rule.
    """
    for field in dataclasses.fields(config):
        values = getattr(config, field.name)
        for value in values if isinstance(values, tuple) else (values,):
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{field.name} ({value}) must be a finite number")
    for rule, bounds, holds in (
        ("at least", at_least, lambda value, bound: value >= bound),
        ("above", above, lambda value, bound: value > bound),
        ("at most", at_most, lambda value, bound: value <= bound),
    ):
        for name, bound in (bounds or {}).items():
            value = getattr(config, name)
            if value is not None and not holds(value, bound):
                raise ValueError(f"{name} ({value}) must be {rule} {bound}")


def typed(value: Any, hint: Any, *, name: str) -> Any:
    """A value that JSON kept, as the type that it had: lists are tuples again, and texts of paths paths.

    Raises:
        ValueError: it is of another type; the message has its name.
    """
    for kind in _kinds(hint):
        found = _as(value, kind, name)
        if found is not _OTHER:
            return found
    raise ValueError(f"{name} ({str(value)[:80]!r}) must be {getattr(hint, '__name__', None) or hint}")


_OTHER = object()


def _kinds(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _as(value: Any, kind: Any, name: str) -> Any:
    """`value` as a `kind`, or `_OTHER`."""
    if kind is Any:
        return value
    if kind in (None, type(None)):
        return None if value is None else _OTHER
    if typing.get_origin(kind) is typing.Literal:
        return (
            value
            if any(value is each or (value == each and type(value) is type(each)) for each in typing.get_args(kind))
            else _OTHER
        )
    if typing.get_origin(kind) is tuple or kind is tuple:
        return _as_tuple(value, typing.get_args(kind), name)
    if kind is float:
        return float(value) if type(value) in (int, float) else _OTHER
    if kind is Path:
        return Path(value) if isinstance(value, str) else _OTHER
    if isinstance(kind, type):
        return value if type(value) is kind else _OTHER
    return value


def _as_tuple(value: Any, kinds: tuple[Any, ...], name: str) -> Any:
    if not isinstance(value, list | tuple):
        return _OTHER
    if not kinds:
        return tuple(value)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        return _OTHER
    return tuple(typed(each, kind, name=name) for each, kind in zip(value, kinds, strict=True))
