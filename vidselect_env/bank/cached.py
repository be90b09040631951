"""Banks by what they are of, built on first use and kept in the cache folder."""

from __future__ import annotations

from vidselect_classifiers import ClipClassifier, make_classifier
from vidselect_env.bank.build import bank_spec, build_bank
from vidselect_env.bank.read import ClipBank, open_bank
from vidselect_env.bank.spec import SkimSpec
from vidselect_env.cache import cache_dir
from vidselect_env.datasets import VideoDataset, load_dataset

SMALL_BANK_VIDEOS = 32


def cached_bank(
    dataset: VideoDataset,
    classifier: ClipClassifier,
    *,
    num_clips: int | None = 30,
    skim: SkimSpec | None = None,
    device: str = "cpu",
    batch_size: int = 64,
    num_workers: int = 2,
    progress: bool = True,
) -> ClipBank:
    """The bank of a dataset and classifier with all fields, from the cache folder; built if it is not there."""
    spec = bank_spec(dataset, classifier, num_clips=num_clips, skim=skim)
    return build_bank(
        cache_dir() / "banks" / spec.sha256()[:16],
        dataset,
        classifier,
        spec=spec,
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
    dataset = load_dataset("synthetic", split="train", num_videos=SMALL_BANK_VIDEOS)
    return cached_bank(dataset, make_classifier("tiny_r3d", weights="default"))
