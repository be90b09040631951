"""Datasets by name: `synthetic` and its kin (`datasets.synthetic`), `folder:PATH`, `csv:PATH`."""

from __future__ import annotations

import dataclasses

from vidselect_env.cache import cache_dir
from vidselect_env.datasets.base import LabelledVideo, VideoDataset
from vidselect_env.datasets.folder import folder_dataset
from vidselect_env.datasets.manifest import manifest_dataset
from vidselect_env.datasets.synthetic import KINDS, synthetic_dataset

__all__ = ["LabelledVideo", "VideoDataset", "load_dataset"]

_READERS = {"folder": folder_dataset, "csv": manifest_dataset}
_SYNTHETIC = {f"synthetic{traits.suffix}": kind for kind, traits in KINDS.items()}


def load_dataset(
    name: str, *, split: str, num_videos: int | None = None, seed: int = 0, progress: bool = True
) -> VideoDataset:
    """One split of a dataset.

    Args:
        name: `synthetic` (untrimmed motion, made on first use), `synthetic-trimmed` (the same actions,
            trimmed), `synthetic-v1` and `synthetic-v1-trimmed` (their first version), `synthetic-speeds` (trimmed,
            still, slow and fast), `folder:PATH` or `csv:PATH`.
        split: `train`, `val`, `test`, or what the dataset has; real ones also know `all`.
        num_videos: how many synthetic training videos to make, half as many for testing and a quarter for
            validation; of a real dataset, keep so many, evenly taken from its list.
        seed: of the synthetic sets.

    Raises:
        ValueError: an unknown name or split, or no video.
    """
    if name in _SYNTHETIC:
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
