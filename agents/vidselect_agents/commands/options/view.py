"""Open the report of a run in the browser: the table, accuracy against cost, and every test video.

vidselect view runs/dsn-...

vidselect view runs/dsn-... runs/ranking-...: both side by side, video by video
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from vidselect_agents.commands.options import read


@dataclass(frozen=True)
class ViewConfig:
    """Which run, or which two.

    Args:
        run: its folder.
        against: another run's folder; the page of both is written beside the first one's report.
        browser: open a browser window; without it only the report's address is printed.
    """

    run: tyro.conf.Positional[Path]
    against: tyro.conf.Positional[Path | None] = None
    browser: bool = True


def parse(arguments: Sequence[str]) -> ViewConfig:
    return read(ViewConfig, arguments, prog="vidselect view", description=__doc__)
