"""Report a saved run on its own test split, or on something else.

vidselect evaluate runs/dsn-... --sections 4
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class EvaluateConfig:
    """Which run, on what.

    Args:
        run: its folder.
        sections: M, where another.
        kept: K, where another.
        dataset: other videos; of other classes, if the agent never asks for their names.
        classifier: another; with a fitted head, one is fitted for it.
        weights: its weights.
        test_split: another split.
        runs: the folder that the report's folder is made in.
    """

    run: tyro.conf.Positional[Path]
    sections: int | None = None
    kept: int | None = None
    dataset: str | None = None
    classifier: str | None = None
    weights: str | None = None
    test_split: str | None = None
    runs: Path = Path("runs")


def parse(arguments: Sequence[str]) -> EvaluateConfig:
    return tyro.cli(EvaluateConfig, args=arguments, prog="vidselect evaluate", description=__doc__)
