"""Report a saved run on its own test split, or on something else.

vidselect evaluate runs/dsn-... --sections 4
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from vidselect_agents.commands.options import read


@dataclass(frozen=True)
class EvaluateConfig:
    """Which run, on what.

    Args:
        run: its folder.
        sections: M, where another.
        kept: K, where another.
        price: of a clip of a search, where another.
        max_clips: that a search may classify, where others.
        dataset: other videos; of other classes, if the agent never asks for their names.
        classifier: another; with a fitted head, one is fitted for it.
        weights: its weights.
        test_split: another split.
        runs: the folder that the report's folder is made in.
        trust: import an agent or classifier that the run names as package.module:Name.
    """

    run: tyro.conf.Positional[Path]
    sections: int | None = None
    kept: int | None = None
    price: float | None = None
    max_clips: int | None = None
    dataset: str | None = None
    classifier: str | None = None
    weights: str | None = None
    test_split: str | None = None
    runs: Path = Path("runs")
    trust: bool = False


def parse(arguments: Sequence[str]) -> EvaluateConfig:
    return read(EvaluateConfig, arguments, prog="vidselect evaluate", description=__doc__)
