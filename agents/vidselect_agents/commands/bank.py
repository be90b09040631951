"""Build a bank, what a classifier says about every candidate clip of a dataset's split, or look at one.

    vidselect bank build --dataset folder:VIDEOS --split train --classifier r3d_18 --weights kinetics400 \
        --out banks/train
    vidselect bank show banks/train --verify
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console

from vidselect_agents.commands import door, parse
from vidselect_env.bank import BankSpec, ClipBank, SkimSpec, bank_spec, build_bank, open_bank
from vidselect_env.datasets import VideoDataset, load_dataset
from vidselect_env.evaluation.adaptive import adaptive_cost, describe
from vidselect_env.fitting.options import ClassifierOptions
from vidselect_env.seeding import deterministic
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
        allow_corrupt: take damaged frames as they come, rather than skip their videos.
        on_error: skip a video that cannot be read, or stop there.
        batch_size: clips the classifier takes at once.
        num_workers: decoding threads.
        deterministic: the same bytes whatever the number of threads: slower.
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
    allow_corrupt: bool = False
    on_error: Literal["skip", "raise"] = "skip"
    batch_size: int = 32
    num_workers: int = 2
    deterministic: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = ("num_videos", "candidates", "skim_frames", "skim_size", "batch_size", "num_workers")
        check_settings(self, at_least=dict.fromkeys(counts, 1))

    def load(self) -> VideoDataset:
        """The split that the bank is of."""
        return load_dataset(self.dataset, split=self.split, num_videos=self.num_videos)

    def spec(self, dataset: VideoDataset, classifier: object) -> BankSpec:
        """Of the bank of this dataset and classifier."""
        size = (self.skim_size, self.skim_size)
        return bank_spec(
            dataset,
            classifier,  # type: ignore[arg-type]
            num_clips=self.candidates,
            fields=self.fields,
            crops=self.crops,
            allow_corrupt=self.allow_corrupt,
            skim=SkimSpec(num_frames=self.skim_frames, resize=size, crop=size),
        )


@dataclass(frozen=True)
class ShowConfig:
    """Which bank.

    Args:
        bank: its folder.
        verify: read everything, and compare every shard with the hash that it was written with.
    """

    bank: tyro.conf.Positional[Path]
    verify: bool = False


@door
def main(arguments: Sequence[str]) -> None:
    commands: dict[str, Any] = {"build": BuildConfig, "show": ShowConfig}
    chosen = parse(commands, arguments, cli=tyro.extras.subcommand_cli_from_dict, description=__doc__)
    if isinstance(chosen, BuildConfig):
        build(chosen)
    else:
        _print(open_bank(chosen.bank, verify=chosen.verify).summary())


@door
def build_main(arguments: Sequence[str]) -> None:
    """`vidselect bank build` by itself."""
    build(parse(BuildConfig, arguments, description=__doc__))


def build(config: BuildConfig) -> ClipBank:
    """Build and describe it."""
    dataset, classifier = config.load(), config.make_classifier()
    spec = config.spec(dataset, classifier)
    with deterministic(config.deterministic):
        bank = build_bank(
            config.out,
            dataset,
            classifier,
            spec=spec,
            batch_size=config.batch_size,
            num_workers=config.num_workers,
            device=config.torch_device,
            on_error=config.on_error,
        )
    _print(bank.summary())
    if spec.bins_gmacs:
        _print(f"cost        {describe(adaptive_cost(bank))}")
    return bank


def _print(text: str) -> None:
    Console(highlight=False, soft_wrap=True, markup=False, emoji=False).print(text)
