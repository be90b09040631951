"""An opened bank: what a classifier said about every candidate clip of every video.

Shapes: V videos, R candidates of all videos together, C classes.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidselect_env.bank import format
from vidselect_env.bank.remote import (
    FetchedRows,
    FetchedShards,
    check_remote_shard,
    read_remote_manifest,
    read_remote_shard,
)
from vidselect_env.bank.rows import Rows, field_rows
from vidselect_env.bank.spec import OUTPUTS, BankError, BankSpec, SignalSpec, SkimSpec
from vidselect_env.datasets.labels import targets_of
from vidselect_env.stores import is_url, joined
from vidselect_env.video.clips import ClipGrid


@dataclass(frozen=True)
class ClipBank:
    """What a classifier said about every candidate of every video.

    spec: what it was made of.
    video_paths: V paths.
    num_video_frames: (V,) int64.
    targets: (V, C) bool, the labels, multi-hot.
    offsets: (V + 1,) int64; the candidates of video v are the rows offsets[v] to offsets[v + 1].
    fields: `logits` (R, C), `features` (R, D) float32; `num_bins` (R,) int64; `skim` (R, T, 3, h, w) uint8; and
        signals, shaped as `SignalSpec.shape` says: `vectors` float16 in pixels a frame, `residual` int8 or int16,
        `intra` uint8, `mel` float16 (nan where a video has no sound).
    skipped: videos that could not be read, with the reason.
    segments_s, action_spans_s, spans_s: V parts of files, (start_s, end_s), None for the file's own start or end; V
        tuples of where the action is; (R, 2) float64, see `candidate_spans_s`. Empty or None where that is not known.
        Actions are for measures and references that see labels.

    Raises:
        BankError: the parts do not fit together.
    """

    spec: BankSpec
    video_paths: tuple[str, ...]
    num_video_frames: Tensor
    targets: Tensor
    offsets: Tensor
    fields: Mapping[str, Rows]
    skipped: tuple[tuple[str, str], ...] = ()
    segments_s: tuple[tuple[float | None, float | None], ...] = ()
    action_spans_s: tuple[tuple[tuple[float, float], ...], ...] = ()
    spans_s: Tensor | None = None

    def __post_init__(self) -> None:
        num_videos, num_classes = self.targets.shape
        for name, size, wanted in (
            ("offsets", len(self.offsets), num_videos + 1),
            ("video_paths", len(self.video_paths), num_videos),
            ("class_names", len(self.spec.class_names), num_classes),
            ("segments_s", len(self.segments_s) or num_videos, num_videos),
            ("action_spans_s", len(self.action_spans_s) or num_videos, num_videos),
            ("spans_s", int(self.offsets[-1]) if self.spans_s is None else len(self.spans_s), int(self.offsets[-1])),
            *((f"rows of {name}", len(rows), int(self.offsets[-1])) for name, rows in self.fields.items()),
        ):
            if size != wanted:
                raise BankError(f"{name} ({size}) must be {wanted} in a bank of {num_videos} videos")

    @classmethod
    def from_tensors(
        cls,
        logits: Tensor,
        labels: Sequence[int | tuple[int, ...]],
        *,
        features: Tensor | None = None,
        skim: Tensor | None = None,
        classifier_gmacs: float = 1.0,
        num_bins: Tensor | None = None,
        bins_gmacs: Sequence[float] = (),
        signals: Mapping[str, Tensor] | None = None,
        spans_s: Tensor | None = None,
        action_spans_s: Sequence[tuple[tuple[float, float], ...]] = (),
    ) -> ClipBank:
        """A bank in memory, from outputs that you already have.

        Args:
            logits: (V, L, C) float, of L candidates of each of V videos.
            labels: V class indices, or tuples of them.
            features: (V, L, D) float. skim: (V, L, T, 3, h, w) uint8.
            classifier_gmacs: multiply-adds of one clip, in units of 1e9.
            num_bins: (V, L) int64 maps that each clip kept. bins_gmacs: multiply-adds of one that keeps 1, 2, ...
            signals: `vectors`, `residual`, `intra` and `mel`, each (V, L, ...).
            spans_s: (V, L, 2) float, from where to where each candidate is, in seconds.
            action_spans_s: V tuples of the spans of each video's action.
        """
        num_videos, num_clips, num_classes = logits.shape
        signals = signals or {}
        given = {"logits": logits, "features": features, "num_bins": num_bins, "skim": skim, **signals}
        fields = {name: Rows([value.flatten(0, 1)]) for name, value in given.items() if value is not None}
        spec = BankSpec(
            dataset="tensors",
            split="all",
            dataset_fingerprint="",
            class_names=tuple(str(label) for label in range(num_classes)),
            classifier="tensors",
            weights_sha256="",
            classifier_gmacs=classifier_gmacs,
            clip_resize=1,
            clip_crop=(1, 1),
            clip_mean=(0.0, 0.0, 0.0),
            clip_std=(1.0, 1.0, 1.0),
            grid=ClipGrid(num_clips=num_clips, num_frames=1),
            fields=tuple(fields),
            skim=None if skim is None else SkimSpec(num_frames=skim.shape[2], crop=(skim.shape[-2], skim.shape[-1])),
            signals=_signal_spec(signals) if signals else None,
            bins_gmacs=tuple(bins_gmacs),
        )
        sets = [tuple(label) if isinstance(label, tuple | list) else (operator.index(label),) for label in labels]
        return cls(
            spec=spec,
            video_paths=tuple(f"video {number}" for number in range(num_videos)),
            num_video_frames=torch.full((num_videos,), num_clips),
            targets=targets_of(sets, num_classes),
            offsets=torch.arange(num_videos + 1) * num_clips,
            fields=fields,
            spans_s=None if spans_s is None else spans_s.double().flatten(0, 1),
            action_spans_s=tuple(action_spans_s),
        )

    @property
    def num_videos(self) -> int:
        return len(self.video_paths)

    @property
    def num_classes(self) -> int:
        return self.targets.shape[1]

    @property
    def is_multilabel(self) -> bool:
        return bool((self.targets.sum(1) > 1).any())

    def field(self, name: str) -> Rows:
        """The rows of a field; an error that lists the fields there are, where it is not one."""
        if name not in self.fields:
            hints = {
                "features": "; a classifier without a named head gives none",
                "logits": "; `vidselect bank head` fits a head on its features",
            }
            hint = hints.get(name, "")
            raise BankError(f"the bank has no field {name!r}: it has {', '.join(self.fields)}{hint}")
        return self.fields[name]

    def candidate_spans_s(self) -> Tensor:
        """From the first frame of each candidate to the end of its last: (R, 2) float64 seconds of its file.

        Raises:
            BankError: the bank was built before they were kept.
        """
        if self.spans_s is None:
            raise BankError("the bank does not say where its candidates lie: build it again")
        return self.spans_s

    def crop(self, number: int) -> ClipBank:
        """The bank of one of the crops of a bank of ten: 0 to 3 the corners, 4 the centre, 5 to 9 mirrored.

        Raises:
            BankError: there is no such crop.
        """
        if self.spec.crops == 1 or not 0 <= number < self.spec.crops:
            raise BankError(f"crop ({number}) is not one of this bank's, which has {self.spec.crops} a clip")
        fields = {
            name: Rows([rows.joined()[:, number].contiguous()]) if name in OUTPUTS else rows
            for name, rows in self.fields.items()
        }
        return dataclasses.replace(self, fields=fields, spec=dataclasses.replace(self.spec, crops=1))

    def with_logits(self, logits: Tensor) -> ClipBank:
        """The same bank with other logits (R, C) for its classes, of another head on the same features."""
        return dataclasses.replace(self, fields={**self.fields, "logits": Rows([logits])})

    def summary(self) -> str:
        """What is in it, a line each."""
        spec, clips = self.spec, int(self.offsets[-1])
        counts = self.offsets.diff()
        lines = [
            f"dataset     {spec.dataset}, split {spec.split}: {self.num_videos} videos, {self.num_classes} classes",
            f"classifier  {spec.classifier}, weights {spec.weights_sha256[:12]}, "
            f"{spec.classifier_gmacs:.4g} GMACs a clip",
            f"grid        {spec.grid.num_frames} frames, stride {spec.grid.frame_stride}; "
            f"{int(counts.min())} to {int(counts.max())} candidates a video, {clips} in all",
        ]
        lines += [f"{name:11} {tuple(rows.shape)} {rows.dtype}" for name, rows in self.fields.items()]
        lines += [f"skipped     {path}: {reason}" for path, reason in self.skipped]
        return "\n".join(lines)


def _path_of(root: str | None, name: str) -> str:
    """Where a video lies; in a bank from before videos had names, these are paths."""
    return name if root is None else joined(root, name)


def _signal_spec(signals: Mapping[str, Tensor]) -> SignalSpec:
    """The spec that tensors (V, L, ...) of signals follow."""
    own: dict[str, Any] = {}
    if "vectors" in signals:
        own |= {"num_frames": signals["vectors"].shape[2], "cells": tuple(signals["vectors"].shape[-2:])}
    if "residual" in signals:
        own |= {"num_frames": signals["residual"].shape[2], "crop": tuple(signals["residual"].shape[-2:])}
        own["residual_bits"] = torch.iinfo(signals["residual"].dtype).bits
    return SignalSpec(**own)


def open_bank(folder: str | Path, *, verify: bool = False, root: str | Path | None = None) -> ClipBank:
    """Open a finished bank, its fields memory-mapped.

    Args:
        folder: made by `build_bank`; or a URL that fsspec knows: a shard is then fetched when it is first read.
        verify: read everything: compare every shard with its hash, and see that all numbers are finite.
        root: the folder that its videos are below, where another than when the bank was begun.

    Raises:
        BankError: no or an unfinished bank there, a damaged file, or another format version.
        StoreError: the store of a URL fails.
    """
    remote = isinstance(folder, str) and is_url(folder)
    manifest = read_remote_manifest(str(folder)) if remote else format.read_manifest(Path(folder))
    spec = manifest.spec
    place = None if spec.root is None else str(spec.root if root is None else root)
    names = [joined(folder, entry.file) for entry in manifest.shards]
    check = check_remote_shard if remote else _check_file
    for name, entry in zip(names, manifest.shards, strict=True):
        check(name, entry.size_bytes, verify=verify)
    read = [read_remote_shard(name, spec) if remote else format.read_shard(Path(name), spec) for name in names]
    if manifest.skipped != tuple(skipped for shard in read for skipped in shard.skipped):
        raise BankError(f"the manifest of {str(folder)!r} and its shards name other videos as skipped")
    found = [(name, shard) for name, shard in zip(names, read, strict=True) if shard.videos]
    if not found:
        listed = "; ".join(f"{path}: {reason}" for path, reason in manifest.skipped[:3])
        raise BankError(f"no video of the bank {str(folder)!r} could be read: {listed or 'it is empty'}")
    shards = [shard for _, shard in found]
    fetching = FetchedShards([name for name, _ in found]) if remote else None
    videos = [video for shard in shards for video in shard.videos]
    counts = torch.tensor([video.num_clips for video in videos])
    bank = ClipBank(
        spec=spec,
        video_paths=tuple(_path_of(place, video.path) for video in videos),
        num_video_frames=torch.tensor([video.num_frames for video in videos]),
        targets=targets_of([video.labels for video in videos], len(spec.class_names)),
        offsets=torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]),
        fields={name: _rows(name, found, fetching) for name in spec.fields},
        skipped=tuple((_path_of(place, name), reason) for name, reason in manifest.skipped),
        segments_s=tuple(video.segment_s for video in videos),
        action_spans_s=tuple(video.action_spans_s for video in videos),
        spans_s=torch.cat([shard.spans_s for shard in shards]),
    )
    _check_whole(bank, str(folder), num_videos=manifest.num_videos, names=("logits", "features") if verify else ())
    return bank


def _rows(name: str, found: Sequence[tuple[str, format.Shard]], fetching: FetchedShards | None) -> Rows:
    parts = [shard.fields[name] for _, shard in found]
    if fetching is not None:
        return FetchedRows(parts, name=name, shards=fetching)
    return field_rows(parts, files=[Path(file) for file, _ in found], name=name)


def _check_file(name: str, size_bytes: int, *, verify: bool) -> None:
    """See that a shard that is there is as large as the manifest says; with `verify`, compare its hash."""
    file = Path(name)
    size = file.stat().st_size if file.exists() else size_bytes
    if size != size_bytes:
        raise BankError(
            f"shard {name!r} has {size} bytes but the manifest says {size_bytes}: it is truncated; {format.REBUILD}"
        )
    if verify and file.exists():
        format.check_hash(file)


def _check_whole(bank: ClipBank, folder: str, *, num_videos: int, names: Sequence[str]) -> None:
    """All videos, each once, and finite numbers in the fields of these names."""
    if bank.num_videos != num_videos:
        raise BankError(f"{folder!r} has {bank.num_videos} videos but its manifest says {num_videos}")
    if len(set(zip(bank.video_paths, bank.segments_s, strict=True))) != num_videos:
        raise BankError(f"{folder!r} holds a video twice")
    for name in names:
        if name in bank.fields and not bank.field(name).joined().isfinite().all():
            raise BankError(f"{name} of the bank {folder!r} are not all finite")
