"""An environment's options: shown by name, and what is said of those that do not fit."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from vidselect_env.bank import BankError

_OF_THE_DOOR = ("num_envs", "repeat_context", "render_mode", "output")  # options beside those of the problem


def showing(make: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator of constructors that hand their `**options` to `make`: their signature shows these by name.

    So they are said once, and are still there for `inspect.signature`, `help` and editors' hints.
    """
    options = [each for each in inspect.signature(make).parameters.values() if each.kind is each.KEYWORD_ONLY]

    def decorated(constructor: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(constructor)
        own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
        before = [each for each in own if each.kind is not each.KEYWORD_ONLY]
        shown = signature.replace(parameters=[*before, *options, *(each for each in own if each not in before)])
        constructor.__signature__ = shown  # type: ignore[attr-defined]
        return constructor

    return decorated


@contextmanager
def naming(environment: str, make: Callable[..., Any], unknown: Mapping[str, object]) -> Iterator[None]:
    """Refuse `unknown` options, and name the environment in whatever is raised meanwhile about the others.

    Args:
        environment: its id.
        make: whose parameters are the options that there are.

    Raises:
        TypeError: an option that there is not; the message suggests the nearest.
        ValueError: one that does not fit.
    """
    known = [name for name, each in inspect.signature(make).parameters.items() if each.kind != each.VAR_KEYWORD]
    for option in unknown:
        near = [name for name in known if name in option] or difflib.get_close_matches(option, known, n=1, cutoff=0.7)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join([*known, *_OF_THE_DOOR])}"
        # In Python's own words, for which TorchRL looks when it tries its options.
        raise TypeError(f"{environment} got an unexpected keyword argument {option!r}: {hint}")
    try:
        yield
    except BankError as error:
        raise BankError(f"{environment}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{environment}: {error}") from error
