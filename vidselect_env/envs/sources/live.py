"""Contexts and answers from the videos themselves, for a classifier that is being trained.

Shapes: B videos of a batch, K candidates of each, C classes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from vidselect_classifiers import ClipClassifier, ClipOutput
from vidselect_env.bank import BankSpec
from vidselect_env.bank.decode import VideoClips, decode_video
from vidselect_env.bank.spec import OUTPUTS
from vidselect_env.datasets import VideoDataset
from vidselect_env.datasets.labels import targets_of


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
        self.num_classes = self.classifier.num_classes
        decoded = [field for field in spec.fields if field not in OUTPUTS]
        self.shapes: Mapping[str, tuple[int, ...]] = {field: spec.shape(field) for field in decoded} | {
            "logits": (self.num_classes,),
            "predictions": (self.num_classes,),
        }
        if self.classifier.has_features:
            self.shapes = {**self.shapes, "features": (self.classifier.feature_dim,)}
        self._videos = dataset.videos
        self._pool = ThreadPoolExecutor(num_workers)
        self._decoded: OrderedDict[int, Future[VideoClips]] = OrderedDict()
        self._keep = keep_videos
        self._batch = 1  # the most videos asked for at once

    @torch.no_grad()
    def observe(self, field: str, videos: Tensor, candidates: Tensor) -> Tensor:
        if field == "predictions":
            return self.probabilities(videos, candidates)
        if field in ("features", "logits"):
            said = self._said(videos, candidates)
            return (said.features if field == "features" else said.logits).view(*candidates.shape, -1)
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

    def first_alike(self, videos: Tensor, candidates: Tensor) -> Tensor:
        grid, alike = self.spec.grid, torch.empty_like(candidates)
        for row, video in enumerate(videos.tolist()):
            alike[row] = grid.first_alike(self._video(video).num_frames).to(self.device)[candidates[row]]
        return alike

    def truth(self, videos: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor] | None:
        return None

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
        """What the classifier says of candidates (B, K), one after another; each different clip is classified once."""
        decoded = [self._video(video) for video in videos.tolist()]
        wanted = [each.clip_of[own] for each, own in zip(decoded, candidates.cpu(), strict=True)]
        sizes = torch.tensor([0] + [len(each.clips) for each in decoded[:-1]]).cumsum(0)
        different, rows = (torch.stack(wanted) + sizes[:, None]).unique(return_inverse=True)
        clips = []
        for each, first in zip(decoded, sizes.tolist(), strict=True):
            own = different[(different >= first) & (different < first + len(each.clips))] - first
            clips.append(each.clips[own])
        said = self.classifier(torch.cat(clips).to(self.device))
        rows = rows.flatten().to(self.device)
        num_bins = None if said.num_bins is None else said.num_bins[rows]
        return ClipOutput(said.logits[rows], said.features[rows], num_bins)
