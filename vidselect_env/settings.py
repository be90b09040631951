"""Settings: what their numbers may be, said in one way for all; and dataclasses from JSON that they were kept as."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

LARGEST_SEED = 2**32 - 1  # that NumPy takes
LARGEST_COUNT = 2**63 - 1  # that a tensor takes

_D = TypeVar("_D")


def check_settings(
    config: Any,
    *,
    at_least: Mapping[str, float] | None = None,
    above: Mapping[str, float] | None = None,
    at_most: Mapping[str, float] | None = None,
) -> None:
    """All numbers of a dataclass are finite, and those that are named are in their range; None and words are in any.

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
            if value is not None and not isinstance(value, str) and not holds(value, bound):
                raise ValueError(f"{name} ({value}) must be {rule} {bound}")


def from_json(cls: type[_D], data: Any) -> _D:
    """A dataclass, with dataclasses in it, from what `dataclasses.asdict` gave and JSON kept.

    Raises:
        ValueError: a field that is not there any more, or is new, or a value of another type or out of range.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{cls.__name__} ({str(data)[:80]!r}) must be an object of settings")
    hints = _hints(cls)  # type: ignore[arg-type]
    if set(hints) != set(data):
        raise ValueError(f"{cls.__name__} has the fields {sorted(hints)}, not {sorted(data)}")
    return cls(**{name: typed(value, hints[name], name=name) for name, value in data.items()})


def typed(value: Any, hint: Any, *, name: str) -> Any:
    """A value that JSON kept, as the type that it had: a list as a tuple, an object as a dataclass, a path as a path.

    Raises:
        ValueError: it is of another type, a number that is not finite, or an integer beyond 63 bits; the message has
            its name.
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
        return float(value) if type(value) in (int, float) and _is_finite(value) else _OTHER
    if kind is int:
        return value if type(value) is int and abs(value) <= LARGEST_COUNT else _OTHER
    if kind is Path:
        return Path(value) if isinstance(value, str) else _OTHER
    if dataclasses.is_dataclass(kind):
        read = getattr(kind, "from_json", None) or functools.partial(from_json, typing.cast(type, kind))
        return read(value) if isinstance(value, dict) else _OTHER
    if typing.get_origin(kind) is dict and isinstance(value, dict):
        keys, values = typing.get_args(kind)
        return {typed(key, keys, name=name): typed(each, values, name=name) for key, each in value.items()}
    if isinstance(kind, type):
        return value if type(value) is kind else _OTHER
    return _OTHER if typing.get_origin(kind) is dict else value


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """The types of a dataclass's fields."""
    found = typing.get_type_hints(cls)
    return {field.name: found[field.name] for field in dataclasses.fields(cls)}


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that is larger than any float
        return False


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
