"""Open the report of a run in the browser: the table, accuracy against cost, and every test video.

vidselect view runs/dsn-...

A run that was made before there were such reports is evaluated again first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class ViewConfig:
    """Which run.

    Args:
        run: its folder.
        browser: open a browser window; without it only the report's address is printed.
        again: write the report again.
    """

    run: tyro.conf.Positional[Path]
    browser: bool = True
    again: bool = False


def parse(arguments: Sequence[str]) -> ViewConfig:
    return tyro.cli(ViewConfig, args=arguments, prog="vidselect view", description=__doc__)
