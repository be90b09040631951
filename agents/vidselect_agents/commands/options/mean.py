"""The mean over a dataset's official splits, of one run each.

vidselect mean runs/dsn-split1 runs/dsn-split2 runs/dsn-split3

Every split counts the same. The runs must have the same selectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from vidselect_agents.commands.options import read


@dataclass(frozen=True)
class MeanConfig:
    """Which runs.

    Args:
        runs: their folders, each with its `results.csv`.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError("no run is given: name at least one folder")


def parse(arguments: Sequence[str]) -> MeanConfig:
    return read(MeanConfig, arguments, prog="vidselect mean", description=__doc__)
