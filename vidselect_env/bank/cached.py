"""Banks by what they are of, built on first use and kept in the cache folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from vidselect_classifiers import ClipClassifier, make_classifier
from vidselect_classifiers.weights import CHECKPOINTS
from vidselect_env.bank import spec
from vidselect_env.bank.bank import ClipBank, open_bank
from vidselect_env.bank.build import bank_spec, build_bank
from vidselect_env.bank.format import MANIFEST
from vidselect_env.bank.spec import SignalSpec, SkimSpec
from vidselect_env.datasets import VideoDataset, load_dataset
from vidselect_env.datasets.synthetic import FORMAT_VERSIONS
from vidselect_env.files import cache_dir, sha256_of

SMALL_BANK_VIDEOS = 32


def cached_bank(
    dataset: VideoDataset,
    classifier: ClipClassifier,
    *,
    num_clips: int | None = 30,
    fields: Sequence[str] = ("logits", "features", "skim"),
    skim: SkimSpec | None = None,
    signals: SignalSpec | None = None,
    crops: int = 1,
    allow_corrupt: bool = False,
    device: str = "cpu",
    batch_size: int | None = None,
    num_workers: int = 2,
    progress: bool = True,
) -> ClipBank:
    """The bank of a dataset and classifier, from the cache folder; built if it is not there."""
    wanted = bank_spec(
        dataset,
        classifier,
        num_clips=num_clips,
        fields=fields,
        skim=skim,
        signals=signals,
        crops=crops,
        allow_corrupt=allow_corrupt,
    )
    return build_bank(
        cache_dir() / "banks" / wanted.sha256()[:16],
        dataset,
        classifier,
        spec=wanted,
        device=device,
        batch_size=batch_size,
        num_workers=num_workers,
        progress=progress,
    )


def resolve_bank(bank: str | ClipBank | None) -> ClipBank:
    """An opened bank; a folder's; or, for None, a small one of the synthetic dataset."""
    if isinstance(bank, ClipBank):
        return bank
    if bank is not None:
        return open_bank(bank)
    folder = cache_dir() / "banks" / f"small-{_small_bank_key()}"
    if (folder / MANIFEST).exists():  # opened without the classifier, whose libraries take a second to import
        opened = open_bank(folder)
        if Path(opened.video_paths[0]).exists():
            return opened
    dataset = load_dataset("synthetic", split="train", num_videos=SMALL_BANK_VIDEOS)
    classifier = make_classifier("tiny_r3d", weights="default")
    return build_bank(folder, dataset, classifier, spec=bank_spec(dataset, classifier))


def _small_bank_key() -> str:
    """Of everything that the small bank is made of; it names its videos by their place."""
    parts = [str(cache_dir()), SMALL_BANK_VIDEOS, spec.FORMAT_VERSION, FORMAT_VERSIONS]
    checkpoint = sha256_of(CHECKPOINTS / "tiny_r3d.safetensors")
    return hashlib.sha256(f"{parts} {checkpoint}".encode()).hexdigest()[:16]
