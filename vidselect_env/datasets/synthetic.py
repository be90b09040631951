"""The default problem: made here, so that nothing has to be downloaded.

*Untrimmed motion*: an object performs one of eight motions in a few bursts that fill 20 to 35 % of a
12-second video, rests for most of it, and flashes other motions for a few frames (distractors). A tone
tells the motion during the action. *Trimmed*: a dozen frames of nothing but the action, without sound, to
train a clip classifier on. Both are real H.264 (and AAC) files, which `rendering` draws.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from tqdm import tqdm

from vidselect_env.cache import writable_folder
from vidselect_env.datasets.base import LabelledVideo, VideoDataset
from vidselect_env.datasets.rendering import (
    MOTIONS,
    SAMPLE_RATE,
    MotionSpan,
    render_frames,
    render_sound,
)

SPLITS = ("train", "test")
LISTING = "dataset.json"  # written last: what the videos beside it show
MOST_THREADS = 8  # more than this wait for Python's interpreter
FORMAT_VERSION = 1  # raise it with every change of what the files show: it is part of the folder's name

ACTION_SHARE = (0.20, 0.35)
NUM_BURSTS = (1, 3)
SHORTEST_BURST = 8
PERIOD_FRAMES = (9.0, 15.0)
NUM_DISTRACTORS = (2, 4)
DISTRACTOR_FRAMES = (3, 6)
SHORTEST_REST = 3
# Frames that hold the longest action, the most distractors, and a rest before, between and after them.
FEWEST_FRAMES = 80


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """What the videos of a synthetic set are like; their number is not part of it.

    Raises:
        ValueError: a value is out of range.
    """

    seed: int = 0
    trimmed: bool = False
    width: int = 160
    height: int = 120
    fps: int = 15
    num_frames: int = 180

    def __post_init__(self) -> None:
        least = {
            "seed": 0,
            "width": 64,
            "height": 64,
            "fps": 1,
            "num_frames": 2 if self.trimmed else FEWEST_FRAMES,
        }
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least {smallest}")
        if self.width % 2 or self.height % 2:
            raise ValueError(f"width ({self.width}) and height ({self.height}) must be even, for H.264")

    @property
    def name(self) -> str:
        return "synthetic-trimmed" if self.trimmed else "synthetic"

    @property
    def folder_name(self) -> str:
        text = json.dumps([FORMAT_VERSION, dataclasses.asdict(self)], sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, kw_only=True)
class VideoTruth:
    """What happens in a video: the bursts of its action, and the distractors, each sorted by frame."""

    label: int
    action: tuple[MotionSpan, ...]
    distractors: tuple[MotionSpan, ...] = ()


def synthetic_dataset(
    *,
    split: str = "train",
    num_train: int | None = None,
    num_test: int | None = None,
    seed: int = 0,
    trimmed: bool = False,
    cache_dir: Path,
    progress: bool = True,
) -> VideoDataset:
    """One split of the default problem, made on first use and kept in a folder of `cache_dir`.

    A larger number keeps the videos of a smaller one. Making goes on where a killed run stopped, and a
    second process waits for the first.

    Args:
        split: `train` or `test`.
        num_train, num_test: videos of the split; by default 800 and 400, trimmed 6000 and 800.
        seed: the same seed gives the same bytes (with the same libraries); another, other videos.
        trimmed: clips of nothing but the action.
        cache_dir: where the folder goes.
        progress: show a progress bar while videos are made.

    Raises:
        ValueError: an unknown split, or a number out of range.
        PermissionError: the folder cannot be written to.
    """
    if num_train is None:
        num_train = 6000 if trimmed else 800
    if num_test is None:
        num_test = 800 if trimmed else 400
    sizes = dict(zip(SPLITS, (num_train, num_test), strict=True))
    if split not in sizes:
        raise ValueError(f"unknown split {split!r} of the synthetic videos: there are {', '.join(SPLITS)}")
    if sizes[split] < 1:
        raise ValueError(f"num_{split} ({sizes[split]}) must be at least 1")
    config = SyntheticConfig(seed=seed, trimmed=trimmed, num_frames=12 if trimmed else 180)
    folder = Path(cache_dir) / config.folder_name / split
    if not _is_complete(folder, sizes[split]):
        _complete(folder, config, split, sizes[split], progress)
    videos = tuple(LabelledVideo(str(folder / _file_name(i)), (_label(i),)) for i in range(sizes[split]))
    return VideoDataset(name=config.name, split=split, class_names=MOTIONS, videos=videos)


def truth_spans(video_path: str | Path) -> VideoTruth:
    """What happens in a video of a synthetic set, from the listing beside it.

    Raises:
        ValueError: the file is not listed there.
    """
    path = Path(video_path)
    videos = json.loads((path.parent / LISTING).read_text())["videos"]
    for video in videos:
        if video["file"] == path.name:
            spans = {key: tuple(MotionSpan(**s) for s in video[key]) for key in ("action", "distractors")}
            return VideoTruth(label=video["label"], **spans)
    raise ValueError(f"{path.name!r} is not listed in {str(path.parent / LISTING)!r}")


def draw_truth(config: SyntheticConfig, label: int, rng: np.random.Generator) -> VideoTruth:
    """Draw when an action of class `label` happens, how fast it is, and what distracts from it."""
    period = rng.uniform(*PERIOD_FRAMES)
    motion = MOTIONS[label]
    total = config.num_frames
    if config.trimmed:
        phase = rng.random()
        span = MotionSpan(
            motion=motion, first_frame=0, last_frame=total - 1, num_periods=total / period, start_phase=phase
        )
        return VideoTruth(label=label, action=(span,))
    shortest, longest = int(np.ceil(ACTION_SHARE[0] * total)), int(ACTION_SHARE[1] * total)
    num_action_frames = int(rng.integers(shortest, longest + 1))
    num_bursts = min(int(rng.integers(NUM_BURSTS[0], NUM_BURSTS[1] + 1)), num_action_frames // SHORTEST_BURST)
    lengths = SHORTEST_BURST + _split(num_action_frames - num_bursts * SHORTEST_BURST, num_bursts, rng)
    pieces = [(motion, int(length)) for length in lengths]
    others = [name for name in MOTIONS if name != motion]
    for _ in range(rng.integers(NUM_DISTRACTORS[0], NUM_DISTRACTORS[1] + 1)):
        length = int(rng.integers(DISTRACTOR_FRAMES[0], DISTRACTOR_FRAMES[1] + 1))
        pieces.append((others[rng.integers(len(others))], length))
    pieces = [pieces[i] for i in rng.permutation(len(pieces))]
    spans = _lay_out(pieces, total, period, motion, rng)
    return VideoTruth(
        label=label,
        action=tuple(span for span in spans if span.motion == motion),
        distractors=tuple(span for span in spans if span.motion != motion),
    )


def _lay_out(
    pieces: Sequence[tuple[str, int]], num_frames: int, period: float, action: str, rng: np.random.Generator
) -> list[MotionSpan]:
    """Spans of (motion, length) pieces in order, with rests of random lengths around them.

    A burst lasts a whole number of periods, so that the object ends where it began.
    """
    num_rests = len(pieces) + 1
    idle = num_frames - sum(length for _, length in pieces) - num_rests * SHORTEST_REST
    rests = SHORTEST_REST + _split(idle, num_rests, rng)
    spans, first = [], 0
    for (motion, length), rest in zip(pieces, rests, strict=False):
        first += int(rest)
        periods = max(round(length / period), 1) if motion == action else length / period
        spans.append(MotionSpan(motion=motion, first_frame=first, last_frame=first + length - 1, num_periods=periods))
        first += length
    return spans


def _split(total: int, num_parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Non-negative integers, (num_parts,), that add up to `total`."""
    cuts = np.sort(rng.integers(0, total + 1, num_parts - 1))
    return np.diff(cuts, prepend=0, append=total)


def _label(index: int) -> int:
    return index % len(MOTIONS)


def _file_name(index: int) -> str:
    return f"{index:05d}.mp4"


def _rng(config: SyntheticConfig, split: str, index: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, SPLITS.index(split), config.trimmed, index])


def _num_listed(folder: Path) -> int:
    listing = folder / LISTING
    return len(json.loads(listing.read_text())["videos"]) if listing.is_file() else 0


def _is_complete(folder: Path, num_videos: int) -> bool:
    if _num_listed(folder) < num_videos:
        return False
    present = set(os.listdir(folder))
    return all(_file_name(i) in present for i in range(num_videos))


def _complete(folder: Path, config: SyntheticConfig, split: str, num_videos: int, progress: bool) -> None:
    """Make the videos that are missing, then the listing; one process at a time."""
    with FileLock(writable_folder(folder) / ".lock"):
        missing = [i for i in range(num_videos) if not (folder / _file_name(i)).exists()]
        make = functools.partial(_make_video, folder, config, split)
        title = f"making {config.name} {split}"
        # Threads, not processes: codec, NumPy and torch let go of the interpreter, and scripts need no guard.
        with (
            ThreadPoolExecutor(min(os.cpu_count() or 1, MOST_THREADS)) as pool,
            tqdm(total=len(missing), desc=title, unit="video", disable=not progress) as bar,
        ):
            for _ in pool.map(make, missing):
                bar.update()
        _write_listing(folder, config, split, max(num_videos, _num_listed(folder)))


def _make_video(folder: Path, config: SyntheticConfig, split: str, index: int) -> None:
    rng = _rng(config, split, index)
    truth = draw_truth(config, _label(index), rng)
    spans = truth.action + truth.distractors
    frames = render_frames(spans, num_frames=config.num_frames, height=config.height, width=config.width, rng=rng)
    sound = None
    if not config.trimmed:
        sound = render_sound(truth.action, num_frames=config.num_frames, fps=config.fps, rng=rng)
    part = folder / f"{_file_name(index)}.part"
    _encode(part, frames, sound, config.fps)
    part.replace(folder / _file_name(index))


def _encode(path: Path, frames: NDArray[np.uint8], sound: NDArray[np.float32] | None, fps: int) -> None:
    """Write (T, H, W, 3) RGB frames as H.264 and, if any, (S,) mono sound as AAC."""
    options = {"preset": "superfast", "crf": "24", "g": str(2 * fps)}
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=fps, options=options)
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        video.thread_count = 1  # the videos are made side by side already
        audio = None
        if sound is not None:
            audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono", options={"aac_coder": "fast"})
            audio.bit_rate = 32_000
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode(None))
        if audio is not None and sound is not None:
            samples = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            samples.sample_rate = SAMPLE_RATE
            container.mux(audio.encode(samples))
            container.mux(audio.encode(None))


def _write_listing(folder: Path, config: SyntheticConfig, split: str, num_videos: int) -> None:
    truths = [draw_truth(config, _label(i), _rng(config, split, i)) for i in range(num_videos)]
    listing = {
        "config": dataclasses.asdict(config),
        "split": split,
        "class_names": MOTIONS,
        "videos": [{"file": _file_name(i), **dataclasses.asdict(truth)} for i, truth in enumerate(truths)],
    }
    part = folder / f"{LISTING}.part"
    part.write_text(json.dumps(listing))
    part.replace(folder / LISTING)
