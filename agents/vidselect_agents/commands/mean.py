"""Printing the mean over a dataset's official splits."""

from __future__ import annotations

import sys

from vidselect_agents.commands.options.mean import MeanConfig
from vidselect_env.evaluation.splits import mean_over_splits, read_results
from vidselect_env.evaluation.table import markdown_table


def run(config: MeanConfig) -> None:
    tables = [read_results(run / "results.csv") for run in config.runs]
    sys.stdout.write(markdown_table(mean_over_splits(tables)) + "\n")
