"""Where an environment gets contexts and classifier outputs from: a bank, or the videos themselves.

Shapes: B videos of a batch, K candidates of each, V videos in all, C classes.
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import torch
from torch import Tensor

from vidselect_classifiers import ClipClassifier, ClipOutput
from vidselect_env.bank import BankError, BankSpec, ClipBank
from vidselect_env.bank.decode import VideoClips, decode_video
from vidselect_env.bank.spec import OUTPUTS
from vidselect_env.datasets import VideoDataset
from vidselect_env.datasets.base import targets_of
from vidselect_env.video.clips import middle_frames
from vidselect_env.video.decode import FrameSize, read_frames
from vidselect_env.video.index import VideoIndex, index_video


class Source(Protocol):
    """What an environment asks.

    targets: (V, C) bool labels. num_candidates: (V,) int64. class_names: C names.
    segments_s: V parts of the files, (start_s, end_s), as of `LabelledVideo`; empty: all are whole files.
    knows_all: every candidate's probabilities are at hand, so rewards of all arms cost nothing.
    """

    spec: BankSpec
    targets: Tensor
    num_candidates: Tensor
    video_paths: tuple[str, ...]
    segments_s: tuple[tuple[float | None, float | None], ...]
    device: torch.device
    knows_all: bool

    def observation_shape(self, field: str) -> tuple[int, ...]:
        """Shape of one candidate's `skim`, `features`, `logits` or signal."""

    def observe(self, field: str, videos: Tensor, candidates: Tensor) -> Tensor:
        """`skim` uint8, `features`, `logits` float32 or a signal of candidates (B, K) of videos (B,): (B, K, ...)."""

    def probabilities(self, videos: Tensor, candidates: Tensor) -> Tensor:
        """The classifier's probabilities for candidates (B, K) of videos (B,): (B, K, C) float32."""

    def clip_gmacs(self, videos: Tensor, candidates: Tensor) -> Tensor:
        """The classifier's own multiply-adds for candidates (B, K) of videos (B,), in units of 1e9: (B, K)."""

    def prefetch(self, videos: Tensor) -> None:
        """These videos (B,) will be asked for next."""


class BankSource:
    """Answers from a bank.

    Args:
        bank: with `logits`, and the field that the environment observes.
        device: where answers are given. Off the CPU all fields are moved there; on it they stay memory-mapped, but
            for features.
    """

    knows_all = True

    def __init__(self, bank: ClipBank, *, device: str | torch.device = "cpu") -> None:
        if bank.spec.crops > 1:
            raise BankError(
                f"the bank has {bank.spec.crops} crops a clip: take one of them, bank.crop(4) is the centre"
            )
        outputs = bank.field("logits").shape[1]
        if outputs != bank.num_classes:
            raise BankError(
                f"the bank's logits are of {outputs} classes but its videos of {bank.num_classes}: fit a head"
            )
        self.bank = bank
        self.spec = bank.spec
        self.device = torch.device(device)
        self.targets = bank.targets.to(self.device)
        self.num_candidates = bank.offsets.diff()
        self.video_paths, self.segments_s = bank.video_paths, bank.segments_s
        self._starts = bank.offsets[:-1].to(self.device)
        self._probabilities = bank.field("logits").joined().float().softmax(-1).to(self.device)
        self._fields = {
            name: rows if name not in OUTPUTS and self.device.type == "cpu" else rows.to(self.device)
            for name, rows in bank.fields.items()
        }
        self._bins_gmacs = torch.tensor(bank.spec.bins_gmacs, device=self.device)

    def observation_shape(self, field: str) -> tuple[int, ...]:
        return tuple(self.bank.field(field).shape[1:])

    def observe(self, field: str, videos: Tensor, candidates: Tensor) -> Tensor:
        rows = self._rows(videos, candidates)
        return self._fields[field].take(rows.view(-1)).view(*rows.shape, *self._fields[field].shape[1:])

    def probabilities(self, videos: Tensor, candidates: Tensor) -> Tensor:
        rows = self._rows(videos, candidates)
        return self._probabilities.index_select(0, rows.view(-1)).view(*rows.shape, -1)

    def clip_gmacs(self, videos: Tensor, candidates: Tensor) -> Tensor:
        if not self.spec.bins_gmacs:
            return torch.full(candidates.shape, self.spec.classifier_gmacs, device=self.device)
        rows = self._rows(videos, candidates)
        kept = self._fields["num_bins"].take(rows.view(-1)).view(rows.shape)
        return self._bins_gmacs[kept - 1]

    def prefetch(self, videos: Tensor) -> None:
        """Nothing to do: all is at hand."""

    def _rows(self, videos: Tensor, candidates: Tensor) -> Tensor:
        return self._starts[videos][:, None] + candidates


class LiveSource:
    """Decodes videos and runs the classifier when asked, for a classifier that changes as it is trained.

    The videos of `prefetch` are decoded by threads meanwhile.

    Args:
        dataset: its videos.
        classifier: runs on `device`, as it is at each call; evaluation mode is the caller's choice.
        spec: grid (with a fixed number of clips) and skim, as for a bank.
        keep_videos: decoded videos kept in memory; three batches are, if that is more.

    Raises:
        VideoError: when a video that cannot be read is asked for.
    """

    knows_all = False

    def __init__(
        self,
        dataset: VideoDataset,
        classifier: ClipClassifier,
        *,
        spec: BankSpec,
        device: str | torch.device = "cpu",
        num_workers: int = 2,
        keep_videos: int = 64,
    ) -> None:
        if spec.grid.num_clips is None:
            raise ValueError("a live source needs a grid with a fixed num_clips, not num_clips=None")
        if spec.crops > 1:
            raise ValueError(f"a live source sees the centre crop only, not {spec.crops} crops")
        self.spec = spec
        self.device = torch.device(device)
        self.classifier = classifier.to(self.device)
        self.targets = targets_of([video.labels for video in dataset.videos], len(dataset.class_names)).to(self.device)
        self.num_candidates = torch.full((len(dataset),), spec.grid.num_clips)
        self.video_paths = tuple(video.path for video in dataset.videos)
        self.segments_s = tuple(video.segment_s for video in dataset.videos)
        self._videos = dataset.videos
        self._pool = ThreadPoolExecutor(num_workers)
        self._decoded: OrderedDict[int, Future[VideoClips]] = OrderedDict()
        self._keep = keep_videos
        self._batch = 1  # the most videos asked for at once

    def observation_shape(self, field: str) -> tuple[int, ...]:
        if field in ("features", "logits"):
            return (self.classifier.feature_dim if field == "features" else self.classifier.num_classes,)
        return self.spec.shape(field)

    @torch.no_grad()
    def observe(self, field: str, videos: Tensor, candidates: Tensor) -> Tensor:
        if field in ("features", "logits"):
            return getattr(self._said(videos, candidates), field).view(*candidates.shape, -1)
        chosen = []
        for video, wanted in zip(videos.tolist(), candidates.cpu(), strict=True):
            chosen.append(self._video(video).fields[field][wanted])
        return torch.stack(chosen).to(self.device)

    @torch.no_grad()
    def probabilities(self, videos: Tensor, candidates: Tensor) -> Tensor:
        return self._said(videos, candidates).logits.float().softmax(-1).view(*candidates.shape, -1)

    @torch.no_grad()
    def clip_gmacs(self, videos: Tensor, candidates: Tensor) -> Tensor:
        if not self.spec.bins_gmacs:
            return torch.full(candidates.shape, self.spec.classifier_gmacs, device=self.device)
        kept = self._said(videos, candidates).num_bins
        assert kept is not None
        return torch.tensor(self.spec.bins_gmacs, device=self.device)[kept - 1].view(candidates.shape)

    def prefetch(self, videos: Tensor) -> None:
        self._batch = max(self._batch, len(videos))
        for video in videos.tolist():
            if video not in self._decoded:
                self._decoded[video] = self._pool.submit(decode_video, self._videos[video], spec=self.spec)
            self._decoded.move_to_end(video)
        while len(self._decoded) > max(self._keep, 3 * self._batch):
            self._decoded.popitem(last=False)

    def close(self) -> None:
        """Stop decoding ahead."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _video(self, video: int) -> VideoClips:
        if video not in self._decoded:
            self.prefetch(torch.tensor([video]))
        self._decoded.move_to_end(video)
        return self._decoded[video].result()

    def _said(self, videos: Tensor, candidates: Tensor) -> ClipOutput:
        """What the classifier says of candidates (B, K), one after another."""
        chosen = [self._video(v).clips[wanted] for v, wanted in zip(videos.tolist(), candidates.cpu(), strict=True)]
        return self.classifier(torch.cat(chosen).to(self.device))


def video_index(source: Source, video: int) -> VideoIndex:
    """The frames of a video, or of the segment of its file that it is."""
    start_s, end_s = source.segments_s[video] if source.segments_s else (None, None)
    return index_video(source.video_paths[video], start_s=start_s, end_s=end_s)


def thumbnails(source: Source, video: int, candidates: Tensor, *, height: int = 96) -> Tensor:
    """The middle frame of candidates (K,) of a video, read from its file: (K, 3, height, width) uint8."""
    index = video_index(source, video)
    grid = source.spec.grid
    middle = grid.frame_indices(index.info.num_frames)[candidates.cpu(), middle_frames(grid.num_frames, 1)]
    width = height * 4 // 3
    return read_frames(index.info.path, middle, sizes=[FrameSize((height, width), (height, width))], index=index)[0]
