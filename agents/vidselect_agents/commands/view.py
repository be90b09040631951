"""Opening the report of a run, which is written first where there is none."""

from __future__ import annotations

import webbrowser

from vidselect_agents.base import FILE_NAME as AGENT
from vidselect_agents.commands.evaluate import load_run
from vidselect_agents.commands.options.view import ViewConfig
from vidselect_agents.commands.report import report
from vidselect_env.evaluation.pages import FILE_NAME
from vidselect_env.experiment.run import read_config


def run(config: ViewConfig) -> None:
    read_config(config.run)
    page = config.run / FILE_NAME
    if config.again or not page.exists():
        if not (config.run / AGENT).exists():
            raise ValueError(f"{str(config.run)!r} holds no agent: there is nothing to report again")
        agent, experiment = load_run(config.run)
        own = experiment.config
        facts = {"reported again": config.run}
        report(config.run, agent, experiment, name=own.agent, seed=own.seed, facts=facts)  # type: ignore[attr-defined]
    address = page.resolve().as_uri()
    print(address)
    if config.browser:
        webbrowser.open(address)
