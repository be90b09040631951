"""Opening the report of a run in the browser."""

from __future__ import annotations

import webbrowser

from vidselect_agents.commands.options.view import ViewConfig
from vidselect_env.evaluation.pages import FILE_NAME
from vidselect_env.experiment.run import read_config


def run(config: ViewConfig) -> None:
    read_config(config.run)
    page = config.run / FILE_NAME
    if not page.exists():
        raise ValueError(f"{str(config.run)!r} has no {FILE_NAME}: `vidselect evaluate` makes a folder that has one")
    address = page.resolve().as_uri()
    print(address)
    if config.browser:
        webbrowser.open(address)
