"""Building a bank: one decode pass a video, the classifier kept busy, nothing lost when it is killed.

Shapes: L candidates of a video, T frames a clip, B clips a batch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from vidselect_classifiers import ClipClassifier, ClipOutput, weights_sha256
from vidselect_classifiers.sgs import gmacs_by_bins
from vidselect_env.bank.decode import VideoClips, decode_ahead
from vidselect_env.bank.parts import SPANS, part_of
from vidselect_env.bank.read import MANIFEST, ClipBank, open_bank, read_shard, sha256_of
from vidselect_env.bank.spec import OUTPUTS, SIGNALS, BankError, BankSpec, SignalSpec, SkimSpec
from vidselect_env.cache import writable_folder
from vidselect_env.datasets.base import LabelledVideo, VideoDataset
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

    A classifier whose clips cost different amounts adds the field `num_bins`.
    """
    bins_gmacs = gmacs_by_bins(classifier)
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
    folder = Path(folder)
    if is_whole(folder, spec):
        return open_bank(folder)
    writable_folder(folder)
    lock = FileLock(folder / "build.lock")
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
        files = [folder / f"shard-{number:05d}.safetensors" for number in range(len(groups))]
        todo = [(file, group) for file, group in zip(files, groups, strict=True) if not file.exists()]
        if todo:
            builder = _ShardBuilder(classifier.to(device).eval(), spec, batch_size, torch.device(device))
            bar = tqdm(total=sum(len(g) for _, g in todo), unit="video", desc="bank", disable=not progress)
            with bar, closing(decode_ahead(todo, spec=spec, num_workers=num_workers)) as decoded:
                for (file, group), videos in zip(todo, decoded, strict=True):
                    builder.write_shard(file, group, videos, on_error=on_error, bar=bar)
        if todo or not (folder / MANIFEST).exists():
            _write_manifest(folder, spec, files, groups)
    finally:
        lock.release()
    return open_bank(folder)


def is_whole(folder: Path, spec: BankSpec) -> bool:
    """Whether the folder holds the finished bank of this spec, with all its files."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return False
    there = all((folder / shard["file"]).exists() for shard in manifest["shards"])
    return there and manifest["spec"] == spec.to_json()


def claim_folder(folder: Path, spec: BankSpec) -> None:
    """Write the spec into an empty folder, or check that the folder's is the same.

    Raises:
        BankError: the folder's bank is of something else; the message lists what differs.
    """
    file = folder / "spec.json"
    if not file.exists():
        _write_json(file, spec.to_json())
        return
    found = BankSpec.from_json(json.loads(file.read_text()))
    if differences := found.difference(spec):
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
        videos, fields, spans_s, skipped = [], [], [], []
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
            videos.append(
                {
                    "path": video.path,
                    "labels": list(video.labels),
                    "num_frames": decoded.num_frames,
                    "num_clips": decoded.num_clips,
                    **part_of(video),
                }
            )
            spans_s.append(decoded.spans_s)
            fields.append(decoded.fields)
            self._pending.append(decoded.clips)
            self._classify(at_least=self.batch_size)
            bar.set_postfix_str(f"{self._clips_per_second(bar, decoded.num_clips):.0f} clips/s")
        self._classify(at_least=1)
        tensors = self._tensors(fields)
        if spans_s:
            tensors[SPANS] = torch.cat(spans_s)
        info = {"spec_sha256": self.spec.sha256(), "videos": videos, "skipped": skipped}
        aside = file.with_suffix(f".{os.getpid()}.part")
        save_file(tensors, aside, metadata={"vidselect": json.dumps(info)})
        os.replace(aside, file)

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
            self._outputs.append(
                ClipOutput(
                    output.logits.float().cpu(),
                    output.features.float().cpu(),
                    None if output.num_bins is None else output.num_bins.cpu(),
                )
            )
            self._pending = [rest] if len(rest) else []

    def _tensors(self, decoded: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The shard's fields; without a readable video none."""
        if not self._outputs:
            return {}
        whole = {}
        for name in self.spec.fields:
            if name in OUTPUTS:
                whole[name] = torch.cat([getattr(output, name) for output in self._outputs])
                if self.spec.crops > 1:
                    whole[name] = whole[name].unflatten(0, (-1, self.spec.crops))
            else:
                whole[name] = torch.cat([fields[name] for fields in decoded])
        return {name: value.contiguous() for name, value in whole.items()}


def _write_manifest(
    folder: Path, spec: BankSpec, files: Sequence[Path], groups: Sequence[Sequence[LabelledVideo]]
) -> None:
    """Check every shard and list it; last, so that a bank with a manifest is whole."""
    shards, skipped = [], []
    for file, group in zip(files, groups, strict=True):
        info, _ = read_shard(file)
        paths = {video["path"] for video in info["videos"]} | {path for path, _ in info["skipped"]}
        is_whole = len(info["videos"]) + len(info["skipped"]) == len(group)
        if info["spec_sha256"] != spec.sha256() or paths != {video.path for video in group} or not is_whole:
            raise BankError(
                f"shard {str(file)!r} belongs to another bank, or to one with another number of videos a shard: "
                "delete it and build again"
            )
        skipped += info["skipped"]
        shards.append({"file": file.name, "size_bytes": file.stat().st_size, "sha256": sha256_of(file)})
    _write_json(
        folder / MANIFEST,
        {"spec": spec.to_json(), "versions": _versions(), "skipped": skipped, "shards": shards},
    )


def _versions() -> dict[str, str]:
    import av
    import torchvision

    return {"torch": torch.__version__, "torchvision": torchvision.__version__, "av": av.__version__}


def _write_json(file: Path, data: dict) -> None:
    aside = file.with_suffix(f".{os.getpid()}.part")
    aside.write_text(json.dumps(data, indent=1))
    os.replace(aside, file)
