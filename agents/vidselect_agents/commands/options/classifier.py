"""Train a clip classifier on a dataset's videos, or only a linear head on its frozen features.

vidselect classifier --dataset folder:VIDEOS --classifier r3d_18 --weights kinetics400

vidselect classifier --dataset csv:LIST.csv --classifier i3d --weights I3D --head-only

vidselect classifier --resume runs/classifier-...

torchrun --nproc-per-node 4 scripts/train_classifier.py --dataset folder:VIDEOS --batch-size 8
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from vidselect_agents.commands.options import read
from vidselect_env.fitting.fit_config import FitConfig
from vidselect_env.fitting.options import ClassifierOptions
from vidselect_env.settings import LARGEST_SEED, check_settings


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(ClassifierOptions):
    """Which classifier is trained on what; training starts from its weights, if it has any.

    Args:
        dataset: synthetic-trimmed, synthetic-speeds, synthetic, folder:PATH or csv:PATH.
        train_split: the split to learn on.
        test_split: the split to evaluate on.
        num_videos: synthetic training videos, or at most so many of a real split.
        head_only: leave the network as it is and fit its last layer, by logistic regression.
        clips: with head_only, clips of each video that the head is fitted on.
        l2: with head_only, weight of the squared norm of the head.
        seed: of everything random.
        deterministic: the same bytes whatever the number of threads: slower.
        runs: the folder that the run's folder is made in.
        resume: a run that was stopped: it goes on with its own settings, whatever else is given.
        trust: import a classifier that the resumed run names as package.module:builder.
    """

    dataset: str = "synthetic-trimmed"
    train_split: str = "train"
    test_split: str = "test"
    num_videos: int | None = None
    weights: str | None = None
    head_only: bool = False
    clips: int = 10
    l2: float = 1e-2
    seed: int = 0
    deterministic: bool = False
    runs: Path = Path("runs")
    resume: Path | None = None
    trust: bool = False
    fit: tyro.conf.OmitArgPrefixes[FitConfig] = field(default_factory=FitConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, at_least={"num_videos": 1, "clips": 1, "l2": 0, "seed": 0}, at_most={"seed": LARGEST_SEED})


def parse(arguments: Sequence[str]) -> ClassifierConfig:
    return read(ClassifierConfig, arguments, prog="vidselect classifier", description=__doc__)
