"""See what this machine has for the package: versions, devices, codecs, cache, and what is missing for which extra.

vidselect doctor
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from vidselect_agents.commands import door, parse
from vidselect_env.experiment.health import Finding, examine


@dataclass(frozen=True)
class DoctorConfig:
    """How it is told.

    Args:
        json: as JSON, for programs.
    """

    json: bool = False


@door
def main(arguments: Sequence[str]) -> None:
    run(parse(DoctorConfig, arguments, description=__doc__))


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
