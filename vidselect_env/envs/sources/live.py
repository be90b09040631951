"""Contexts and answers from the videos themselves, for a classifier that is being trained.

Shapes: B videos of a batch, K candidates of each, C classes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from vidselect_classifiers import ClipClassifier, ClipOutput
from vidselect_env.bank import BankSpec
from vidselect_env.bank.decode import VideoClips, decode_video
from vidselect_env.bank.spec import OUTPUTS
from vidselect_env.datasets import VideoDataset
from vidselect_env.datasets.labels import targets_of
from vidselect_env.video.crops import NUM_VIEWS, view_crops

Augment = Callable[[Tensor, torch.Generator], Tensor]  # a clip of whole frames, as training sees it: (T, 3, H, W)


class LiveSource:
    """Decodes videos and runs the classifier when asked, for a classifier that changes as it is trained.

    The videos of `prefetch` are decoded by threads meanwhile. Each different clip that is asked for is classified once,
    in one batch, and what was said last is remembered until the classifier changes. On a GPU the host learns which
    clips were chosen, which it must upload, and nothing that the classifier says of them.

    Args:
        dataset: its videos.
        classifier: runs on `device`, as it is at each call; evaluation mode is the caller's choice.
        spec: grid (with a fixed number of clips) and skim, as for a bank.
        keep_videos: decoded videos kept in memory; three batches are, if that is more.
        views: of each clip, whose probabilities are averaged: `centre`, `three` or `ten` crops.
        whole_frames: keep more of a frame than the centre crop, for `training_clips` that crop elsewhere.
        mixed_precision: bfloat16 on a GPU, where networks of 3D convolutions then run channels-last, as they always do
            on a CPU.

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
        views: str = "centre",
        whole_frames: bool = False,
        mixed_precision: bool = False,
    ) -> None:
        if spec.grid.num_clips is None:
            raise ValueError("a live source needs a grid with a fixed num_clips, not num_clips=None")
        if spec.crops > 1:
            raise ValueError(f"crops of a live source are its views, not {spec.crops} crops of its spec")
        if views not in NUM_VIEWS:
            raise ValueError(f"views ({views!r}) must be one of {', '.join(NUM_VIEWS)}")
        self.spec, self.views = spec, views
        self.whole_frames = whole_frames or views != "centre"
        self.device = torch.device(device)
        self.classifier = classifier.to(self.device)
        self._mixed = mixed_precision and self.device.type == "cuda"
        self.classifier.convolve_fast(mixed_precision=self._mixed)
        self._said_last: tuple[int, dict[tuple[int, int], int], ClipOutput] | None = None
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
        self._augmenting = ThreadPoolExecutor(num_workers)  # beside it: what is decoded ahead is not waited for
        self._decoded: OrderedDict[int, Future[VideoClips]] = OrderedDict()
        self._keep = keep_videos
        self._batch = 1  # the most videos asked for at once

    @torch.no_grad()
    def observe(self, field: str, videos: Tensor, candidates: Tensor) -> Tensor:
        if field == "predictions":
            return self.probabilities(videos, candidates)
        if field in ("features", "logits"):
            said, rows = self._said(videos, candidates)
            return (said.features if field == "features" else said.logits).mean(1)[rows].view(*candidates.shape, -1)
        chosen = []
        for video, wanted in zip(videos.tolist(), candidates.cpu(), strict=True):
            chosen.append(self._video(video).fields[field][wanted])
        return torch.stack(chosen).to(self.device)

    @torch.no_grad()
    def probabilities(self, videos: Tensor, candidates: Tensor) -> Tensor:
        said, rows = self._said(videos, candidates)
        return said.logits.float().softmax(-1).mean(1)[rows].view(*candidates.shape, -1)

    @torch.no_grad()
    def clip_gmacs(self, videos: Tensor, candidates: Tensor) -> Tensor:
        num_views = NUM_VIEWS[self.views]
        if not self.spec.bins_gmacs:
            return torch.full(candidates.shape, num_views * self.spec.classifier_gmacs, device=self.device)
        said, rows = self._said(videos, candidates)
        assert said.num_bins is not None
        costs = torch.tensor(self.spec.bins_gmacs, device=self.device)[said.num_bins - 1].sum(1)
        return costs[rows].view(candidates.shape)

    def training_clips(
        self, videos: Tensor, candidates: Tensor, *, augment: Augment, generator: torch.Generator
    ) -> Tensor:
        """Candidates (B, K) as training sees them, one after another: (B * K, T, 3, H, W) uint8 on the device.

        Args:
            augment: of each clip, with a generator of its own.
            generator: on the CPU, of these.
        """
        seeds = torch.randint(2**62, candidates.shape, generator=generator)
        jobs = []
        for video, own, each in zip(videos.tolist(), candidates.cpu(), seeds.tolist(), strict=True):
            decoded = self._video(video)
            jobs += [
                (decoded.clips[clip], seed) for clip, seed in zip(decoded.clip_of[own].tolist(), each, strict=True)
            ]

        def augmented(job: tuple[Tensor, int]) -> Tensor:
            return augment(job[0], torch.Generator().manual_seed(job[1]))

        return self._on_device(torch.stack(list(self._augmenting.map(augmented, jobs))))

    def centre(self, clip: Tensor) -> Tensor:
        """The centre crop of a clip of whole frames (T, 3, h, w); one that is a crop already as it is."""
        return view_crops(clip, self.spec.clip_crop, views="centre")[0] if self.whole_frames else clip

    def classify(self, clips: Tensor) -> ClipOutput:
        """What the classifier says of clips (B, T, 3, H, W) on the device, in mixed precision where that is wanted."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._mixed):
            return self.classifier(clips)

    def first_alike(self, videos: Tensor, candidates: Tensor) -> Tensor:
        grid, alike = self.spec.grid, torch.empty_like(candidates)
        for row, video in enumerate(videos.tolist()):
            alike[row] = grid.first_alike(self._video(video).num_frames).to(self.device)[candidates[row]]
        return alike

    def truth(self, videos: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor] | None:
        return None

    def prefetch(
        self, videos: Tensor, *, fields: Sequence[str] = (), candidates: Callable[[], Tensor] | None = None
    ) -> None:
        self._batch = max(self._batch, len(videos))
        for video in videos.tolist():
            if video not in self._decoded:
                self._decoded[video] = self._pool.submit(
                    decode_video, self._videos[video], spec=self.spec, whole_frames=self.whole_frames
                )
            self._decoded.move_to_end(video)
        while len(self._decoded) > max(self._keep, 3 * self._batch):
            self._decoded.popitem(last=False)

    def close(self) -> None:
        """Stop decoding ahead."""
        for pool in (self._pool, self._augmenting):
            pool.shutdown(wait=False, cancel_futures=True)

    def _video(self, video: int) -> VideoClips:
        if video not in self._decoded:
            self.prefetch(torch.tensor([video]))
        self._decoded.move_to_end(video)
        return self._decoded[video].result()

    def _said(self, videos: Tensor, candidates: Tensor) -> tuple[ClipOutput, Tensor]:
        """What the classifier says of the different clips among candidates (B, K), and which is each one's.

        Of each clip (U, X, ...) for X views; (B * K,) rows of these.
        """
        asked: list[tuple[int, int]] = []
        for video, wanted in zip(videos.tolist(), candidates.cpu(), strict=True):
            asked += [(video, clip) for clip in self._video(video).clip_of[wanted].tolist()]
        present = self._classifier_version()
        last = self._said_last
        if last is None or last[0] != present or not last[1].keys() >= set(asked):
            row_of = {pair: row for row, pair in enumerate(dict.fromkeys(asked))}
            said = self.classify(self._on_device(torch.cat([self._views(*pair) for pair in row_of])))
            # Batch norm that learns changes the classifier with every batch: what it said holds for the present one.
            self._said_last = last = (self._classifier_version(), row_of, _of_views(said, NUM_VIEWS[self.views]))
        rows = torch.tensor([last[1][pair] for pair in asked], device=self.device)
        return last[2], rows

    def _views(self, video: int, clip: int) -> Tensor:
        """The crops of one clip, (X, T, 3, H, W)."""
        frames = self._video(video).clips[clip]
        if not self.whole_frames:
            return frames[None]
        crops = view_crops(frames, self.spec.clip_crop, views=self.views)
        if self.views == "ten" and self.classifier.geometry.modality == "flow":
            crops[5:, :, 0] = -crops[5:, :, 0]  # mirrored, what went to the right goes to the left
        return crops

    def _classifier_version(self) -> int:
        """Changes with every change in place of the classifier's numbers, and with its mode."""
        numbers = [*self.classifier.parameters(), *self.classifier.buffers()]
        return hash((self.classifier.training, *((value.data_ptr(), value._version) for value in numbers)))

    def _on_device(self, clips: Tensor) -> Tensor:
        if self.device.type != "cuda":
            return clips
        return clips.pin_memory().to(self.device, non_blocking=True)


def _of_views(said: ClipOutput, num_views: int) -> ClipOutput:
    """Outputs (U * X, ...) as (U, X, ...)."""
    num_bins = None if said.num_bins is None else said.num_bins.unflatten(0, (-1, num_views))
    logits, features = (each.unflatten(0, (-1, num_views)) for each in (said.logits, said.features))
    return ClipOutput(logits, features, num_bins)
