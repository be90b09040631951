"""Decoding the candidates of videos and their cheap signals, a little ahead of whoever classifies them.

Shapes: L candidates of a video, U of them different, T frames a clip, S frames a skim.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vidselect_env.ahead import ordered_ahead
from vidselect_env.bank.dtypes import dtype_of
from vidselect_env.bank.spec import MEL_SHAPE, BankSpec
from vidselect_env.datasets.base import LabelledVideo
from vidselect_env.datasets.flow import is_flow
from vidselect_env.video.audio import mel_spectrograms
from vidselect_env.video.clips import ClipGrid, even_frames, middle_frames
from vidselect_env.video.compressed import CompressedWatcher
from vidselect_env.video.crops import view_crops
from vidselect_env.video.decode import FrameSize, read_sets
from vidselect_env.video.errors import faults_of
from vidselect_env.video.index import VideoIndex, index_video


@dataclass(frozen=True)
class VideoClips:
    """One video, decoded: its different clips (U * crops, T, 3, H, W) uint8, and the bank's decoded fields, (L, ...).

    clip_of: (L,) int64, which of the different clips each candidate is: those of a short video share some.
    spans_s: (L, 2) float64, where each clip begins and ends, seconds of the file.
    """

    video: LabelledVideo
    num_frames: int
    num_clips: int
    clips: Tensor
    clip_of: Tensor
    fields: dict[str, Tensor]
    spans_s: Tensor


def decode_video(video: LabelledVideo, *, spec: BankSpec, whole_frames: bool = False) -> VideoClips:
    """Decode every different candidate of a video once: clips at the classifier's size, and the cheap looks of `spec`.

    Args:
        whole_frames: clips are of the whole resized frames, for crops that are taken later.

    Raises:
        VideoError: the file cannot be read, or has not the signals asked for.
    """
    index = index_video(
        video.path, start_s=video.start_s, end_s=video.end_s, allow_corrupt=spec.allow_corrupt, keep_packets=True
    )
    frames = spec.grid.frame_indices(index.info.num_frames)
    different, clip_of = spec.grid.first_alike(index.info.num_frames).unique(return_inverse=True)
    size = FrameSize(spec.clip_resize, spec.clip_crop)
    if spec.crops == 10 or whole_frames:
        whole = size.resized(index.info.height, index.info.width)
        size = FrameSize(whole, whole)
    [clips], found = read_with_fields(video.path, frames[different], spec=spec, sizes=[size], index=index)
    fields = {name: value[clip_of] for name, value in found.items()} if len(different) < len(frames) else found
    if spec.crops == 10 and not whole_frames:
        with faults_of(video.path, doing="crop the clips of"):
            crops = view_crops(clips, spec.clip_crop, views="ten").transpose(0, 1)
            if is_flow(spec.dataset):  # mirrored, what went to the right goes to the left
                crops[:, 5:, :, 0] = -crops[:, 5:, :, 0]
            clips = crops.flatten(0, 1)
    spans_s = clip_spans_s(index, frames)
    return VideoClips(video, index.info.num_frames, len(frames), clips, clip_of, fields, spans_s)


def read_with_fields(
    path: str, frames: Tensor, *, spec: BankSpec, sizes: Sequence[FrameSize], index: VideoIndex
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Clips of frames (L, T) at every size, and the decoded fields of the spec, each (L, ...), in one pass.

    Without `sizes` only the frames that the fields need are converted.
    """
    seen = frames[:, middle_frames(spec.grid.num_frames, spec.skim.num_frames)] if spec.skim else frames[:, :0]
    told = frames[:, even_frames(spec.grid.num_frames, spec.signals.num_frames)] if spec.signals else frames[:, :0]
    watcher = _watcher(spec, told, index)
    fields: dict[str, Tensor] = {}
    wanted = [(frames, size) for size in sizes]
    if spec.skim is not None:
        wanted.append((seen, spec.skim.frame_size))
    read = read_sets(path, wanted, index=index, watchers=[] if watcher is None else [watcher])
    if spec.skim is not None:
        fields["skim"] = read.pop()
    if watcher is not None:
        fields |= _visual_signals(watcher, told, spec)
    if "mel" in spec.fields:
        fields["mel"] = _sound(path, frames, spec.grid, index)
    return read, fields


def _watcher(spec: BankSpec, told: Tensor, index: VideoIndex) -> CompressedWatcher | None:
    if spec.signals is None or not {"vectors", "residual", "intra"} & set(spec.fields):
        return None
    size = spec.signals.frame_size
    return CompressedWatcher(
        index,
        told.unique().numpy(),
        grid=spec.signals.cells,
        residual_size=size if "residual" in spec.fields else None,
        intra_size=size if "intra" in spec.fields else None,
    )


def _visual_signals(watcher: CompressedWatcher, told: Tensor, spec: BankSpec) -> dict[str, Tensor]:
    """`vectors` (L, S, 2, gh, gw) float16, `residual` (L, S, 3, h, w) int8 or int16, `intra` (L, 3, h, w) uint8."""
    fields = spec.fields
    signals = watcher.signals()
    rows = torch.searchsorted(told.unique(), told)
    found = {}
    if "vectors" in fields:
        found["vectors"] = signals.displacement[rows].half()
    if "residual" in fields:
        assert signals.residual is not None
        dtype = dtype_of("residual", spec)
        held = torch.iinfo(dtype)
        found["residual"] = signals.residual.clamp(held.min, held.max).to(dtype)[rows]
    if "intra" in fields:
        assert signals.intra is not None
        found["intra"] = signals.intra[rows[:, -1]]
    return found


def clip_spans_s(index: VideoIndex, frames: Tensor) -> Tensor:
    """From the first frame of each clip of frames (L, T) to its last one's end: (L, 2) float64, seconds of the file."""
    shown_s = torch.from_numpy(index.shown_s)
    return torch.stack([shown_s[frames[:, 0]], shown_s[frames[:, -1]] + 1 / index.info.fps], dim=1)


def _sound(path: str, frames: Tensor, grid: ClipGrid, index: VideoIndex) -> Tensor:
    """`mel` (L, 40, 200) float16 of a window twice as long as each clip, around its middle; nan without sound."""
    first_s, last_s = clip_spans_s(index, frames).unbind(1)
    window_s = 2 * grid.num_frames * grid.frame_stride / index.info.fps
    mel = mel_spectrograms(path, (first_s + last_s) / 2, window_s=window_s, index=index)
    return torch.full((len(frames), *MEL_SHAPE), torch.nan).half() if mel is None else mel.half()


def decode_ahead(
    groups: Sequence[Sequence[LabelledVideo]],
    *,
    spec: BankSpec,
    num_workers: int,
) -> Generator[Iterator[Future[VideoClips]]]:
    """For every shard, its videos' futures; decoding runs on into the next shard."""
    videos = (video for group in groups for video in group)
    decode = partial(decode_video, spec=spec)
    with closing(ordered_ahead(decode, videos, num_workers=num_workers, ahead=2 * num_workers + 2)) as futures:
        for group in groups:
            yield (next(futures) for _ in group)
