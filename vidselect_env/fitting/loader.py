"""Batches of clips of a dataset, decoded by threads ahead of their use.

Shapes: B clips, T frames a clip, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from vidselect_classifiers import ClipGeometry
from vidselect_env.ahead import ordered_ahead
from vidselect_env.datasets import LabelledVideo, VideoDataset
from vidselect_env.datasets.labels import label_shares, targets_of
from vidselect_env.video.clips import ClipGrid
from vidselect_env.video.decode import FrameSize, read_clips
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import VideoIndex, index_video, segment_of
from vidselect_env.video.motion import motion_curve
from vidselect_env.video.sampling import motion_guided_frames, motion_magnitude_frames, segment_frames

SAMPLERS = ("clip", "segment", "motion_guided", "magnitude")


class ClipLoader:
    """Batches of clips of a dataset, decoded by threads ahead of their use.

    Args:
        geometry: of the clips.
        training: a random clip of every video, in random order; otherwise the middle one, in order.
        generator: of that randomness.
        sampler, mu: as in `FitConfig`.

    Videos that cannot be read are left out, and named once.
    """

    def __init__(
        self,
        dataset: VideoDataset,
        geometry: ClipGeometry,
        *,
        batch_size: int,
        training: bool,
        generator: torch.Generator,
        sampler: str = "clip",
        mu: float = 0.5,
        num_workers: int = 2,
        cache: bool = False,
    ) -> None:
        self.sampler, self.mu = sampler, mu
        self.dataset, self.geometry, self.batch_size, self.training = dataset, geometry, batch_size, training
        self.generator, self.num_workers = generator, num_workers
        self.targets = targets_of([video.labels for video in dataset.videos], len(dataset.class_names))
        self._size = FrameSize(geometry.resize, geometry.crop)
        self._files: dict[str, VideoIndex] = {}
        self._indices: dict[int, VideoIndex] = {}
        self._curves: dict[int, Tensor] = {}
        self._frames: dict[int, Tensor] | None = {} if cache else None
        self._unreadable: set[int] = set()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(B, T, 3, H, W) uint8 clips and (B, C) float targets that sum to 1."""
        count = len(self.dataset)
        order = torch.randperm(count, generator=self.generator) if self.training else torch.arange(count)
        places = torch.rand(count, generator=self.generator) if self.training else torch.full((count,), 0.5)
        jobs = [(int(video), float(places[video])) for video in order if int(video) not in self._unreadable]
        clips: list[Tensor] = []
        videos: list[int] = []
        ahead = 2 * self.batch_size
        for (video, _), future in zip(
            jobs, ordered_ahead(self._clip, jobs, num_workers=self.num_workers, ahead=ahead), strict=True
        ):
            try:
                clips.append(future.result())
                videos.append(video)
            except VideoError as error:
                self._unreadable.add(video)
                tqdm.write(f"left out {error}")
            if len(clips) == self.batch_size:
                yield torch.stack(clips), label_shares(self.targets[videos])
                clips, videos = [], []
        if len(self._unreadable) == count:
            raise ValueError(f"dataset {self.dataset.name!r}, split {self.dataset.split!r}: no video can be read")
        if clips:
            yield torch.stack(clips), label_shares(self.targets[videos])

    def _clip(self, job: tuple[int, float]) -> Tensor:
        """The frames of a video that the sampler takes, (T, 3, H, W); `place` in [0, 1) is all that is random."""
        number, place = job
        video: LabelledVideo = self.dataset.videos[number]
        if number not in self._indices:
            if video.path not in self._files:
                self._files[video.path] = index_video(video.path)
            self._indices[number] = segment_of(self._files[video.path], start_s=video.start_s, end_s=video.end_s)
        index = self._indices[number]
        frames = self._sampled(number, index, place)
        if self._frames is None:
            return read_clips(video.path, frames[None], sizes=[self._size], index=index)[0][0]
        if number not in self._frames:
            everything = torch.arange(index.info.num_frames)[None]
            self._frames[number] = read_clips(video.path, everything, sizes=[self._size], index=index)[0][0]
        return self._frames[number][frames]

    def _sampled(self, number: int, index: VideoIndex, place: float) -> Tensor:
        num_video_frames, num_frames = index.info.num_frames, self.geometry.num_frames
        if self.sampler == "clip":
            return clip_frames(num_video_frames, self.geometry, place=place)
        generator = torch.Generator().manual_seed(int(place * 2**53)) if self.training else None
        if self.sampler == "segment":
            return segment_frames(num_video_frames, num_frames, generator=generator)
        if number not in self._curves:
            self._curves[number] = motion_curve(index.info.path, index=index)
        if self.sampler == "magnitude":
            return motion_magnitude_frames(self._curves[number], num_frames)
        return motion_guided_frames(self._curves[number], num_frames, mu=self.mu, generator=generator)


def clip_frames(num_video_frames: int, geometry: ClipGeometry, *, place: float) -> Tensor:
    """Frames of the clip at `place` in [0, 1] of the way from the first that fits to the last: (T,) int64."""
    grid = ClipGrid(num_clips=1, num_frames=geometry.num_frames, frame_stride=geometry.frame_stride)
    room = max(num_video_frames - grid.span, 0)
    start = min(int(place * (room + 1)), room)
    steps = torch.arange(geometry.num_frames) * geometry.frame_stride
    return (start + steps).clamp(max=num_video_frames - 1)
