"""The optical flow of another dataset: `flow:METHOD:DATASET`, as in `flow:dis@64:synthetic`, `flow:tvl1:ucf101:ROOT`.

Each video stands for the flow of one of the dataset's, with its labels, part of the file and action; it has no sound.
Flow is computed on first use, and kept in the cache folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import warnings
from pathlib import Path

from tqdm import tqdm

from vidselect_env.ahead import ordered_ahead
from vidselect_env.datasets.base import LabelledVideo, VideoDataset
from vidselect_env.files import cache_dir, writable_folder
from vidselect_env.video.errors import VideoError
from vidselect_env.video.flow import BOUND, FlowSpec, write_flow

PREFIX = "flow:"
FORMAT = 1  # raise it when flow videos change


def is_flow(name: str) -> bool:
    """Whether a dataset's videos show flow."""
    return name.startswith(PREFIX)


def parse_flow(name: str) -> tuple[FlowSpec, str]:
    """How flow is computed, and of which dataset.

    Example: `flow:dis@64:synthetic` -> dis of frames of short side 64, `synthetic`.

    Raises:
        ValueError: it is not of that form.
    """
    method, colon, inner = name.removeprefix(PREFIX).partition(":")
    method, at, side = method.partition("@")
    if not colon or not inner or is_flow(inner) or (at and not side.isdecimal()):
        raise ValueError(f"dataset {name!r} must be flow:METHOD:DATASET or flow:METHOD@SHORT_SIDE:DATASET")
    return FlowSpec(method=method, short_side=int(side) if at else None), inner


def flow_file(path: str, spec: FlowSpec) -> Path:
    """Where the flow of a video is kept: by its path, size and time of change."""
    where = os.path.abspath(path)
    try:
        found = os.stat(where)
        about = [found.st_size, found.st_mtime_ns]
    except OSError:  # reading it will say so
        about = []
    text = json.dumps([FORMAT, BOUND, dataclasses.astuple(spec), where, about])
    key = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return cache_dir() / "flow" / str(spec) / key[:2] / f"{key}.mp4"


def flow_of(path: str, spec: FlowSpec) -> str:
    """The flow video of a video, computed if it is not there.

    Raises:
        VideoError: the video cannot be read.
        ImportError: OpenCV is not installed.
    """
    file = flow_file(path, spec)
    if not file.exists():
        writable_folder(file.parent)
        write_flow(path, file, spec)
    return str(file)


def shown_as(path: str, dataset: str) -> str:
    """The file that stands for a video where the videos of `dataset` are used: its flow, or itself."""
    return flow_of(path, parse_flow(dataset)[0]) if is_flow(dataset) else path


def flow_dataset(name: str, source: VideoDataset, *, num_workers: int = 2, progress: bool = True) -> VideoDataset:
    """The flow of a dataset's videos. Those that cannot be read are left out, with a warning.

    Args:
        name: `flow:METHOD:DATASET`.
        source: that dataset.
    """
    spec, _ = parse_flow(name)
    paths = list(dict.fromkeys(video.path for video in source.videos))
    files: dict[str, str] = {}
    left_out: list[str] = []
    missing = not all(flow_file(path, spec).exists() for path in paths)
    with tqdm(total=len(paths), unit="video", desc=f"flow ({spec})", disable=not (progress and missing)) as bar:
        ahead = ordered_ahead(lambda path: flow_of(path, spec), paths, num_workers=num_workers, ahead=2 * num_workers)
        for path, future in zip(paths, ahead, strict=True):
            try:
                files[path] = future.result()
            except VideoError as error:
                left_out.append(str(error))
            bar.update()
    if left_out:
        warnings.warn(f"{name!r}: {len(left_out)} videos have no flow, the first: {left_out[0]}", stacklevel=2)
    videos: tuple[LabelledVideo, ...] = tuple(
        dataclasses.replace(video, path=files[video.path]) for video in source.videos if video.path in files
    )
    return dataclasses.replace(source, name=name, videos=videos)
