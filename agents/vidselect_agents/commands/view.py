"""Opening the report of a run, or of two side by side, in the browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from vidselect_agents.commands.options.view import ViewConfig
from vidselect_env.evaluation.comparison import write_comparison
from vidselect_env.evaluation.pages import FILE_NAME
from vidselect_env.experiment.run import flat, read_config

NOT_SETTINGS = ("format", "versions", "commit", "shapes", "class_names")  # of a `config.json`


def run(config: ViewConfig) -> None:
    page = report_of(config.run)
    if config.against is not None:
        report_of(config.against)
        page = page.with_name(f"against-{config.against.resolve().name}.html")
        write_comparison(page, config.run, config.against, settings=differing(config.run, config.against))
    address = page.resolve().as_uri()
    print(address)
    if config.browser:
        webbrowser.open(address)


def report_of(run: Path) -> Path:
    """The report of a run.

    Raises:
        ValueError: no run, or one without.
    """
    read_config(run)
    page = run / FILE_NAME
    if not page.exists():
        raise ValueError(f"{str(run)!r} has no {FILE_NAME}: `vidselect evaluate` makes a folder that has one")
    return page


def differing(first: Path, second: Path) -> dict[str, tuple[object, object]]:
    """The settings of two runs that differ, by name, each with both values."""
    settings = []
    for run in (first, second):
        read = read_config(run)
        settings.append(flat({name: value for name, value in read.items() if name not in NOT_SETTINGS}))
    names = dict.fromkeys([*settings[0], *settings[1]])
    values = {name: tuple(each.get(name, "") for each in settings) for name in names}
    return {name: (mine, theirs) for name, (mine, theirs) in values.items() if mine != theirs}
