"""List what is kept in the cache folder, banks and made videos, or remove some of it.

    vidselect cache list
    vidselect cache prune --unused-days 30 --dry-run

What is removed is made again when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vidselect_agents.commands import door, parse
from vidselect_env.experiment.cache import DAY_S, Kept, cached, prunable, prune
from vidselect_env.experiment.health import size_text
from vidselect_env.files import cache_dir
from vidselect_env.settings import check_settings


@dataclass(frozen=True)
class ListConfig:
    """Everything in it, the longest unused first."""


@dataclass(frozen=True)
class PruneConfig:
    """What goes beside banks that this version never opens again: damaged ones, and those of other versions.

    Args:
        unused_days: what was not used for so many days.
        unfinished: also what was begun and is not whole.
        everything: all of it.
        dry_run: only say what would go.
    """

    unused_days: float | None = None
    unfinished: bool = False
    everything: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        check_settings(self, at_least={"unused_days": 0})


@door
def main(arguments: Sequence[str]) -> None:
    commands: dict[str, Any] = {"list": ListConfig, "prune": PruneConfig}
    run(parse(commands, arguments, cli=tyro.extras.subcommand_cli_from_dict, description=__doc__))


def run(config: ListConfig | PruneConfig) -> None:
    """List or prune."""
    kept = cached(cache_dir())
    if isinstance(config, ListConfig):
        show(kept)
        return
    unused_s = None if config.unused_days is None else config.unused_days * DAY_S
    goes = prunable(kept, unfinished=config.unfinished, unused_s=unused_s, everything=config.everything)
    if config.dry_run:
        show(goes)
        _print(f"{size_text(_size(goes))} would go")
        return
    gone, busy = prune(goes)
    for each in busy:
        _print(f"kept {each.folder}: a process is writing it")
    _print(f"removed {len(gone)} of {len(kept)} folders, {size_text(_size(gone))}")


def show(kept: Sequence[Kept]) -> None:
    """A row a folder."""
    table = Table(title=f"{cache_dir()}: {size_text(_size(kept))}", title_justify="left")
    for heading in ("kind", "what", "state"):
        table.add_column(heading, overflow="fold")
    for heading in ("size", "unused"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("folder", overflow="fold")
    for each in kept:
        cells = (each.kind, each.about, each.state, size_text(each.size_bytes), _days(each.unused_s))
        place = str(each.folder.relative_to(cache_dir()))
        table.add_row(*(Text(cell) for cell in (*cells, place)))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=10_000)  # nothing is folded for a file or a pipe
    console.print(table)


def _days(unused_s: float) -> str:
    return f"{unused_s / DAY_S:.0f} days" if unused_s >= DAY_S else "today"


def _size(kept: Sequence[Kept]) -> int:
    return sum(each.size_bytes for each in kept)


def _print(text: str) -> None:
    Console(highlight=False, soft_wrap=True, markup=False).print(text)
