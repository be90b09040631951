"""Telling what this machine has for the package."""

from __future__ import annotations

import dataclasses
import json
import sys

from rich.console import Console
from rich.markup import escape

from vidselect_agents.commands.options.doctor import DoctorConfig
from vidselect_env.experiment.health import Finding, examine


def run(config: DoctorConfig) -> None:
    """Print what was found; exit status 1 where something is missing that nothing works without."""
    found = examine()
    if config.json:
        told = {topic: [dataclasses.asdict(each) for each in group] for topic, group in found.items()}
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
    else:
        show(found)
    if any(each.fails for group in found.values() for each in group):
        raise SystemExit(1)


def show(found: dict[str, list[Finding]]) -> None:
    """A line a finding: `!!` where nothing works without it, `--` where it is only missing."""
    console = Console(highlight=False, soft_wrap=True)
    for topic, group in found.items():
        console.print(f"[bold]{topic}[/bold]")
        width = max((len(each.name) for each in group), default=0)
        for each in group:
            mark = "[red]!![/red]" if each.fails else "ok" if each.is_well else "[yellow]--[/yellow]"
            console.print(f"  {mark} {each.name:{width}}  {escape(each.value)}")
