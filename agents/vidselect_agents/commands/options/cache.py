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

from vidselect_agents.commands.options import read
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


CacheConfig = ListConfig | PruneConfig


def parse(arguments: Sequence[str]) -> CacheConfig:
    commands: dict[str, Any] = {"list": ListConfig, "prune": PruneConfig}
    from_dict = tyro.extras.subcommand_cli_from_dict
    return read(commands, arguments, cli=from_dict, prog="vidselect cache", description=__doc__)
