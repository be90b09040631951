"""Reads damaged videos and says of each whether what the package promises holds. A process of its own: it may hang.

A line of JSON in (`original`, `mutation`, `seed`, `folder`), a line of JSON out: `outcome` and `broken`, the promises
that do not hold. Outcomes:

- `refused`: a `VideoError` says that the video cannot be read whole;
- `same`: it can, and all its frames are frames of the undamaged video;
- `unmarked`: it can, and some are not, but nothing in FFmpeg marks any of what they are made of: no decoder knows.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import traceback
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

import av
import numpy as np
import torch
from av.stream import Discard
from video_mutations import mutate

from vidselect_env.video.audio import mel_spectrograms
from vidselect_env.video.compressed import CODECS_WITH_VECTORS, read_compressed
from vidselect_env.video.decode import FrameSize, read_frames
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import VideoIndex, index_video
from vidselect_env.video.stream import stream_frames

SIZE = FrameSize((24, 32), (24, 32))
MEMORY_BYTES = 6 * 2**30
NUM_SEEKS = 8


class Plain(NamedTuple):
    """What PyAV alone makes of a file, going on after every error.

    frames: pixels' hash by number; pts, is_key of each; marks: timestamps of what FFmpeg marks, None where unknown.
    """

    frames: list[str]
    pts: list[int | None]
    is_key: list[bool]
    marks: list[int | None]


def pixels(frame: av.VideoFrame) -> str:
    planes = (bytes(plane) for plane in frame.planes)
    lines = [
        raw[row * plane.line_size : row * plane.line_size + plane.width]
        for plane, raw in zip(frame.planes, planes, strict=True)
        for row in range(plane.height)
    ]
    return hashlib.sha256(b"".join(lines)).hexdigest()[:16]


def decode_plainly(path: Path, options: dict[str, str]) -> Plain:
    plain = Plain([], [], [], [])
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            stream = container.streams.best("video")
            if stream is None or stream.codec_context is None:
                return plain
            stream.codec_context.thread_count = 1
            for other in container.streams:
                if other is not stream:  # else a damaged place of the sound ends the reading
                    other.discard = Discard.all
            stream.codec_context.options = options
            started = False
            for packet in container.demux(stream):
                started = started or packet.is_keyframe  # what comes before is no part of the index
                if not started:
                    continue
                if packet.is_corrupt:
                    plain.marks.append(packet.pts)
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    plain.marks.append(packet.pts)
                    continue
                for frame in frames:
                    plain.frames.append(pixels(frame))
                    plain.pts.append(frame.pts)
                    plain.is_key.append(frame.key_frame)
                    if frame.is_corrupt:
                        plain.marks.append(frame.pts)
    except (av.FFmpegError, ValueError):
        plain.marks.append(None)
    return plain


@cache
def truth_of(original: str) -> frozenset[str]:
    return frozenset(decode_plainly(Path(original), {}).frames)


def is_marked(pts: int | None, plain: Plain) -> bool:
    """Whether FFmpeg marks a frame, or one between the keyframe before it and itself."""
    if pts is None or None in plain.marks:
        return bool(plain.marks)
    keys = [p for p, key in zip(plain.pts, plain.is_key, strict=True) if key and p is not None and p <= pts]
    return any(max(keys, default=-(2**63)) <= mark <= pts for mark in plain.marks)


class Trial:
    """One damaged file: reads it in every way, and notes what is broken."""

    def __init__(self, original: str, damaged: Path, seed: int) -> None:
        self.truth, self.damaged, self.rng = truth_of(original), damaged, Random(seed)
        self.broken: list[str] = []
        self.refusals: list[str] = []

    def attempt(self, what, read):
        """What `read()` gives; None after a `VideoError`, as after anything else, which is broken."""
        try:
            return read()
        except VideoError as error:
            self.refusals.append(f"{what}: {error.reason}")
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.broken.append(f"{what}: {type(error).__name__} at {where.name}:{where.lineno}: {error}")
        return None

    def run(self) -> str:
        outcome = "refused"
        index = self.attempt("index", lambda: index_video(self.damaged))
        if index is not None:
            outcome = self.read_video(index)
            self.attempt("sound", lambda: self.read_sound(index))
            if index.info.codec in CODECS_WITH_VECTORS:
                self.attempt("vectors", lambda: self.read_vectors(index))
        self.attempt("leniently", self.read_leniently)
        return outcome

    def read_video(self, index: VideoIndex) -> str:
        count = index.info.num_frames
        shown = self.attempt("whole", lambda: self.hashes(index, range(count)))
        whole = self.attempt("whole frames", lambda: read_frames(self.damaged, range(count), sizes=[SIZE], index=index))
        threaded = self.attempt("two threads", lambda: self.hashes(index, range(count), num_threads=2))
        if (shown is None) != (whole is None):
            self.broken.append("whole: one reading fails, another does not")
        if shown is not None and threaded is not None and shown != threaded:
            self.broken.append("whole: two threads give other pixels")
        # Of H.264 what `explode` gives up is no mark: in whole videos it gives up P-frames after an open GOP's start.
        ways = [{}] if index.info.codec == "h264" else [{}, {"err_detect": "explode"}]
        plainly = [decode_plainly(self.damaged, options) for options in ways]
        if shown is not None and len(plainly[0].frames) != count:
            self.broken.append(f"count: the index has {count} frames, decoding gives {len(plainly[0].frames)}")
        wrong = self.judge(index, shown or {}, plainly)
        for wanted in self.wanted(count):
            found = self.attempt(f"seek {wanted}", lambda wanted=wanted: self.hashes(index, wanted))
            frames = self.attempt(
                f"frames {wanted}", lambda wanted=wanted: read_frames(self.damaged, wanted, sizes=[SIZE], index=index)
            )
            if found is not None and shown is not None and any(found[n] != shown[n] for n in wanted):
                self.broken.append(f"seek {wanted}: other pixels than read whole")
            if frames is not None and whole is not None and not torch.equal(frames[0], whole[0][wanted]):
                self.broken.append(f"frames {wanted}: others than read whole")
            if found is None and shown is not None:
                self.broken.append(f"seek {wanted}: fails where reading whole does not")
            self.judge(index, found or {}, plainly)
        return "refused" if shown is None else "unmarked" if wrong else "same"

    def judge(self, index: VideoIndex, found: dict[int, str], plainly: list[Plain]) -> int:
        """How many frames are not of the undamaged video; broken where FFmpeg knew."""
        wrong = [number for number, shown in found.items() if shown not in self.truth]
        for number in wrong:
            pts = int(index.pts[number]) if index.has_timestamps else None
            if any(is_marked(pts, plain) for plain in plainly):
                self.broken.append(f"frame {number}: is marked as damaged, and was taken")
        return len(wrong)

    def wanted(self, count: int) -> list[list[int]]:
        singles = [[self.rng.randrange(count)] for _ in range(NUM_SEEKS - 2)]
        return [*singles, [count - 1], sorted({0, self.rng.randrange(count)})]

    def hashes(self, index: VideoIndex, wanted, *, num_threads: int = 1) -> dict[int, str]:
        numbers = np.array(sorted(wanted), np.int64)
        seen = {}
        for number, frame in stream_frames(self.damaged, numbers, index=index, num_threads=num_threads):
            if number in wanted:
                seen[number] = pixels(frame)
        return seen

    def read_sound(self, index: VideoIndex) -> None:
        centres_s = torch.linspace(0, min(index.info.duration_s, 30), 4)
        mel = mel_spectrograms(self.damaged, centres_s, window_s=0.5, index=index)
        if mel is not None and not mel.isfinite().all():
            self.broken.append("sound: not finite")

    def read_vectors(self, index: VideoIndex) -> None:
        wanted = sorted({0, index.info.num_frames // 2, index.info.num_frames - 1})
        signals = read_compressed(self.damaged, wanted, grid=(4, 4), residual_size=SIZE, intra_size=SIZE, index=index)
        if not signals.displacement.isfinite().all():
            self.broken.append("vectors: not finite")

    def read_leniently(self) -> None:
        index = index_video(self.damaged, allow_corrupt=True)
        read_frames(self.damaged, range(min(index.info.num_frames, 500)), sizes=[SIZE], index=index)


def main() -> None:
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    print("ready", flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        damaged = Path(task["folder"]) / "damaged"
        damaged = mutate(Path(task["original"]), damaged, mutation=task["mutation"], seed=task["seed"])
        trial = Trial(task["original"], damaged, task["seed"])
        outcome = trial.run()
        damaged.unlink()
        print(json.dumps({"outcome": outcome, "broken": trial.broken, "refusals": trial.refusals}), flush=True)


if __name__ == "__main__":
    main()
