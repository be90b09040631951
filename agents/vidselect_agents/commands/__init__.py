"""`vidselect COMMAND ...`: what the scripts do, for an installed package.

A command is two modules: `options/NAME.py`, whose `parse` makes a configuration of its arguments and imports nothing
heavy, so that help comes at once; and `NAME.py`, whose `run` does the work.
"""

from __future__ import annotations

import importlib
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

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
    _enter(*given)


def _enter(name: str, *arguments: str) -> None:
    """Read the arguments of a command, and only then import what does its work.

    What a user can cause is one line on stderr and exit status 2; `--debug` among the arguments shows the traceback.
    """
    debug = "--debug" in arguments
    before = threading.excepthook
    if not debug:
        threading.excepthook = _without_writers(before)
    try:
        options = importlib.import_module(f"vidselect_agents.commands.options.{name}")
        config = options.parse([argument for argument in arguments if argument != "--debug"])
        importlib.import_module(f"vidselect_agents.commands.{name}").run(config)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except (ValueError, OSError, ImportError) as error:
        if debug:
            traceback.print_exc()
        refuse(" ".join(str(error).split()) or type(error).__name__)
    finally:
        threading.excepthook = before


def _without_writers(before: Callable[[Any], object]) -> Callable[[Any], None]:
    """What says nothing of an error in TensorBoard's thread: the next call that logs raises it again."""

    def hook(args: Any) -> None:
        if not type(args.thread).__module__.startswith("tensorboard"):
            before(args)

    return hook


def refuse(message: str) -> None:
    """End the process with one line on stderr and exit status 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)
