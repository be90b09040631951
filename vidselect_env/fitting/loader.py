"""Batches of clips of a dataset, decoded by threads ahead of their use.

Shapes: B clips, T frames a clip, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future

import torch
from torch import Tensor
from tqdm import tqdm

from vidselect_classifiers import ClipGeometry
from vidselect_env.ahead import ordered_ahead
from vidselect_env.datasets import LabelledVideo, VideoDataset
from vidselect_env.datasets.labels import label_shares, targets_of
from vidselect_env.fitting.augmentation import ClipJitter
from vidselect_env.fitting.processes import ALONE, Processes
from vidselect_env.video.crops import view_crops
from vidselect_env.video.decode import FrameSize, read_clips
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import VideoIndex, index_video, segment_of
from vidselect_env.video.motion import load_filters, motion_curve
from vidselect_env.video.sampling import motion_guided_frames, motion_magnitude_frames, segment_frames


class ClipLoader:
    """Batches of clips of a dataset, decoded by threads ahead of their use.

    Args:
        geometry: of the clips.
        training: a random clip of every video, in random order; otherwise the middle one, in order.
        generator: of that randomness.
        sampler, mu, difference, filters, rounding, context, time_jitter, segments: as in `FitConfig`.
        jitter: what training changes of the frames.
        views: in testing, crops of each clip (`view_crops`).
        processes: that train together: `batch_size` is each one's, and each is given its own part of every batch.

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
        difference: str = "image",
        filters: str | None = None,
        rounding: str = "middle",
        context: bool = False,
        time_jitter: int | None = None,
        jitter: ClipJitter | None = None,
        num_workers: int = 2,
        cache: bool = False,
        segments: int = 1,
        views: str = "centre",
        processes: Processes = ALONE,
    ) -> None:
        if geometry.modality == "flow" and jitter is not None and (jitter.brightness or jitter.colour):
            raise ValueError("brightness and colour would change displacements: a classifier of flow learns without")
        self.segments, self.processes = segments, processes
        self.views = "centre" if training else views
        self.sampler, self.mu, self.context = sampler, mu, context
        self.difference, self.rounding = difference, rounding
        self.filters = None if filters is None else load_filters(filters)
        self.time_jitter = time_jitter if training else None
        self.jitter = jitter if training else None
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
        """(B * segments * views, T, 3, H, W) uint8 clips, those of a video together; (B, C) float targets of sum 1.

        Of several processes each is given as many batches, one of which may hold no clip.
        """
        count = len(self.dataset)
        order = torch.randperm(count, generator=self.generator) if self.training else torch.arange(count)
        places = torch.rand(count, generator=self.generator) if self.training else torch.full((count,), 0.5)
        jobs = [(int(video), float(places[video])) for video in order if int(video) not in self._unreadable]
        whole = self.batch_size * self.processes.count
        batches = [jobs[start : start + whole] for start in range(0, len(jobs), whole)]
        own = [batch[self.processes.part(len(batch))] for batch in batches]
        decoded = ordered_ahead(
            self._clip, (job for jobs in own for job in jobs), num_workers=self.num_workers, ahead=2 * self.batch_size
        )
        for jobs in own:
            clips, videos = self._readable(jobs, decoded)
            if clips:
                yield torch.cat(clips), label_shares(self.targets[videos])
            elif self.processes.count > 1:
                shape = (0, self.geometry.num_frames, 3, *self.geometry.crop)
                yield torch.empty(shape, dtype=torch.uint8), torch.empty(0, self.targets.shape[1])
        self._unreadable = set().union(*self.processes.gathered(self._unreadable))
        if len(self._unreadable) == count:
            raise ValueError(f"dataset {self.dataset.name!r}, split {self.dataset.split!r}: no video can be read")

    def _readable(
        self, jobs: list[tuple[int, float]], decoded: Iterator[Future[Tensor]]
    ) -> tuple[list[Tensor], list[int]]:
        """The clips of a batch that can be read, and their videos."""
        clips, videos = [], []
        for (video, _), future in zip(jobs, decoded, strict=False):
            try:
                clips.append(future.result())
                videos.append(video)
            except VideoError as error:
                self._unreadable.add(video)
                tqdm.write(f"left out {error}")
        return clips, videos

    def _clip(self, job: tuple[int, float]) -> Tensor:
        """What is seen of a video, (segments * views, T, 3, H, W); `place` in [0, 1) is all that is random."""
        number, place = job
        video: LabelledVideo = self.dataset.videos[number]
        if number not in self._indices:
            if video.path not in self._files:
                self._files[video.path] = index_video(video.path)
            self._indices[number] = segment_of(self._files[video.path], start_s=video.start_s, end_s=video.end_s)
        index = self._indices[number]
        frames = self._sampled(number, index, place).view(self.segments, -1)
        size = self._frame_size(index)
        if self._frames is None:
            [clips] = read_clips(video.path, index.first + frames, sizes=[size], index=index.file)
        else:
            before, after = self._reach(index)
            if number not in self._frames:
                everything = torch.arange(-before, index.info.num_frames + after)[None]
                [whole] = read_clips(video.path, index.first + everything, sizes=[size], index=index.file)
                self._frames[number] = whole[0]
            clips = self._frames[number][before + frames]
        if self.jitter is None:
            if self.views == "centre":
                return clips
            return view_crops(clips, self.geometry.crop, views=self.views).flatten(0, 1)
        generator = torch.Generator().manual_seed(int(place * 2**53) + 1)
        changed = self.jitter(clips.flatten(0, 1), crop=self.geometry.crop, generator=generator)
        return changed.unflatten(0, frames.shape)

    def _frame_size(self, index: VideoIndex) -> FrameSize:
        """The centre crop, or the whole resized frame where other parts of it are taken."""
        takes_whole_frames = self.views != "centre" if self.jitter is None else self.jitter.takes_whole_frames
        if not takes_whole_frames:
            return self._size
        whole = self._size.resized(index.info.height, index.info.width)
        return FrameSize(whole, whole)

    def _reach(self, index: VideoIndex) -> tuple[int, int]:
        """Frames before the first, and after the last, of a segment that a clip of it may hold."""
        if not self.context:
            return 0, 0
        most = self.geometry.span + (self.time_jitter or 0)
        after = index.file.info.num_frames - index.first - index.info.num_frames
        return min(index.first, most), min(after, most)

    def _sampled(self, number: int, index: VideoIndex, place: float) -> Tensor:
        num_video_frames, num_frames = index.info.num_frames, self.geometry.num_frames
        if self.segments > 1:
            drawn = torch.rand(self.segments, generator=torch.Generator().manual_seed(int(place * 2**53)))
            places = drawn if self.training else None
            return clips_of_segments(num_video_frames, self.geometry, num_segments=self.segments, places=places)
        if self.sampler == "clip":
            reach = self._reach(index)
            return clip_frames(num_video_frames, self.geometry, place=place, reach=reach, time_jitter=self.time_jitter)
        generator = torch.Generator().manual_seed(int(place * 2**53)) if self.training else None
        if self.sampler == "segment":
            return segment_frames(num_video_frames, num_frames, generator=generator)
        if number not in self._curves:
            self._curves[number] = motion_curve(
                index.info.path, kind=self.difference, filters=self.filters, index=index
            )
        if self.sampler == "magnitude":
            return motion_magnitude_frames(self._curves[number], num_frames)
        return motion_guided_frames(
            self._curves[number], num_frames, mu=self.mu, rounding=self.rounding, generator=generator
        )


def clips_of_segments(
    num_video_frames: int, geometry: ClipGeometry, *, num_segments: int, places: Tensor | None = None
) -> Tensor:
    """Frames of one clip from each of so many equal parts of a video (TSN, section 3.1): (num_segments, T) int64.

    Parts are of the places where a clip can start, so that every clip fits; of a video shorter than a clip the last
    frame repeats.

    Args:
        places: (num_segments,) in [0, 1), of the way through each part; None for their middles.

    Example: 12 frames, clips of 3, which start at 0 to 9; two segments -> [2, 3, 4] and [7, 8, 9].
    """
    places = torch.full((num_segments,), 0.5) if places is None else places
    num_starts = max(num_video_frames - geometry.span, 0) + 1
    starts = ((torch.arange(num_segments) + places.double()) * num_starts / num_segments).long()
    steps = torch.arange(geometry.num_frames) * geometry.frame_stride
    return (starts[:, None] + steps).clamp(max=num_video_frames - 1)


def consensus(logits: Tensor, num_videos: int) -> Tensor:
    """The mean logits of each video's clips (TSN's segmental consensus): (num_videos * K, C) -> (num_videos, C)."""
    return logits.unflatten(0, (num_videos, -1)).mean(1)


def clip_frames(
    num_video_frames: int,
    geometry: ClipGeometry,
    *,
    place: float,
    reach: tuple[int, int] = (0, 0),
    time_jitter: int | None = None,
) -> Tensor:
    """Frames of the clip at `place` in [0, 1] of the way from the first that fits to the last: (T,) int64.

    Args:
        reach: of a segment, frames before its first and after its last that are there to be taken: a clip longer
            than the segment then lies around its middle. Frames before it have numbers below 0. Where nothing is
            left to take, the last frame repeats.
        time_jitter: the way is from so many frames before the clip in the middle to so many after it.

    Examples, of clips of 5 frames: 8 frames, place 0.99 -> 3 ... 7;  3 frames, reach (2, 2) -> -1 ... 3;
    3 frames, reach (2, 2), `time_jitter=1`, place 0.99 -> 0 ... 4.
    """
    room = num_video_frames - geometry.span
    earliest, latest = -reach[0], max(room + reach[1], -reach[0])
    low, high = 0, room
    if time_jitter is not None or room < 0:
        low, high = (room // 2 + side * (time_jitter or 0) for side in (-1, 1))
    low, high = (min(max(start, earliest), latest) for start in (low, high))
    start = low + min(int(place * (high - low + 1)), high - low)
    steps = torch.arange(geometry.num_frames) * geometry.frame_stride
    return (start + steps).clamp(max=num_video_frames + reach[1] - 1)
