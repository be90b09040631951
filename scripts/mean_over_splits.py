"""The mean over a dataset's official splits, of one run each.

    python scripts/mean_over_splits.py runs/dsn-split1 runs/dsn-split2 runs/dsn-split3

Every split counts the same. The runs must have the same selectors.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

from vidselect_env.evaluation.splits import mean_over_splits, read_results
from vidselect_env.evaluation.table import markdown_table


def main(runs: tyro.conf.Positional[tuple[Path, ...]]) -> None:
    """Print the table.

    Args:
        runs: their folders, each with its `results.csv`.
    """
    tables = [read_results(run / "results.csv") for run in runs]
    sys.stdout.write(markdown_table(mean_over_splits(tables)) + "\n")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
