"""Building a bank: one decode pass a video, the classifier kept busy, nothing lost when it is killed.

Shapes: L candidates of a video, T frames a clip, B clips a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout
from torch import Tensor
from tqdm import tqdm

from vidselect_classifiers import ClipClassifier, ClipOutput, weights_sha256
from vidselect_classifiers.sgs import gmacs_by_bins
from vidselect_env.bank import format
from vidselect_env.bank.bank import ClipBank, open_bank
from vidselect_env.bank.decode import VideoClips, decode_ahead
from vidselect_env.bank.spec import OUTPUTS, SIGNALS, BankError, BankSpec, SignalSpec, SkimSpec
from vidselect_env.datasets.base import LabelledVideo, VideoDataset
from vidselect_env.datasets.flow import is_flow
from vidselect_env.files import writable_folder
from vidselect_env.video.clips import ClipGrid
from vidselect_env.video.errors import VideoError


def bank_spec(
    dataset: VideoDataset,
    classifier: ClipClassifier,
    *,
    num_clips: int | None = 30,
    fields: Sequence[str] = ("logits", "features", "skim"),
    skim: SkimSpec | None = None,
    signals: SignalSpec | None = None,
    crops: int = 1,
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
        class_names=dataset.class_names,
        weights_sha256=weights_sha256(classifier),
        **clips_of(classifier, num_clips=num_clips),
        fields=fields,
        skim=(skim or SkimSpec()) if "skim" in fields else None,
        signals=(signals or SignalSpec()) if set(SIGNALS) & set(fields) else None,
        bins_gmacs=bins_gmacs,
        crops=crops,
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
    batch_size: int = 64,
    num_workers: int = 2,
    shard_videos: int = 64,
    device: str | torch.device = "cpu",
    on_error: Literal["skip", "raise"] = "skip",
    progress: bool = True,
) -> ClipBank:
    """Build the bank in `folder`, or finish it, or just open it if it is whole.

    Videos are decoded by threads a little ahead of the classifier. A shard of `shard_videos` videos is
    written aside and renamed, so that a kill loses at most one; batches never cross shards, so that a
    resumed build gives the same bytes as an unbroken one. A second builder of the folder waits.

    Args:
        spec: from `bank_spec` of this dataset and classifier.
        batch_size: clips the classifier takes at once.
        num_workers: decoding threads.
        on_error: `skip` a video that cannot be read, listing it in the bank; or `raise` its `VideoError`.

    Raises:
        BankError: the folder holds a bank of something else, or a damaged shard.
        VideoError: with `on_error="raise"`.
        PermissionError: the folder cannot be written to.
    """
    for name, value in (("batch_size", batch_size), ("num_workers", num_workers), ("shard_videos", shard_videos)):
        if value < 1:
            raise ValueError(f"{name} ({value}) must be at least 1")
    folder = Path(folder)
    if is_whole(folder, spec):
        return open_bank(folder)
    writable_folder(folder)
    lock = FileLock(folder / format.LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tqdm.write(f"another process builds {str(folder)!r}: waiting for it")
        lock.acquire()
    try:
        claim_folder(folder, spec)
        for leftover in folder.glob("*.part"):  # of a builder that was killed: the lock says that none is at work
            leftover.unlink()
        groups = [dataset.videos[i : i + shard_videos] for i in range(0, len(dataset), shard_videos)]
        files = [format.shard_file(folder, number) for number in range(len(groups))]
        todo = [(file, group) for file, group in zip(files, groups, strict=True) if not file.exists()]
        if todo:
            builder = _ShardBuilder(classifier.to(device).eval(), spec, batch_size, torch.device(device))
            bar = tqdm(total=sum(len(g) for _, g in todo), unit="video", desc="bank", disable=not progress)
            with bar, closing(decode_ahead(todo, spec=spec, num_workers=num_workers)) as decoded:
                for (file, group), videos in zip(todo, decoded, strict=True):
                    builder.write_shard(file, group, videos, on_error=on_error, bar=bar)
        if todo or not (folder / format.MANIFEST).exists():
            shards = [_checked(file, group, spec) for file, group in zip(files, groups, strict=True)]
            format.write_manifest(folder, spec, shards)
    finally:
        lock.release()
    return open_bank(folder)


def is_whole(folder: Path, spec: BankSpec) -> bool:
    """Whether the folder holds the finished bank of this spec, with all its files."""
    try:
        manifest = format.read_manifest(folder)
    except BankError:
        return False
    return manifest.spec == spec and all((folder / shard.file).exists() for shard in manifest.shards)


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


class _ShardBuilder:
    """Collects the clips of a shard's videos, classifies them in full batches, writes the shard."""

    def __init__(self, classifier: ClipClassifier, spec: BankSpec, batch_size: int, device: torch.device) -> None:
        self.classifier, self.spec, self.batch_size, self.device = classifier, spec, batch_size, device

    def write_shard(
        self,
        file: Path,
        group: Sequence[LabelledVideo],
        futures: Iterable[Future[VideoClips]],
        *,
        on_error: str,
        bar: tqdm,
    ) -> None:
        self._pending: list[Tensor] = []
        self._outputs: list[ClipOutput] = []
        self._rows: list[Tensor] = []  # of what is classified, which is each candidate's
        num_different = 0
        videos, fields, skipped = [], [], []
        spans_s: list[Tensor] = []
        for video, future in zip(group, futures, strict=True):
            try:
                decoded = future.result()
            except VideoError as error:
                if on_error == "raise":
                    raise
                tqdm.write(f"skipped {error}")
                skipped.append((video.path, error.reason))
                continue
            finally:
                bar.update()
            about = (video.labels, decoded.num_frames, decoded.num_clips, video.segment_s, video.action_spans_s)
            videos.append(format.BankVideo(video.path, *about))
            spans_s.append(decoded.spans_s)
            fields.append(decoded.fields)
            self._rows.append(num_different + decoded.clip_of)
            num_different += len(decoded.clips) // self.spec.crops
            self._pending.append(decoded.clips)
            self._classify(at_least=self.batch_size)
            bar.set_postfix_str(f"{self._clips_per_second(bar, decoded.num_clips):.0f} clips/s")
        self._classify(at_least=1)
        whole = torch.cat(spans_s) if spans_s else torch.zeros(0, 2, dtype=torch.float64)
        shard = format.Shard(self.spec.sha256(), tuple(videos), tuple(skipped), self._tensors(fields), whole)
        format.write_shard(file, shard)

    @staticmethod
    def _clips_per_second(bar: tqdm, clips_a_video: int) -> float:
        return (bar.format_dict["rate"] or bar.n / max(bar.format_dict["elapsed"], 1e-9)) * clips_a_video

    @torch.inference_mode()
    def _classify(self, *, at_least: int) -> None:
        """Classify the pending clips in batches of `batch_size`, while there are `at_least` so many."""
        while sum(len(clips) for clips in self._pending) >= at_least:
            pending = torch.cat(self._pending)
            batch, rest = pending[: self.batch_size], pending[self.batch_size :]
            output = self.classifier(batch.to(self.device, non_blocking=True))
            num_bins = None if output.num_bins is None else output.num_bins.cpu()
            kept = ClipOutput(output.logits.float().cpu(), output.features.float().cpu(), num_bins)
            if not (kept.logits.isfinite().all() and kept.features.isfinite().all()):
                raise BankError(f"classifier {self.spec.classifier!r} gives numbers that are not finite")
            self._outputs.append(kept)
            self._pending = [rest] if len(rest) else []

    def _tensors(self, decoded: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The shard's fields; without a readable video none."""
        if not self._outputs:
            return {}
        whole, rows = {}, torch.cat(self._rows)
        for name in self.spec.fields:
            if name in OUTPUTS:
                whole[name] = torch.cat([getattr(output, name) for output in self._outputs])
                if self.spec.crops > 1:
                    whole[name] = whole[name].unflatten(0, (-1, self.spec.crops))
                whole[name] = whole[name][rows]
            else:
                whole[name] = torch.cat([fields[name] for fields in decoded])
        return {name: value.contiguous() for name, value in whole.items()}


def _checked(file: Path, group: Sequence[LabelledVideo], spec: BankSpec) -> format.Shard:
    """A finished shard, if it is as it was written and of these videos.

    Raises:
        BankError: it is damaged, or of others.
    """
    format.check_hash(file)
    shard = format.read_shard(file, spec)
    paths = {video.path for video in shard.videos} | {path for path, _ in shard.skipped}
    if paths != {video.path for video in group} or len(shard.videos) + len(shard.skipped) != len(group):
        raise BankError(
            f"shard {str(file)!r} belongs to another bank, or to one with another number of videos a shard: "
            f"{format.REBUILD}"
        )
    return shard
