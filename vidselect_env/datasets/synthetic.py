"""The default problem: made here, so that nothing has to be downloaded.

*Untrimmed motion*: an object performs one of eight motions in a few bursts that fill 20 to 35 % of a
12-second video, rests for most of it, and flashes other motions for a few frames (distractors). A tone
tells the motion during the action. *Trimmed*: a dozen frames of nothing but the action, without sound, to
train a clip classifier on. *Speeds*: the same with classes that are still, slow and fast. All are real H.264
(and AAC) files: `scenes` says what happens in them, `rendering` draws it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from tqdm import tqdm

from vidselect_env.datasets.base import LabelledVideo, VideoDataset
from vidselect_env.datasets.rendering import SAMPLE_RATE, MotionSpan, render_frames, render_sound
from vidselect_env.datasets.scenes import KINDS, SyntheticConfig, VideoTruth, draw_truth
from vidselect_env.files import writable_folder

SPLITS = ("train", "test")
LISTING = "dataset.json"  # written last: what the videos beside it show
MOST_THREADS = 8  # more than this wait for Python's interpreter


def synthetic_dataset(
    *,
    split: str = "train",
    num_train: int | None = None,
    num_test: int | None = None,
    seed: int = 0,
    kind: str = "untrimmed",
    cache_dir: Path,
    progress: bool = True,
) -> VideoDataset:
    """One split of the default problem, made on first use and kept in a folder of `cache_dir`.

    A larger number keeps the videos of a smaller one. Making goes on where a killed run stopped, and a
    second process waits for the first.

    Args:
        split: `train` or `test`.
        num_train, num_test: videos of the split; by default 800 and 400, of the trimmed kinds 6000 and 800.
        seed: the same seed gives the same bytes (with the same libraries); another, other videos.
        kind: `untrimmed`; `trimmed`, nothing but the action; or `speeds`, trimmed too: still, slow and fast.
        cache_dir: where the folder goes.
        progress: show a progress bar while videos are made.

    Raises:
        ValueError: an unknown split, or a number out of range.
        PermissionError: the folder cannot be written to.
    """
    if num_train is None:
        num_train = 800 if kind == "untrimmed" else 6000
    if num_test is None:
        num_test = 400 if kind == "untrimmed" else 800
    sizes = dict(zip(SPLITS, (num_train, num_test), strict=True))
    if split not in sizes:
        raise ValueError(f"unknown split {split!r} of the synthetic videos: there are {', '.join(SPLITS)}")
    if sizes[split] < 1:
        raise ValueError(f"num_{split} ({sizes[split]}) must be at least 1")
    config = SyntheticConfig(seed=seed, kind=kind)
    folder = Path(cache_dir) / config.folder_name / split
    if not _is_complete(folder, sizes[split]):
        _complete(folder, config, split, sizes[split], progress)
    videos = tuple(LabelledVideo(str(folder / _file_name(i)), (_label(config, i),)) for i in range(sizes[split]))
    return VideoDataset(name=config.name, split=split, class_names=config.class_names, videos=videos)


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


def _label(config: SyntheticConfig, index: int) -> int:
    return index % len(config.class_names)


def _file_name(index: int) -> str:
    return f"{index:05d}.mp4"


def _rng(config: SyntheticConfig, split: str, index: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, SPLITS.index(split), list(KINDS).index(config.kind), index])


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
    truth = draw_truth(config, _label(config, index), rng)
    spans = truth.action + truth.distractors
    frames = render_frames(spans, num_frames=config.num_frames, height=config.height, width=config.width, rng=rng)
    sound = None
    if config.kind == "untrimmed":
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
    truths = [draw_truth(config, _label(config, i), _rng(config, split, i)) for i in range(num_videos)]
    listing = {
        "config": dataclasses.asdict(config),
        "split": split,
        "class_names": config.class_names,
        "videos": [{"file": _file_name(i), **dataclasses.asdict(truth)} for i, truth in enumerate(truths)],
    }
    part = folder / f"{LISTING}.part"
    part.write_text(json.dumps(listing))
    part.replace(folder / LISTING)
