"""Report a saved run on its own test split, or on something else.

vidselect evaluate runs/dsn-... --sections 4

vidselect evaluate --fuse runs/RGB runs/FLOW --weights 1 1.5: what several runs say together; --fuse --help lists more
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from vidselect_agents.commands.options import read
from vidselect_env.settings import check_settings


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

    def __post_init__(self) -> None:
        check_settings(self, at_least=dict.fromkeys(("sections", "kept", "max_clips"), 1) | {"price": 0})


@dataclass(frozen=True, kw_only=True)
class FuseConfig:
    """Which runs.

    Args:
        fuse: their folders, two or more. A run on flow:METHOD:DATASET says of its videos what one on DATASET says.
        weights: of their probabilities, one for each run; None weighs all alike.
        test_split: another split.
        runs: the folder that the report's folder is made in.
        trust: import an agent or classifier that a run names as package.module:Name.
    """

    fuse: tuple[Path, ...]
    weights: tuple[float, ...] | None = None
    test_split: str | None = None
    runs: Path = Path("runs")
    trust: bool = False

    def __post_init__(self) -> None:
        if len(self.fuse) < 2:
            raise ValueError(f"--fuse takes two runs or more, not {len(self.fuse)}")
        if self.weights is not None and len(self.weights) != len(self.fuse):
            raise ValueError(
                f"--weights ({len(self.weights)}) must be as many as the runs of --fuse ({len(self.fuse)})"
            )


def parse(arguments: Sequence[str]) -> EvaluateConfig | FuseConfig:
    if any(argument.partition("=")[0] == "--fuse" for argument in arguments):
        return read(FuseConfig, arguments, prog="vidselect evaluate", description=__doc__)
    return read(EvaluateConfig, arguments, prog="vidselect evaluate", description=__doc__)
