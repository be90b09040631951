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
        with closing(decode_ahead(todo, spec=spec, num_workers=self.num_workers)) as decoded:
            for (file, group), videos in zip(todo, decoded, strict=True):
                builder.write_shard(file, group, videos, on_error=on_error, bar=bar)


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
    """Collects the clips of a shard's videos, classifies them in full batches, writes the shard."""

    def __init__(
        self, classifier: ClipClassifier, spec: BankSpec, *, batch_size: int, device: str | torch.device
    ) -> None:
        self.classifier, self.spec, self.batch_size = classifier.to(device).eval(), spec, batch_size
        self.device = torch.device(device)

    def write_shard(
        self,
        file: Path,
        group: Sequence[LabelledVideo],
        futures: Iterable[Decoded],
        *,
        on_error: OnError,
        bar: Counter,
    ) -> None:
        """Make the shard of a group of videos, whose clips come in the same order, and write it to `file`.

        Raises:
            VideoError: with `on_error="raise"`.
            BankError: the classifier gives numbers that are not finite.
        """
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
                skipped.append((self.spec.name_of(video.path), error.reason))
                bar.add(num_videos=1, num_clips=0)
                continue
            about = (video.labels, decoded.num_frames, decoded.num_clips, video.segment_s, video.action_spans_s)
            videos.append(format.BankVideo(self.spec.name_of(video.path), *about))
            spans_s.append(decoded.spans_s)
            fields.append(decoded.fields)
            self._rows.append(num_different + decoded.clip_of)
            num_different += len(decoded.clips) // self.spec.crops
            self._pending.append(decoded.clips)
            self._classify(at_least=self.batch_size)
            bar.add(num_videos=1, num_clips=decoded.num_clips)
        self._classify(at_least=1)
        whole = torch.cat(spans_s) if spans_s else torch.zeros(0, 2, dtype=torch.float64)
        shard = format.Shard(self.spec.sha256(), tuple(videos), tuple(skipped), self._tensors(fields), whole)
        format.write_shard(file, shard)

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
