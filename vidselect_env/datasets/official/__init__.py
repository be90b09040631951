"""Datasets as their authors distribute them: `NAME:ROOT` or `NAME:ROOT@VARIANT`, such as `ucf101:ROOT@2`.

ROOT holds the videos and the annotation files, each by its official name, in folders of any arrangement: what lies
there is found by one walk. Lists that contradict themselves are errors; videos that are not on the disk are left
out, counted and named. `docs/datasets.md` has a table of all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from vidselect_env.datasets.base import VideoDataset
from vidselect_env.datasets.official.activitynet import read_activitynet
from vidselect_env.datasets.official.kinetics import read_kinetics, read_mini_kinetics
from vidselect_env.datasets.official.listing import Listing, Report, assemble
from vidselect_env.datasets.official.something import read_jester, read_something_v1, read_something_v2
from vidselect_env.datasets.official.sports import FOLDS, read_mini_sports, read_sports1m
from vidselect_env.datasets.official.thumos import read_thumos14
from vidselect_env.datasets.official.tree import Tree, walk
from vidselect_env.datasets.official.ucf_hmdb import read_hmdb51, read_ucf101

__all__ = ["OFFICIAL", "official_dataset", "official_splits"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A dataset's reader, and which variants of it there are, the default first; none where there is one only.

    frame_folders: its videos may be folders of pictures.
    """

    read: Callable[[Tree, str, Report], Listing]
    variants: tuple[str, ...] = ()
    frame_folders: bool = False


OFFICIAL = {
    "ucf101": Family(read=read_ucf101, variants=("1", "2", "3")),
    "hmdb51": Family(read=read_hmdb51, variants=("1", "2", "3")),
    "thumos14": Family(read=read_thumos14, variants=("101", "20")),
    "activitynet": Family(read=read_activitynet, variants=("1.3", "1.2")),
    "kinetics400": Family(read=partial(read_kinetics, 400)),
    "kinetics600": Family(read=partial(read_kinetics, 600)),
    "minikinetics": Family(read=read_mini_kinetics),
    "something-v1": Family(read=read_something_v1, frame_folders=True),
    "something-v2": Family(read=read_something_v2),
    "jester": Family(read=read_jester, frame_folders=True),
    "sports1m": Family(read=read_sports1m, variants=("original", *FOLDS)),
    "minisports": Family(read=read_mini_sports),
}


def official_dataset(path: str, *, kind: str, split: str) -> VideoDataset:
    """One split of a dataset by its official annotation files.

    Args:
        path: `ROOT`, or `ROOT@VARIANT`: the number of the official split of UCF101 and HMDB51, and so on.
        kind: a name of `OFFICIAL`.
        split: `train`, `val` or `test`, as far as the dataset has them with labels, or `all`.

    Raises:
        ValueError: no such folder, variant, annotation file or split; a line that is not of the official form; lists
            that contradict themselves; or no video on the disk.
    """
    family = OFFICIAL[kind]
    root, variant = _variant(path, kind=kind, variants=family.variants)
    name = f"{kind}:{root}@{variant}" if variant else f"{kind}:{root}"
    tree = walk(root, frame_folders=family.frame_folders)
    report = Report()
    listing = family.read(tree, variant, report)
    return assemble(listing, tree, name=name, split=split, report=report)


def official_splits(name: str) -> tuple[str, ...]:
    """The dataset strings of all official splits, to be averaged over.

    Example: `ucf101:ROOT` -> `ucf101:ROOT@1`, `ucf101:ROOT@2`, `ucf101:ROOT@3`.

    Raises:
        ValueError: results of this dataset are not averaged over splits.
    """
    kind, _, path = name.partition(":")
    if kind not in ("ucf101", "hmdb51"):
        raise ValueError(f"{name!r} has no official splits to average over: ucf101:ROOT and hmdb51:ROOT have")
    variants = OFFICIAL[kind].variants
    root, _ = _variant(path, kind=kind, variants=variants)
    return tuple(f"{kind}:{root}@{number}" for number in variants)


def _variant(path: str, *, kind: str, variants: tuple[str, ...]) -> tuple[str, str]:
    """`ROOT@VARIANT` -> (`ROOT`, `VARIANT`); an `@` of the folder's own name stays in it."""
    root, at, variant = path.rpartition("@")
    if not at or os.sep in variant or os.path.isdir(os.path.expanduser(path)):
        return path, variants[0] if variants else ""
    if variant not in variants:
        known = f"there are {', '.join(variants)}" if variants else "it has none"
        raise ValueError(f"unknown variant {variant!r} of {kind}: {known}")
    return root, variant
