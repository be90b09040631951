"""The mean over a dataset's official splits, of one run each.

vidselect mean runs/dsn-split1 runs/dsn-split2 runs/dsn-split3

Every split counts the same. The runs must have the same selectors.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from vidselect_agents.commands import door, parse
from vidselect_env.evaluation.splits import mean_over_splits, read_results
from vidselect_env.evaluation.table import markdown_table


@dataclass(frozen=True)
class MeanConfig:
    """Which runs.

    Args:
        runs: their folders, each with its `results.csv`.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]


@door
def main(arguments: Sequence[str]) -> None:
    config = parse(MeanConfig, arguments, description=__doc__)
    tables = [read_results(run / "results.csv") for run in config.runs]
    sys.stdout.write(markdown_table(mean_over_splits(tables)) + "\n")
