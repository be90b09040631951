"""Open the report of a run in the browser: the table, accuracy against cost, and every test video.

vidselect view runs/dsn-...
"""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from vidselect_agents.commands import door, parse
from vidselect_env.evaluation.pages import FILE_NAME
from vidselect_env.experiment.run import read_config


@dataclass(frozen=True)
class ViewConfig:
    """Which run.

    Args:
        run: its folder.
        browser: open a browser window; without it only the report's address is printed.
    """

    run: tyro.conf.Positional[Path]
    browser: bool = True


@door
def main(arguments: Sequence[str]) -> None:
    config = parse(ViewConfig, arguments, description=__doc__)
    read_config(config.run)
    page = config.run / FILE_NAME
    if not page.exists():
        raise ValueError(f"{str(config.run)!r} has no {FILE_NAME}: `vidselect evaluate` makes a folder that has one")
    address = page.resolve().as_uri()
    print(address)
    if config.browser:
        webbrowser.open(address)
