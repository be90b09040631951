"""What a codec has already found out about a video: motion, residuals, intra-coded frames.

The visual signals of SCSampler (section 3.3.1), made from H.264 and the MPEG family while decoding.
A *block* is 8 x 8 pixels, the smallest whose vector FFmpeg tells (of a smaller partition it is the first
vector); a *cell* is 16 x 16, a macroblock. An *anchor* is an I- or P-frame.

Which frame a vector refers to is not told, only whether it is of the past or of the future (list 0 or 1 of
H.264). Here it is the nearest frame in that direction that other frames may refer to (of H.264, as its
packets say, so that B-frames that are references count; else an anchor) and that was decoded before. That
is the first reference of an encoder that orders them by distance, as x264 does. Known limits:

- With several references, a block that uses a farther one seems to move too fast, by a whole factor.
- Where H.264 has no timestamps (elementary streams), B-frames are taken not to be references.
- FFmpeg exports zeros for the B-frames of MPEG-4 part 2: they get the motion of the P-frame that follows, as
  in the standard's direct mode; before an I-frame there is none.
- Vectors of the fields of an interlaced picture are taken as if they were of frames.

Shapes: K wanted frames, H x W pixels of a picture, gh x gw cells.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from av.video.frame import PictureType, VideoFrame
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vidselect_env.video.decode import FrameOutput, FrameSize, checked_indices, inside_video, read_sets
from vidselect_env.video.errors import VideoError, faults_of
from vidselect_env.video.index import VideoIndex, index_video
from vidselect_env.video.residual import ResidualOutput
from vidselect_env.video.vectors import (
    CELL,
    MAX_B_FRAMES,
    Coded,
    Vectors,
    block_displacement,
    direct,
    frames_to_decode,
    no_vectors,
    read_coding,
    read_vectors,
    upright,
)

# FFmpeg's decoders of these export vectors; of the other codecs that have motion (AV1, HEVC, VP9) they do not.
CODECS_WITH_VECTORS = frozenset(
    ("h264", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v2", "msmpeg4v3", "h263", "h263p", "flv1", "wmv1", "wmv2")
)
B_TYPES = (PictureType.B, PictureType.BI)
I_TYPES = (PictureType.I, PictureType.SI)


@dataclass(frozen=True)
class CompressedSignals:
    """Signals of K wanted frames, upright.

    displacement: (K, 2, gh, gw) float32, pixels a frame: how fast what is seen in a cell moves, to the right
        and down. The mean over the cell's area, blocks without a vector counting as still; zero in I-frames.
    residual: (K, 3, h, w) int16 RGB in [-255, 255]: the frame minus what the codec's vectors (rounded to
        whole pixels) make of its references; blocks without a vector are compared with the same place in the
        earlier reference. Zero in I-frames, and in frames none of whose references is in the video. None if
        not asked for.
    intra: (K, 3, h, w) uint8 RGB, the frame `last_intra`; None if not asked for.
    last_intra: (K,) int64, number of the I-frame at or before each frame (negative where that is before the
        segment); where decoding began without one (intra refresh), of the frame at which it began.
    """

    displacement: Tensor
    residual: Tensor | None
    intra: Tensor | None
    last_intra: Tensor


def read_compressed(
    path: str | os.PathLike[str],
    frame_indices: Sequence[int] | NDArray[np.integer] | Tensor,
    *,
    grid: tuple[int, int] | None = None,
    residual_size: FrameSize | None = None,
    intra_size: FrameSize | None = None,
    index: VideoIndex | None = None,
) -> CompressedSignals:
    """Read the compressed-domain signals of K frames, in the order asked for.

    Args:
        path: the file.
        frame_indices: (K,) in presentation order, 0 being the first; any order, repeats allowed.
        grid: (gh, gw) that the cells are averaged to; None keeps ceil(H / 16) x ceil(W / 16).
        residual_size: of the residual; None for none.
        intra_size: of the I-frame; None for none.
        index: of the same file, where the caller has it already (`index_video`).

    Raises:
        ValueError: an index is outside the video, or `frame_indices` are not integers.
        VideoError: the file cannot be read, a wanted frame does not decode, or its codec has no vectors.
    """
    index = index_video(path) if index is None else index
    distinct, rows = np.unique(inside_video(checked_indices(frame_indices), index.info), return_inverse=True)
    watcher = CompressedWatcher(index, distinct, grid=grid, residual_size=residual_size, intra_size=intra_size)
    read_sets(path, [], index=index, watchers=[watcher])
    signals, order = watcher.signals(), torch.from_numpy(rows)
    if torch.equal(order, torch.arange(len(distinct))):
        return signals
    return CompressedSignals(
        displacement=signals.displacement[order],
        residual=None if signals.residual is None else signals.residual[order],
        intra=None if signals.intra is None else signals.intra[order],
        last_intra=signals.last_intra[order],
    )


def accumulate(displacement: Tensor, last_intra: Tensor) -> Tensor:
    """Displacement since the last I-frame: (K, 2, gh, gw) in pixels, of K consecutive frames.

    What a cell shows is followed back from frame to frame, as CoViAR does (Wu et al. 2018, section 3.2) from
    P-frame to P-frame; here in steps of a frame, so that it does not matter which are B-frames.

    Args:
        displacement: (K, 2, gh, gw), of `CompressedSignals` with no `grid`.
        last_intra: (K,), of the same; where it changes, the sum starts afresh.
    """
    gh, gw = displacement.shape[2:]
    places = torch.stack(torch.meshgrid(torch.arange(gh), torch.arange(gw), indexing="ij")[::-1]).float()
    extent = torch.tensor([max(gw - 1, 1), max(gh - 1, 1)]).view(2, 1, 1)
    total = displacement.clone()
    for k in range(1, len(total)):
        if last_intra[k] == last_intra[k - 1]:
            origin = (places - displacement[k] / CELL) * 2 / extent - 1  # grid_sample counts from -1 to 1
            where = origin.permute(1, 2, 0)[None]
            total[k] += functional.grid_sample(total[k - 1 : k], where, padding_mode="border", align_corners=True)[0]
    return total


@dataclass(eq=False)
class _Seen:
    """A decoded frame that waits for its references, or is one."""

    number: int
    frame: VideoFrame
    is_b: bool = field(init=False)
    is_intra: bool = field(init=False)

    def __post_init__(self) -> None:
        kind = self.frame.pict_type
        self.is_b = kind in B_TYPES
        self.is_intra = kind in I_TYPES or (kind == PictureType.NONE and self.frame.key_frame)


class CompressedWatcher:
    """Makes the signals of the wanted frames out of all frames that somebody decodes.

    It holds the last anchor, the B-frames since, and the outputs: memory does not grow with the video.

    Args:
        index: of the video.
        wanted: (K,) frame numbers, sorted and distinct.
        grid, residual_size, intra_size: as in `read_compressed`.

    Attributes:
        wanted: the frames that have to be decoded for it: those wanted, and on to where each must have had
            its future reference, after a segment's end too.

    Raises:
        VideoError: FFmpeg exports no vectors for this codec.
    """

    def __init__(
        self,
        index: VideoIndex,
        wanted: NDArray[np.int64],
        *,
        grid: tuple[int, int] | None = None,
        residual_size: FrameSize | None = None,
        intra_size: FrameSize | None = None,
    ) -> None:
        info = index.info
        if info.codec not in CODECS_WITH_VECTORS:
            advice = "re-encode as H.264 or MPEG-4, or choose a signal that is made of pixels"
            raise VideoError(info.path, f"codec {info.codec!r} exports no motion vectors: {advice}")
        file = index.file
        self.wanted = frames_to_decode(wanted + index.first, file.info.num_frames, file.is_key) - index.first
        self._info = info
        self._rows = {int(number): row for row, number in enumerate(wanted)}
        self._missing = set(self._rows)
        self._stored = (info.width, info.height) if info.rotation in (90, 270) else (info.height, info.width)
        self._turns = -info.rotation // 90 % 4
        self._coding: dict[int, Coded] | None = None
        self._past: list[_Seen] = []
        self._pending: list[_Seen] = []
        self._next_number = -1

        self._grid = grid or (-(-info.height // CELL), -(-info.width // CELL))
        self._displacement = torch.zeros(len(wanted), 2, *self._grid)
        self._residual = (
            None if residual_size is None else ResidualOutput(residual_size, info, self._stored, len(wanted))
        )
        self._intra = None if intra_size is None else FrameOutput(intra_size, info, wanted)
        self._last_intra = torch.full((len(wanted),), -1)
        self._last_seen_intra: _Seen | None = None
        self._intra_row = -1  # of `_intra`, where the present I-frame is already written

    def see(self, number: int, frame: VideoFrame) -> None:
        """Take the next frame, decoded with `export_vectors`; numbers ascend by one, or decoding starts afresh."""
        if number != self._next_number:
            self._settle()
            self._past, self._last_seen_intra = [], None
        self._next_number = number + 1
        seen = _Seen(number, frame)
        if seen.is_intra or self._last_seen_intra is None:
            self._last_seen_intra, self._intra_row = seen, -1
        if number in self._rows:
            self._note_intra(self._rows[number], self._last_seen_intra)
        alone = not self._pending
        self._pending.append(seen)
        if len(self._pending) > MAX_B_FRAMES or (not seen.is_b and (alone or self._coded(seen).is_reference)):
            self._settle()

    def signals(self) -> CompressedSignals:
        """The signals, rows in the order of `wanted`; after the last frame.

        Raises:
            ValueError: a wanted frame was not among those seen.
        """
        with faults_of(self._info.path):
            self._settle()
        if self._missing:
            raise ValueError(f"frame {min(self._missing)} is wanted, but was not among the frames seen")
        residual = None if self._residual is None else self._residual.values
        intra = None if self._intra is None else self._intra.frames
        return CompressedSignals(self._displacement, residual, intra, self._last_intra)

    def _note_intra(self, row: int, intra: _Seen) -> None:
        self._last_intra[row] = intra.number
        if self._intra is None:
            return
        if self._intra_row < 0:
            self._intra.write(row, intra.frame)
            self._intra_row = row
        self._intra.frames[row] = self._intra.frames[self._intra_row]

    def _coded(self, seen: _Seen) -> Coded:
        """How a frame lies in the file; where that is not known, as if only anchors were references."""
        if self._coding is None:
            self._coding = read_coding(self._info.path) if self._info.codec == "h264" else {}
        by_type = Coded(0, is_reference=False) if seen.is_b else Coded(-1, is_reference=True)
        return self._coding.get(seen.frame.pts, by_type) if seen.frame.pts is not None else by_type

    def _settle(self) -> None:
        """Make the signals of the pending frames: all their references are there."""
        window = self._past + self._pending
        coded = [self._coded(seen) for seen in window]
        for place in range(len(self._past), len(window)):
            if window[place].number in self._rows:
                usable = [c.is_reference and c.place <= coded[place].place for c in coded]
                past = next((window[k] for k in range(place - 1, -1, -1) if usable[k]), None)
                future = next((window[k] for k in range(place + 1, len(window)) if usable[k]), None)
                self._write(window[place], past, future)
        references = [seen for seen, c in zip(window, coded, strict=True) if c.is_reference]
        anchors = [k for k, seen in enumerate(references) if not seen.is_b]
        self._past = references[anchors[-1] if anchors else 0 :][-MAX_B_FRAMES:]
        self._pending = []

    def _write(self, seen: _Seen, past: _Seen | None, future: _Seen | None) -> None:
        row = self._rows[seen.number]
        self._missing.discard(seen.number)
        if seen.is_intra or (past is None and future is None):
            self._displacement[row] = 0
            if self._residual is not None:
                self._residual.values[row] = 0
            return
        vectors = self._vectors(seen, past, future)
        steps = [0 if reference is None else reference.number - seen.number for reference in (past, future)]
        cells = torch.from_numpy(upright(block_displacement(vectors, steps), self._turns).copy())
        self._displacement[row] = functional.adaptive_avg_pool2d(cells, self._grid)
        if self._residual is not None:
            references = [reference.frame for reference in (past, future) if reference is not None]
            self._residual.write(row, seen.frame, references, vectors)

    def _vectors(self, seen: _Seen, past: _Seen | None, future: _Seen | None) -> Vectors:
        if self._info.codec == "mpeg4" and seen.is_b:
            if past is None or future is None or future.is_intra:
                return no_vectors(self._stored)
            share = (seen.number - past.number) / (future.number - past.number)
            return direct(read_vectors(future.frame, self._stored), share)
        vectors = read_vectors(seen.frame, self._stored)
        for direction, reference in enumerate((past, future)):
            if reference is None:
                vectors.present[direction] = False
        return vectors
