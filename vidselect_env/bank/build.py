"""Building a bank: one decode pass a video, the classifier kept busy, nothing lost when it is killed.

Shapes: L candidates of a video, T frames a clip, B clips a batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vidselect_classifiers import ClipClassifier, weights_sha256
from vidselect_classifiers.memory import clips_at_once
from vidselect_classifiers.sgs import gmacs_by_bins
from vidselect_env.bank import format
from vidselect_env.bank.bank import ClipBank, open_bank
from vidselect_env.bank.progress import remove
from vidselect_env.bank.remote import claim_store, publish
from vidselect_env.bank.shards import BuildBar, Engine, OnError, ThisProcess
from vidselect_env.bank.spec import SIGNALS, BankError, BankSpec, SignalSpec, SkimSpec
from vidselect_env.datasets.base import LabelledVideo, VideoDataset
from vidselect_env.datasets.flow import is_flow
from vidselect_env.files import cache_dir, clear_leftovers, locked, writable_folder
from vidselect_env.stores import is_url
from vidselect_env.video.clips import ClipGrid


def bank_spec(
    dataset: VideoDataset,
    classifier: ClipClassifier,
    *,
    num_clips: int | None = 30,
    fields: Sequence[str] = ("logits", "features", "skim"),
    skim: SkimSpec | None = None,
    signals: SignalSpec | None = None,
    crops: int = 1,
    allow_corrupt: bool = False,
) -> BankSpec:
    """The spec of the bank of this dataset and classifier; the clips are the classifier's own geometry.

    A classifier whose clips cost different amounts adds the field `num_bins`; one that gives no features leaves out
    the field of that name.
    """
    check_modality(dataset, classifier)
    bins_gmacs = gmacs_by_bins(classifier)
    fields = tuple(name for name in fields if name != "features" or classifier.has_features)
    fields = (*fields, "num_bins") if bins_gmacs else tuple(fields)
    return BankSpec(
        dataset=dataset.name,
        split=dataset.split,
        dataset_fingerprint=dataset.fingerprint(),
        root=dataset.root,
        class_names=dataset.class_names,
        weights_sha256=weights_sha256(classifier),
        **clips_of(classifier, num_clips=num_clips),
        fields=fields,
        skim=(skim or SkimSpec()) if "skim" in fields else None,
        signals=(signals or SignalSpec()) if set(SIGNALS) & set(fields) else None,
        bins_gmacs=bins_gmacs,
        crops=crops,
        allow_corrupt=allow_corrupt,
    )


def check_modality(dataset: VideoDataset, classifier: ClipClassifier) -> None:
    """See that a classifier of flow is shown flow, and one of colours none.

    Raises:
        ValueError: it is the other way round.
    """
    shown = "flow" if is_flow(dataset.name) else "rgb"
    if classifier.geometry.modality != shown:
        raise ValueError(
            f"classifier {classifier.label!r} is of modality {classifier.geometry.modality}, and the videos of "
            f"{dataset.name!r} are {shown}: flow:METHOD:DATASET and --modality flow go together"
        )


def clips_of(classifier: ClipClassifier, *, num_clips: int | None) -> dict[str, Any]:
    """The fields of a `BankSpec` that say which clips a classifier sees, and what one costs."""
    geometry = classifier.geometry
    return {
        "classifier": classifier.name,
        "classifier_gmacs": classifier.gmacs_per_clip(),
        "clip_resize": geometry.resize,
        "clip_crop": geometry.crop,
        "clip_mean": geometry.mean,
        "clip_std": geometry.std,
        "grid": ClipGrid(num_clips=num_clips, num_frames=geometry.num_frames, frame_stride=geometry.frame_stride),
    }


def build_bank(
    folder: str | Path,
    dataset: VideoDataset,
    classifier: ClipClassifier,
    *,
    spec: BankSpec,
    batch_size: int | None = None,
    num_workers: int = 2,
    shard_videos: int = 64,
    device: str | torch.device = "cpu",
    on_error: OnError = "skip",
    progress: bool = True,
    engine: Engine | None = None,
) -> ClipBank:
    """Build the bank in `folder`, or finish it, or just open it if it is whole.

    Videos are decoded by threads a little ahead of the classifier. A shard of `shard_videos` videos is written aside
    and renamed, and what is done of one is written beside it every few seconds, so that a kill loses no more than
    these and a batch. Batches never cross shards, and are the same when a shard is gone on with, so that a resumed
    build gives the same bytes as an unbroken one. A second builder of the folder waits.

    Args:
        folder: or a URL that fsspec knows: the bank is then built in the cache folder, and copied there whole.
        spec: from `bank_spec` of this dataset and classifier.
        batch_size: clips the classifier takes at once; None for as many as `clips_at_once` says.
        num_workers: decoding threads.
        on_error: `skip` a video that cannot be read, listing it in the bank; or `raise` its `VideoError`.
        engine: who makes the shards that are missing: this process, with `num_workers` and `device`, or another such
            as `vidselect_env.bank.on_ray.RayEngine`. The bytes are the same.

    Raises:
        BankError: the folder holds a bank of something else, or a damaged shard.
        VideoError: with `on_error="raise"`.
        PermissionError: the folder cannot be written to.
        StoreError: the store of a URL fails; what was built is kept, and copied by the next try.
    """
    batch_size = clips_at_once(classifier, device) if batch_size is None else batch_size
    for name, value in (("batch_size", batch_size), ("num_workers", num_workers), ("shard_videos", shard_videos)):
        if value < 1:
            raise ValueError(f"{name} ({value}) must be at least 1")
    if isinstance(folder, str) and is_url(folder):
        claim_store(folder, spec)
        made = cache_dir() / "banks" / spec.sha256()[:16]
        options: dict[str, Any] = {"batch_size": batch_size, "num_workers": num_workers, "shard_videos": shard_videos}
        options |= {"device": device, "on_error": on_error, "progress": progress, "engine": engine}
        build_bank(made, dataset, classifier, spec=spec, **options)
        publish(made, folder)
        return _opened(folder, spec)
    folder = Path(folder)
    if is_whole(folder, spec):
        return _opened(folder, spec)
    writable_folder(folder)
    with locked(folder / format.LOCK, waiting=f"another process builds {str(folder)!r}: waiting for it"):
        claim_folder(folder, spec)
        clear_leftovers(folder)  # of a builder that was killed: the lock says that none is at work
        groups = [dataset.videos[i : i + shard_videos] for i in range(0, len(dataset), shard_videos)]
        files = [format.shard_file(folder, number) for number in range(len(groups))]
        todo = [(file, group) for file, group in zip(files, groups, strict=True) if not file.exists()]
        if todo:
            engine = engine or ThisProcess(num_workers=num_workers, device=device)
            with BuildBar(sum(len(group) for _, group in todo), shown=progress) as bar:
                engine(todo, classifier, spec=spec, batch_size=batch_size, on_error=on_error, bar=bar)
        for piece in folder.glob("progress-*.safetensors"):  # of a build that was killed when its shard was whole
            remove(piece)
        clear_leftovers(folder)  # of workers that the engine lost
        if todo or not (folder / format.MANIFEST).exists():
            shards = [_checked(file, group, spec) for file, group in zip(files, groups, strict=True)]
            format.write_manifest(folder, spec, shards)
    return _opened(folder, spec)


def _opened(folder: str | Path, spec: BankSpec) -> ClipBank:
    """The finished bank of this spec, its videos where they lie now."""
    return dataclasses.replace(open_bank(folder, root=spec.root), spec=spec)


def is_whole(folder: Path, spec: BankSpec) -> bool:
    """Whether the folder holds the finished bank of this spec, with all its files."""
    try:
        manifest = format.read_manifest(folder)
    except BankError:
        return False
    return not manifest.spec.difference(spec) and all((folder / shard.file).exists() for shard in manifest.shards)


def claim_folder(folder: Path, spec: BankSpec) -> None:
    """Write the spec into an empty folder, or check that the folder's is the same.

    Raises:
        BankError: the folder's bank is of something else; the message lists what differs.
    """
    found = format.read_spec(folder)
    if found is None:
        format.write_spec(folder, spec)
    elif differences := found.difference(spec):
        raise BankError(f"{str(folder)!r} holds another bank; {'; '.join(differences)}")


def _checked(file: Path, group: Sequence[LabelledVideo], spec: BankSpec) -> format.Shard:
    """A finished shard, if it is as it was written and of these videos.

    Raises:
        BankError: it is damaged, or of others.
    """
    format.check_hash(file)
    shard = format.read_shard(file, spec)
    names = {video.path for video in shard.videos} | {name for name, _ in shard.skipped}
    if names != {spec.name_of(video.path) for video in group} or len(shard.videos) + len(shard.skipped) != len(group):
        raise BankError(
            f"shard {str(file)!r} belongs to another bank, or to one with another number of videos a shard: "
            f"{format.REBUILD}"
        )
    return shard
