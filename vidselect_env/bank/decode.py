"""Decoding the candidates of videos, a little ahead of whoever classifies them.

Shapes: L candidates of a video, T frames a clip, S frames a skim.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from vidselect_env.bank.spec import BankSpec
from vidselect_env.datasets.base import LabelledVideo
from vidselect_env.video.clips import middle_frames
from vidselect_env.video.decode import FrameSize, read_clips
from vidselect_env.video.index import index_video

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class VideoClips:
    """One video, decoded: its clips (L * crops, T, 3, H, W) and skims (L, S, 3, h, w), uint8, or no skims."""

    video: LabelledVideo
    num_frames: int
    num_clips: int
    clips: Tensor
    skims: Tensor | None


def decode_video(video: LabelledVideo, *, spec: BankSpec) -> VideoClips:
    """Decode every candidate of a video once, at the classifier's and the skim's resolution."""
    from torchvision.transforms.functional import ten_crop  # takes a second to import

    index = index_video(video.path)
    frames = spec.grid.frame_indices(index.info.num_frames)
    sizes = [FrameSize(spec.clip_resize, spec.clip_crop)]
    if spec.crops == 10:
        whole = sizes[0].resized(index.info.height, index.info.width)
        sizes = [FrameSize(whole, whole)]
    if spec.skim is not None and spec.skim.frame_size != sizes[0]:
        sizes.append(spec.skim.frame_size)
    read = read_clips(video.path, frames, sizes=sizes, index=index)
    skims = None
    if spec.skim is not None:
        skims = read[-1][:, middle_frames(spec.grid.num_frames, spec.skim.num_frames)]
    clips = read[0]
    if spec.crops == 10:
        clips = torch.stack(ten_crop(clips, list(spec.clip_crop)), dim=1).flatten(0, 1)
    return VideoClips(video, index.info.num_frames, len(frames), clips, skims)


def ordered_ahead(
    work: Callable[[_Item], _Result], items: Iterable[_Item], *, num_workers: int, ahead: int
) -> Iterator[Future[_Result]]:
    """`work` on every item by threads, at most `ahead` of the one asked for: futures in the items' order."""
    with ThreadPoolExecutor(num_workers) as pool:
        waiting: deque[Future[_Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > ahead:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for future in waiting:
                future.cancel()


def decode_ahead(
    todo: Sequence[tuple[Path, Sequence[LabelledVideo]]], *, spec: BankSpec, num_workers: int
) -> Iterator[list[Future[VideoClips]] | Iterator[Future[VideoClips]]]:
    """For every shard, its videos' futures; decoding runs on into the next shard."""
    videos = (video for _, group in todo for video in group)
    futures = ordered_ahead(
        lambda video: decode_video(video, spec=spec),
        videos,
        num_workers=num_workers,
        ahead=2 * num_workers + 2,
    )
    for _, group in todo:
        yield (next(futures) for _ in group)
