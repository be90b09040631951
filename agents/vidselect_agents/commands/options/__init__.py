"""The options of every command, a module each, which imports nothing heavy."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tyro


def read(wanted: Any, arguments: Sequence[str], /, *, cli: Callable[..., Any] | None = None, **options: Any) -> Any:
    """The wanted dataclass from arguments.

    Args:
        cli: `tyro.cli`, or another of tyro's that is called as it is; `options` are its own.

    Raises:
        ValueError: they give none; what tyro draws a box around, as one line.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), _unfolded(arguments):
            return (cli or tyro.cli)(wanted, args=list(arguments), **options)
    except SystemExit as end:
        if not end.code:
            raise
        raise ValueError(_unboxed(said.getvalue())) from None


@contextlib.contextmanager
def _unfolded(arguments: Sequence[str]) -> Iterator[None]:
    """No line of an error is folded; help is, to the terminal."""
    before = os.environ.get("COLUMNS")
    if not {"-h", "--help"} & set(arguments):
        os.environ["COLUMNS"] = "10000"
    try:
        yield
    finally:
        os.environ.pop("COLUMNS", None)
        if before is not None:
            os.environ["COLUMNS"] = before


def _unboxed(text: str) -> str:
    """The words of tyro's errors, without the boxes around them, and up to the rule above its hints.

    A box has its title in its upper border, or, where the terminal knows no line drawing, above a rule.
    """
    said: list[str] = []
    for line in text.splitlines():
        words = line.strip("│ ")
        if line.startswith(("╭", "╰")) or not words:
            continue
        if words.strip("─-"):
            said.append(words)
        elif line.startswith(" -") and len(said) == 1:
            said.clear()  # that was the title
        else:
            break
    return re.sub(r"Error parsing [\w.]+: ", "", " ".join(said)) or "the arguments cannot be read"
