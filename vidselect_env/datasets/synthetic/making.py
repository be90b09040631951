"""The files of the synthetic sets: made on first use, one process at a time, with the truth beside them."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vidselect_env.datasets.base import SPLITS, LabelledVideo, VideoDataset
from vidselect_env.datasets.synthetic import scenes, v1_rendering, v1_scenes
from vidselect_env.datasets.synthetic.config import SyntheticConfig
from vidselect_env.datasets.synthetic.motions import MotionSpan, VideoTruth
from vidselect_env.datasets.synthetic.rendering import render_frames
from vidselect_env.datasets.synthetic.sound import SAMPLE_RATE, render_sound
from vidselect_env.files import locked, writable_folder

SPLIT_NUMBERS = {"train": 0, "val": 2, "test": 1}  # of their random numbers
CRFS = {1: 24, 2: 28}  # of H.264, by version of the videos: a larger number is encoded faster
LISTING = "dataset.json"  # written last: what the videos beside it show
MOST_THREADS = 8  # more than this wait for Python's interpreter


def synthetic_dataset(
    *,
    split: str = "train",
    num_train: int | None = None,
    num_val: int | None = None,
    num_test: int | None = None,
    seed: int = 0,
    kind: str = "untrimmed",
    cache_dir: Path,
    progress: bool = True,
) -> VideoDataset:
    """One split of a synthetic set, made on first use and kept in a folder of `cache_dir`.

    A larger number keeps the videos of a smaller one. Making goes on where a killed run stopped, and a
    second process waits for the first.

    Args:
        split: `train`, `val` or `test`.
        num_train, num_val, num_test: videos of the split; by default 800, 200 and 400, of the trimmed kinds 6000, 400
            and 800.
        seed: the same seed gives the same bytes (with the same libraries); another, other videos.
        kind: of `KINDS`.
        cache_dir: where the folder goes.
        progress: show a progress bar while videos are made.

    Raises:
        ValueError: an unknown split or kind, or a number out of range.
        PermissionError: the folder cannot be written to.
    """
    config = SyntheticConfig(seed=seed, kind=kind)
    given = zip(SPLITS, (num_train, num_val, num_test), config.traits.num_videos, strict=True)
    sizes = {name: usual if number is None else number for name, number, usual in given}
    if split not in sizes:
        raise ValueError(f"unknown split {split!r} of the synthetic videos: there are {', '.join(SPLITS)}")
    if sizes[split] < 1:
        raise ValueError(f"num_{split} ({sizes[split]}) must be at least 1")
    folder = Path(cache_dir) / config.folder_name / split
    if not _is_complete(folder, sizes[split]):
        _complete(folder, config, split, sizes[split], progress)
    videos = tuple(
        LabelledVideo(str(folder / video["file"]), (video["label"],), action_spans_s=_seconds(video["action"], config))
        for video in _listed(folder)[: sizes[split]]
    )
    return VideoDataset(name=config.name, split=split, class_names=config.class_names, videos=videos)


def truth_spans(video_path: str | Path) -> VideoTruth:
    """What happens in a video of a synthetic set, from the listing beside it; of the second version, its `Scene`.

    Raises:
        ValueError: the file is not listed there.
    """
    path = Path(video_path)
    for video in _listed(path.parent):
        if video["file"] == path.name:
            return _truth(video)
    raise ValueError(f"{path.name!r} is not listed in {str(path.parent / LISTING)!r}")


def _truth(video: Mapping[str, Any]) -> VideoTruth:
    """A video's truth from its entry in the listing."""
    values = {key: value for key, value in video.items() if key != "file"}
    for key, value in values.items():
        if isinstance(value, list):
            values[key] = tuple((MotionSpan if "motion" in span else scenes.Span)(**span) for span in value)
    return scenes.Scene(**values) if "away" in values else VideoTruth(**values)


def _seconds(spans: Sequence[Mapping[str, Any]], config: SyntheticConfig) -> tuple[tuple[float, float], ...]:
    """Where listed spans begin and end, in seconds."""
    return tuple((span["first_frame"] / config.fps, (span["last_frame"] + 1) / config.fps) for span in spans)


def _label(config: SyntheticConfig, index: int) -> int:
    return index % len(config.class_names)


def _file_name(index: int) -> str:
    return f"{index:05d}.mp4"


def video_rng(config: SyntheticConfig, split: str, index: int) -> np.random.Generator:
    """The random numbers that decide all of a video."""
    return np.random.default_rng([config.seed, SPLIT_NUMBERS[split], config.traits.number, index])


def _listed(folder: Path) -> list[dict[str, Any]]:
    listing = folder / LISTING
    return json.loads(listing.read_text())["videos"] if listing.is_file() else []


def _is_complete(folder: Path, num_videos: int) -> bool:
    if len(_listed(folder)) < num_videos:
        return False
    present = set(os.listdir(folder))
    return all(_file_name(i) in present for i in range(num_videos))


def _complete(folder: Path, config: SyntheticConfig, split: str, num_videos: int, progress: bool) -> None:
    """Make the videos that are missing, then the listing; one process at a time."""
    with locked(writable_folder(folder) / ".lock"):
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
        _write_listing(folder, config, split, max(num_videos, len(_listed(folder))))


def _make_video(folder: Path, config: SyntheticConfig, split: str, index: int) -> None:
    frames, sound = drawn_video(config, _label(config, index), video_rng(config, split, index))
    part = folder / f"{_file_name(index)}.part"
    _encode(part, frames, sound, fps=config.fps, crf=CRFS[config.traits.version])
    part.replace(folder / _file_name(index))


def draw_truth(config: SyntheticConfig, label: int, rng: np.random.Generator) -> VideoTruth:
    """Draw what happens in a video of class `label`."""
    if config.traits.version == 1:
        return v1_scenes.draw_truth(config, label, rng)
    draw = scenes.draw_trimmed_scene if config.traits.is_trimmed else scenes.draw_scene
    return draw(label, config.num_frames, rng)


def drawn_video(
    config: SyntheticConfig, label: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Frames (T, H, W, 3) and sound (S,), None of a silent video."""
    truth = draw_truth(config, label, rng)
    num_frames, fps, silent = config.num_frames, config.fps, config.traits.is_trimmed
    size = {"num_frames": num_frames, "height": config.height, "width": config.width}
    if isinstance(truth, scenes.Scene):
        frames = render_frames(truth, **size, rng=rng)
        return frames, render_sound(truth, num_frames=num_frames, fps=fps, rng=rng)
    frames = v1_rendering.render_frames(truth.action + truth.distractors, **size, rng=rng)
    sound = None if silent else v1_rendering.render_sound(truth.action, num_frames=num_frames, fps=fps, rng=rng)
    return frames, sound


def _encode(path: Path, frames: NDArray[np.uint8], sound: NDArray[np.float32] | None, *, fps: int, crf: int) -> None:
    """Write (T, H, W, 3) RGB frames as H.264 and, if any, (S,) mono sound as AAC."""
    options = {"preset": "superfast", "crf": str(crf), "g": str(2 * fps)}
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
    truths = [draw_truth(config, _label(config, i), video_rng(config, split, i)) for i in range(num_videos)]
    listing = {
        "config": dataclasses.asdict(config),
        "split": split,
        "class_names": config.class_names,
        "videos": [{"file": _file_name(i), **dataclasses.asdict(truth)} for i, truth in enumerate(truths)],
    }
    part = folder / f"{LISTING}.part"
    part.write_text(json.dumps(listing))
    part.replace(folder / LISTING)
