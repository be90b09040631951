"""Run an experiment of a paper by its name, or say what it would take.

vidselect train --recipe dsn-ucf101-r3d18 --root UCF101 --dry-run
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidselect_agents.commands.options import read
from vidselect_env.settings import check_settings


@dataclass(frozen=True, kw_only=True)
class RecipeConfig:
    """Which experiment, on which videos.

    Args:
        recipe: its name, or a YAML file of the same form.
        root: the folder that the dataset's videos and annotation files lie under.
        dry_run: say what it takes (videos, clips, bytes, multiply-adds, hours, memory) and what is missing; train
            nothing.
        splits: of the official splits, where not the recipe's.
        set: other options, such as classifier.epochs=10 or train.total-timesteps=6400.
        runs: the folder that the runs' folders are made in.
        device: cpu, cuda, or auto.
        seed: of everything random.
    """

    recipe: str
    root: str
    dry_run: bool = False
    splits: tuple[str, ...] | None = None
    set: tuple[str, ...] = ()
    runs: Path = Path("runs")
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self, at_least={"seed": 0})


def parse(arguments: Sequence[str]) -> RecipeConfig:
    return read(RecipeConfig, arguments, prog="vidselect train", description=__doc__)
