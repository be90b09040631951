"""Datasets by name: `synthetic` and its kin (`datasets.synthetic`), `folder:PATH`, `csv:PATH`, `grid:ROOT@TASK`.

Or by their authors' own files, such as `ucf101:ROOT@1`: `docs/datasets.md` has a table of these. `flow:METHOD:DATASET`
is the optical flow of any of them.
"""

from __future__ import annotations

import dataclasses
import os
from functools import partial

from vidselect_env.datasets.base import LabelledVideo, VideoDataset
from vidselect_env.datasets.flow import flow_dataset, is_flow, parse_flow
from vidselect_env.datasets.folder import folder_dataset
from vidselect_env.datasets.grid import grid_dataset
from vidselect_env.datasets.manifest import manifest_dataset
from vidselect_env.datasets.official import OFFICIAL, official_dataset
from vidselect_env.datasets.synthetic import KINDS, synthetic_dataset
from vidselect_env.files import cache_dir
from vidselect_env.stores import is_url

__all__ = ["LabelledVideo", "VideoDataset", "anchored", "load_dataset"]

_READERS = {"folder": folder_dataset, "csv": manifest_dataset, "grid": grid_dataset} | {
    kind: partial(official_dataset, kind=kind) for kind in OFFICIAL
}
_SYNTHETIC = {f"synthetic{traits.suffix}": kind for kind, traits in KINDS.items()}


def anchored(name: str) -> str:
    """A dataset's name with the whole path in it, so that it is the same from every folder.

    Example: `folder:videos/`, in the working folder `/data` -> `folder:/data/videos`.
    """
    if is_flow(name):
        inner = parse_flow(name)[1]
        return name.removesuffix(inner) + anchored(inner)
    kind, _, path = name.partition(":")
    if kind not in _READERS or not path or is_url(path):
        return name
    return f"{kind}:{os.path.abspath(os.path.expanduser(path))}"


def load_dataset(
    name: str, *, split: str, num_videos: int | None = None, seed: int = 0, progress: bool = True
) -> VideoDataset:
    """One split of a dataset.

    Args:
        name: `synthetic` (untrimmed motion, made on first use), `synthetic-trimmed` (the same actions,
            trimmed), `synthetic-v1` and `synthetic-v1-trimmed` (their first version), `synthetic-speeds` (trimmed,
            still, slow and fast), `folder:PATH`, `csv:PATH`, `grid:ROOT@TASK`, or one by its official files,
            `ucf101:ROOT@2`: the names are those of `official.OFFICIAL`. `flow:dis:` before a name: the optical flow of
            its videos (`datasets.flow`).
        split: `train`, `test`, or what the dataset has; real ones also know `all`. To choose settings by: `val`, and
            `fit` to learn on meanwhile. Where the data have no `val`, that is a fifth of `train` by a hash of the
            paths, and `fit` the rest of it; where they have one, `fit` is `train`.
        num_videos: how many synthetic training videos to make, half as many for testing and a quarter for
            validation; of a real dataset, keep so many, evenly taken from its list.
        seed: of the synthetic sets.

    Raises:
        ValueError: an unknown name or split, or no video.
    """
    if is_flow(name):
        source = load_dataset(parse_flow(name)[1], split=split, num_videos=num_videos, seed=seed, progress=progress)
        return flow_dataset(name, source, progress=progress)
    if name in _SYNTHETIC:
        split = "train" if split == "fit" else split
        return synthetic_dataset(
            split=split,
            kind=_SYNTHETIC[name],
            seed=seed,
            cache_dir=cache_dir(),
            progress=progress,
            num_train=num_videos,
            num_val=None if num_videos is None else max(num_videos // 4, 1),
            num_test=None if num_videos is None else max(num_videos // 2, 1),
        )
    kind, _, path = name.partition(":")
    if kind not in _READERS or not path:
        raise ValueError(
            f"unknown dataset {name!r}: known are {', '.join(_SYNTHETIC)}, "
            + ", ".join(f"{reader}:PATH" for reader in _READERS)
        )
    dataset = _READERS[kind](path, split=split)
    if num_videos is None or num_videos >= len(dataset):
        return dataset
    kept = tuple(dataset.videos[i * len(dataset) // num_videos] for i in range(num_videos))
    return dataclasses.replace(dataset, videos=kept)
