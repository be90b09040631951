"""`vidselect COMMAND ...`: what the scripts do, for an installed package."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

COMMANDS = {
    "train": "train an agent, and report what its choice of clips buys",
    "evaluate": "report a saved run on its own test split or on something else",
    "recognise": "name the action of video files by the clips that a run chooses",
    "view": "open the report of a run in the browser",
    "bank": "build a bank, what a classifier says about every candidate clip, or show one",
    "classifier": "train a clip classifier, or only its last layer",
    "mean": "the mean over official splits, of one run each",
    "benchmark": "many agents, several seeds, one table",
    "doctor": "versions, devices, codecs, cache, and what is missing for which extra",
    "cache": "list or prune the banks and made videos that are kept",
    "completion": "print what makes a shell complete all this",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the first argument names."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        lines = [f"  {name:10} {text}" for name, text in COMMANDS.items()]
        print("\n".join(["usage: vidselect COMMAND [OPTIONS]; COMMAND --help lists a command's own", "", *lines]))
        return
    if given[0] not in COMMANDS:
        refuse(f"unknown command {given[0]!r}: it is one of {', '.join(COMMANDS)}")
    importlib.import_module(f"vidselect_agents.commands.{given[0]}").main(given[1:])


class Door(Protocol):
    """A command from its arguments, the process's own by default."""

    def __call__(self, arguments: Sequence[str] | None = None) -> None: ...


def door(run: Callable[[Sequence[str]], None]) -> Door:
    """The command that `run` is.

    What a user can cause is one line on stderr and exit status 2; `--debug` among the arguments shows the traceback.
    """

    def enter(arguments: Sequence[str] | None = None) -> None:
        given = list(sys.argv[1:] if arguments is None else arguments)
        debug = "--debug" in given
        try:
            run([argument for argument in given if argument != "--debug"])
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            raise SystemExit(130) from None
        except (ValueError, OSError, ImportError) as error:
            if debug:
                traceback.print_exc()
            refuse(" ".join(str(error).split()) or type(error).__name__)

    return enter


def parse(wanted: Any, arguments: Sequence[str], /, *, cli: Callable[..., Any] | None = None, **options: Any) -> Any:
    """The wanted dataclass from arguments.

    Args:
        cli: `tyro.cli`, or another of tyro's that is called as it is; `options` are its own.

    Raises:
        ValueError: they give none; what tyro draws a box around, as one line.
    """
    import tyro  # takes a second, and `vidselect --help` does without

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
    """The words in the boxes that tyro draws, up to the rule above its hints."""
    lines = [line.strip("│ ").strip() for line in text.splitlines() if not line.startswith(("╭", "╰"))]
    said = [line for line in lines if line]
    hints = next((number for number, line in enumerate(said) if line.startswith("──")), len(said))
    return re.sub(r"Error parsing [\w.]+: ", "", " ".join(said[:hints])) or "the arguments cannot be read"


def refuse(message: str) -> None:
    """End the process with one line on stderr and exit status 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)
