"""Banks of what is at hand: arrays that somebody has already, or an opened bank with other logits.

Shapes: R candidates of all videos, L of one, C classes.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vidselect_env.bank import format
from vidselect_env.bank.arrays import Arrays, ClipTimes, VideoArrays, video_arrays
from vidselect_env.bank.bank import ClipBank, open_bank
from vidselect_env.bank.build import claim_folder
from vidselect_env.bank.rows import Rows
from vidselect_env.bank.spec import BankError, BankSpec, SkimSpec
from vidselect_env.datasets.base import LabelledVideo, VideoDataset
from vidselect_env.datasets.identity import name_in
from vidselect_env.files import locked, writable_folder
from vidselect_env.video.clips import ClipGrid

Row = tuple[format.BankVideo, dict[str, Tensor], Tensor]  # of a video: what it is, fields (L, ...), spans_s (L, 2)


def import_bank(
    folder: str | Path,
    dataset: VideoDataset,
    arrays: Arrays,
    *,
    times: ClipTimes | None = None,
    classifier: str = "imported",
    classifier_gmacs: float = 1.0,
    on_error: Literal["skip", "raise"] = "skip",
) -> ClipBank:
    """A bank in `folder` of arrays that there are already; nothing is decoded or classified, no video need be there.

    Args:
        dataset: its videos, or segments of them, with labels and, if that is known, where the action is.
        arrays: of `open_arrays`; all videos must have the same fields.
        times: when clips are, where the arrays do not say it.
        classifier: what made the outputs.
        classifier_gmacs: multiply-adds of one clip, in units of 1e9; with 1 costs are counted in clips.
        on_error: `skip` a video whose arrays are missing or do not fit, listing it in the bank; or `raise`.

    Raises:
        BankError: no video has arrays, they do not fit together, or the folder holds another bank.
    """
    times, root = times or ClipTimes(), dataset.root
    found: list[LabelledVideo] = []
    skipped: list[tuple[str, str]] = []
    digest = hashlib.sha256()
    first: VideoArrays | None = None
    for video in dataset.videos:  # once for what decides the spec; the second time it is written
        try:
            own = video_arrays(arrays, video, times=times)
            if first is not None:
                _check_alike(own, first, video.path)
        except BankError as error:
            if on_error == "raise":
                raise
            skipped.append((name_in(root, video.path), str(error)))
            continue
        first = first or own
        found.append(video)
        for value in (*own.fields.values(), own.spans_s):
            digest.update(value.numpy().tobytes())
    if first is None:
        reasons = "; ".join(reason for _, reason in skipped[:3])
        raise BankError(f"no video of {dataset.name!r}, split {dataset.split!r}, has arrays: {reasons}")
    spec = BankSpec(
        dataset=dataset.name,
        split=dataset.split,
        dataset_fingerprint=dataset.fingerprint(),
        root=root,
        class_names=dataset.class_names,
        classifier=classifier,
        weights_sha256=digest.hexdigest(),
        classifier_gmacs=classifier_gmacs,
        **_no_clips(first),
    )
    rows = (_row(spec, video, video_arrays(arrays, video, times=times)) for video in found)
    return write_bank(folder, spec, rows, skipped=skipped)


def write_bank(
    folder: str | Path,
    spec: BankSpec,
    rows: Iterable[Row],
    *,
    skipped: Sequence[tuple[str, str]] = (),
    shard_videos: int = 64,
) -> ClipBank:
    """Write videos that are at hand as a bank, a shard's in memory at a time.

    Args:
        skipped: videos that are left out, with the reason.

    Raises:
        BankError: the folder holds another bank.
    """
    folder, rows = writable_folder(Path(folder)), iter(rows)
    shards: list[format.Shard] = []
    with locked(folder / format.LOCK):
        claim_folder(folder, spec)
        while group := list(islice(rows, shard_videos)):
            shard = format.Shard(
                spec.sha256(),
                videos=tuple(video for video, _, _ in group),
                skipped=() if shards else tuple(skipped),
                fields={name: torch.cat([fields[name] for _, fields, _ in group]) for name in spec.fields},
                spans_s=torch.cat([spans_s for _, _, spans_s in group]),
            )
            format.write_shard(format.shard_file(folder, len(shards)), shard)
            shards.append(dataclasses.replace(shard, fields={}))
        format.write_manifest(folder, spec, shards)
    return open_bank(folder)


def rows_of(bank: ClipBank) -> Iterable[Row]:
    """The videos of an opened bank, to be written as another."""
    spans_s = bank.candidate_spans_s()
    for number, path in enumerate(bank.video_paths):
        first, last = bank.offsets[number : number + 2].tolist()
        about = format.BankVideo(
            bank.spec.name_of(path),
            tuple(bank.targets[number].nonzero().flatten().tolist()),
            int(bank.num_video_frames[number]),
            last - first,
            *((bank.segments_s[number],) if bank.segments_s else ((None, None),)),
            bank.action_spans_s[number] if bank.action_spans_s else (),
        )
        rows = torch.arange(first, last)
        yield about, {name: field.take(rows) for name, field in bank.fields.items()}, spans_s[first:last]


def with_logits_stored(folder: str | Path, bank: ClipBank, logits: Tensor, *, told: str) -> ClipBank:
    """A copy of an opened bank in another folder, with other logits (R, C), or some where it had none.

    Args:
        told: what the logits are of; with the bank's own hash it names what they are made from.
    """
    names = ("logits", *(name for name in bank.spec.fields if name != "logits"))
    digest = hashlib.sha256(f"{bank.spec.weights_sha256} {told}".encode()).hexdigest()
    spec = dataclasses.replace(bank.spec, fields=names, weights_sha256=digest)
    judged = dataclasses.replace(bank, spec=spec, fields={**bank.fields, "logits": Rows([logits.contiguous()])})
    skipped = [(spec.name_of(path), reason) for path, reason in bank.skipped]
    return write_bank(folder, spec, rows_of(judged), skipped=skipped)


def _row(spec: BankSpec, video: LabelledVideo, arrays: VideoArrays) -> Row:
    count, name = len(arrays.spans_s), spec.name_of(video.path)
    about = format.BankVideo(name, video.labels, count, count, video.segment_s, video.action_spans_s)
    return about, arrays.fields, arrays.spans_s


def _no_clips(arrays: VideoArrays) -> dict:
    """What a spec says of clips that nobody here has seen: a frame each, of no size but the skims'."""
    skim = arrays.fields.get("skim")
    size = None if skim is None else (skim.shape[-2], skim.shape[-1])
    return {
        "clip_resize": 1,
        "clip_crop": (1, 1),
        "clip_mean": (0.0, 0.0, 0.0),
        "clip_std": (1.0, 1.0, 1.0),
        "grid": ClipGrid(num_clips=None, num_frames=1),
        "fields": tuple(arrays.fields),
        "skim": None if skim is None or size is None else SkimSpec(num_frames=skim.shape[1], resize=size, crop=size),
    }


def _check_alike(arrays: VideoArrays, first: VideoArrays, path: str) -> None:
    """All videos have the same fields, of the same shapes but for the number of clips."""
    mine, theirs = ({name: tuple(value.shape[1:]) for name, value in each.fields.items()} for each in (arrays, first))
    if mine != theirs:
        raise BankError(f"arrays of {path!r} are {mine}, and those of the first video {theirs}: they must be alike")
