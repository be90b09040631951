"""Build a bank, what a classifier says about every candidate clip of a dataset's split, or look at one.

vidselect bank build --dataset folder:VIDEOS --split train --classifier r3d_18 --weights kinetics400 --out banks/train

vidselect bank show banks/train --verify
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from vidselect_agents.commands.options import read
from vidselect_env.fitting.options import ClassifierOptions
from vidselect_env.settings import check_settings


@dataclass(frozen=True, kw_only=True)
class BuildConfig(ClassifierOptions):
    """What the bank is made of.

    Args:
        out: the bank's folder.
        dataset: synthetic, folder:PATH or csv:PATH.
        split: train, test, or what the dataset has.
        num_videos: synthetic training videos, or at most so many of a real split.
        candidates: clips laid evenly on each video; None lays them end to end, as many as fit.
        crops: of each clip that the classifier sees: 1, the centre, or 10.
        fields: what is stored of each candidate: logits, features, skim, vectors, residual, intra, mel.
        skim_frames: frames of the cheap look at a candidate.
        skim_size: its height and width, in pixels.
        on_error: skip a video that cannot be read, or stop there.
        batch_size: clips the classifier takes at once.
        num_workers: decoding threads.
    """

    out: Path
    dataset: str = "synthetic"
    split: str = "train"
    num_videos: int | None = None
    candidates: int | None = 30
    crops: Literal[1, 10] = 1
    fields: tuple[str, ...] = ("logits", "features", "skim")
    skim_frames: int = 8
    skim_size: int = 32
    on_error: Literal["skip", "raise"] = "skip"
    batch_size: int = 32
    num_workers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = ("num_videos", "candidates", "skim_frames", "skim_size", "batch_size", "num_workers")
        check_settings(self, at_least=dict.fromkeys(counts, 1))


@dataclass(frozen=True)
class ShowConfig:
    """Which bank.

    Args:
        bank: its folder.
        verify: read everything, and compare every shard with the hash that it was written with.
    """

    bank: tyro.conf.Positional[Path]
    verify: bool = False


def parse(arguments: Sequence[str]) -> BuildConfig | ShowConfig:
    commands: dict[str, Any] = {"build": BuildConfig, "show": ShowConfig}
    cli = tyro.extras.subcommand_cli_from_dict
    return read(commands, arguments, cli=cli, prog="vidselect bank", description=__doc__)
