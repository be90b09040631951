"""Build a bank, what a classifier says about every candidate clip of a split; make one of arrays; look at one.

vidselect bank build --dataset folder:VIDEOS --split train --classifier r3d_18 --weights kinetics400 --out banks/train

vidselect bank import --arrays FEATURES --every-s 0.64 --dataset csv:LIST.csv --split train --out banks/features

vidselect bank head banks/features --out banks/train: fits a linear head, where logits are missing or of other classes

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
        out: the bank's folder, or a URL that fsspec knows: it is then built in the cache folder and copied there.
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
        batch_size: clips the classifier takes at once; auto for as many, up to 64, as have room in half a gigabyte (of
            a GPU, four).
        num_workers: decoding threads.
        deterministic: the same bytes whatever the number of threads: slower.
        engine: local, threads and one device of this machine; or ray, as many machines as there are. The bytes are
            the same.
        address: of a Ray cluster that runs, or auto; None starts a local one for the time of the build.
        classifier_actors: with ray, classifiers; None for one a GPU, or, without, a machine.
        decoders_per_actor: with ray, videos decoded at once for each of them.
    """

    out: str
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
    batch_size: int | Literal["auto"] = "auto"
    num_workers: int = 2
    deterministic: bool = False
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    classifier_actors: int | None = None
    decoders_per_actor: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = ("num_videos", "candidates", "skim_frames", "skim_size", "batch_size", "num_workers")
        of_ray = ("classifier_actors", "decoders_per_actor")
        check_settings(self, at_least=dict.fromkeys((*counts, *of_ray), 1))
        if self.engine == "local" and (self.address or self.classifier_actors):
            raise ValueError("address and classifier_actors are of engine ray, not of local")


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Which arrays, of which videos; no video is opened, and none need be there.

    Args:
        arrays: a folder with NAME.npz a video, or with features/NAME.npy, logits/NAME.npy and times_s/NAME.npy; or one
            .npz of all, with names and, where videos differ, offsets. NAME is a video's own without its suffix.
        out: the bank's folder.
        dataset: what lists the videos with their labels: csv:PATH, folder:PATH, or an official one.
        split: train, test, or what the dataset has.
        every_s: clip i begins at i * every_s seconds, where no times_s says when clips are.
        clip_s: seconds of a clip, where times_s has none; None for up to where the next begins.
        classifier: what made the arrays.
        classifier_gmacs: multiply-adds of one clip, in units of 1e9; with 1 costs are counted in clips.
        on_error: skip a video whose arrays are missing or do not fit, or stop there.
    """

    arrays: Path
    out: Path
    dataset: str
    split: str = "train"
    every_s: float | None = None
    clip_s: float | None = None
    classifier: str = "imported"
    classifier_gmacs: float = 1.0
    on_error: Literal["skip", "raise"] = "skip"

    def __post_init__(self) -> None:
        check_settings(self, above={"every_s": 0, "clip_s": 0, "classifier_gmacs": 0})


@dataclass(frozen=True, kw_only=True)
class FittedHeadConfig:
    """Which bank is given logits of a linear head on its features.

    Args:
        bank: its folder.
        out: the folder of the bank that is written; the head is kept in it.
        head: of an earlier bank, to be used as it is (for the test split); None fits one on this bank, whose videos
            are then judged by heads of other folds.
        folds: of the videos, for a head that is fitted.
    """

    bank: tyro.conf.Positional[Path]
    out: Path
    head: Path | None = None
    folds: int = 5

    def __post_init__(self) -> None:
        check_settings(self, at_least={"folds": 2})


@dataclass(frozen=True)
class ShowConfig:
    """Which bank.

    Args:
        bank: its folder, or a URL that fsspec knows.
        verify: read everything, and compare every shard with the hash that it was written with.
    """

    bank: tyro.conf.Positional[str]
    verify: bool = False


BankConfig = BuildConfig | ImportConfig | FittedHeadConfig | ShowConfig


def parse(arguments: Sequence[str]) -> BankConfig:
    commands: dict[str, Any] = {
        "build": BuildConfig,
        "import": ImportConfig,
        "head": FittedHeadConfig,
        "show": ShowConfig,
    }
    cli = tyro.extras.subcommand_cli_from_dict
    return read(commands, arguments, cli=cli, prog="vidselect bank", description=__doc__)
