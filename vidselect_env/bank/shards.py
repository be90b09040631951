"""Making shards: what every engine shares, and the engine of one machine.

Shapes: L candidates of a video, T frames a clip, B clips a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from vidselect_classifiers import ClipClassifier, ClipOutput
from vidselect_env.bank import format
from vidselect_env.bank.decode import VideoClips, decode_ahead
from vidselect_env.bank.progress import ShardProgress
from vidselect_env.bank.spec import OUTPUTS, BankError, BankSpec
from vidselect_env.datasets.base import LabelledVideo
from vidselect_env.video.errors import VideoError

OnError = Literal["skip", "raise"]
Missing = Sequence[tuple[Path, Sequence[LabelledVideo]]]  # files of shards, and the videos of each


class BuildBar:
    """The progress of a build: videos done, and clips a second."""

    def __init__(self, num_videos: int, *, shown: bool) -> None:
        self._bar = tqdm(total=num_videos, unit="video", desc="bank", disable=not shown)
        self._num_clips = 0

    def __enter__(self) -> BuildBar:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def add(self, *, num_videos: int, num_clips: int) -> None:
        """So many more videos are done."""
        self._num_clips += num_clips
        if not self._bar.disable:
            self._bar.set_postfix_str(f"{self._num_clips / max(self._bar.format_dict['elapsed'], 1e-9):.0f} clips/s")
        self._bar.update(num_videos)


class Engine(Protocol):
    """Who makes the shards of a bank that are missing, each by a `ShardBuilder`."""

    def __call__(
        self,
        todo: Missing,
        classifier: ClipClassifier,
        *,
        spec: BankSpec,
        batch_size: int,
        on_error: OnError,
        bar: BuildBar,
    ) -> None: ...


@dataclass(frozen=True, kw_only=True)
class ThisProcess:
    """The engine of one machine: threads that decode, and the classifier on one device."""

    num_workers: int
    device: str | torch.device

    def __call__(
        self,
        todo: Missing,
        classifier: ClipClassifier,
        *,
        spec: BankSpec,
        batch_size: int,
        on_error: OnError,
        bar: BuildBar,
    ) -> None:
        builder = ShardBuilder(classifier, spec, batch_size=batch_size, device=self.device)
        begun = [builder.begin(file, group) for file, group in todo]
        left = [group[shard.num_taken :] for shard, (_, group) in zip(begun, todo, strict=True)]
        with closing(decode_ahead(left, spec=spec, num_workers=self.num_workers)) as decoded:
            for shard, group, videos in zip(begun, left, decoded, strict=True):
                builder.finish(shard, group, videos, on_error=on_error, bar=bar)


class Decoded(Protocol):
    """A video that is decoded elsewhere: a future."""

    def result(self) -> VideoClips:
        """Wait for it.

        Raises:
            VideoError: it cannot be read.
        """


class Counter(Protocol):
    """Who is told of videos that are done: a `BuildBar`."""

    def add(self, *, num_videos: int, num_clips: int) -> None: ...


class ShardBuilder:
    """Collects the clips of a shard's videos, classifies them in full batches, writes the shard.

    On the way it writes down every few seconds what is done (`progress`).
    """

    def __init__(
        self, classifier: ClipClassifier, spec: BankSpec, *, batch_size: int, device: str | torch.device
    ) -> None:
        self.classifier, self.spec, self.batch_size = classifier.to(device).eval(), spec, batch_size
        self.device = torch.device(device)

    def begin(self, file: Path, group: Sequence[LabelledVideo]) -> ShardProgress:
        """The shard of a group of videos, with what an earlier build has done of it: its first `num_taken` videos."""
        names = [self.spec.name_of(video.path) for video in group]
        return ShardProgress(file, names, self.spec, batch_size=self.batch_size)

    def finish(
        self,
        shard: ShardProgress,
        group: Sequence[LabelledVideo],
        futures: Iterable[Decoded],
        *,
        on_error: OnError,
        bar: Counter,
    ) -> None:
        """Classify the videos that are left of a shard, whose clips come in the same order, and write it to its file.

        Raises:
            VideoError: with `on_error="raise"`.
            BankError: the classifier gives numbers that are not finite.
        """
        self._shard, self._pending = shard, []
        bar.add(num_videos=shard.num_taken, num_clips=0)
        for video, future in zip(group, futures, strict=True):
            try:
                decoded = future.result()
            except VideoError as error:
                if on_error == "raise":
                    raise
                tqdm.write(f"skipped {error}")
                shard.skip(self.spec.name_of(video.path), error.reason)
                bar.add(num_videos=1, num_clips=0)
                continue
            about = (video.labels, decoded.num_frames, decoded.num_clips, video.segment_s, video.action_spans_s)
            known = max(shard.num_said - shard.num_clips, 0)  # of its clips, by a build that was stopped
            shard.add(
                format.BankVideo(self.spec.name_of(video.path), *about),
                decoded.fields,
                decoded.spans_s,
                decoded.clip_of,
            )
            self._pending.append(decoded.clips[known:])
            self._classify(at_least=self.batch_size)
            bar.add(num_videos=1, num_clips=decoded.num_clips)
        self._classify(at_least=1)
        spans_s = torch.cat([torch.zeros(0, 2, dtype=torch.float64), *shard.spans_s])
        videos, skipped = tuple(shard.videos), tuple(shard.skipped)
        whole = format.Shard(self.spec.sha256(), videos, skipped, self._tensors(shard), spans_s)
        format.write_shard(shard.file, whole)
        shard.clear()

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
            self._shard.outputs.append(kept)
            self._pending = [rest] if len(rest) else []
            if len(batch) == self.batch_size:
                self._shard.save_if_due()

    def _tensors(self, shard: ShardProgress) -> dict[str, Tensor]:
        """The shard's fields; without a readable video none."""
        if not shard.outputs:
            return {}
        whole, rows = {}, shard.rows()
        for name in self.spec.fields:
            if name in OUTPUTS:
                whole[name] = torch.cat([getattr(output, name) for output in shard.outputs])
                if self.spec.crops > 1:
                    whole[name] = whole[name].unflatten(0, (-1, self.spec.crops))
                whole[name] = whole[name][rows]
            else:
                whole[name] = torch.cat([fields[name] for fields in shard.fields])
        return {name: value.contiguous() for name, value in whole.items()}
