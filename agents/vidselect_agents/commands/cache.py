"""Listing and pruning the cache folder."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vidselect_agents.commands.options.cache import CacheConfig, ListConfig
from vidselect_env.experiment.cache import DAY_S, Kept, cached, prunable, prune
from vidselect_env.experiment.health import size_text
from vidselect_env.files import cache_dir


def run(config: CacheConfig) -> None:
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
    Console(highlight=False, soft_wrap=True, markup=False, emoji=False).print(text)
