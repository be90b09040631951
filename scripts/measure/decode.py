"""Our decoder beside torchcodec, decord and OpenCV, whichever are installed: clips of files, one thread, in one run.

    python scripts/measure/decode.py --short csv:../shared/data/surv_fight/split.csv \
        --medium csv:../shared/data/grid_s1/words.csv

Every decoder opens a file, finds out how many frames it has, and gives the same clips of it, resized and cropped. The
decoders take turns at every file; a file's time is the least of its rounds, and a row the mean over its files. Times
are the processor's, of all threads of the process, so that other work on the machine counts little.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
import tyro
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from vidselect_env.datasets import load_dataset
from vidselect_env.video.clips import ClipGrid
from vidselect_env.video.decode import FrameSize, read_clips
from vidselect_env.video.index import index_video

RESIZE, CROP = (128, 171), (112, 112)
TOP, LEFT = (8, 30)  # of the centre crop, as torchvision's CenterCrop places it
LONG_S, LONG_FPS, LONG_SIZE = 600, 25, (240, 320)


@dataclass(frozen=True, kw_only=True)
class DecodeConfig:
    """On which files, and how often.

    Args:
        short: a dataset of short files, of which 12 clips of 16 frames are read.
        medium: one of which 12 clips of 8 frames are read.
        split: of both.
        num_files: evenly taken from each.
        long: a long file, of which 6 and 60 clips of 16 frames are read; without one, ten minutes are made.
        rounds: of all decoders.
    """

    short: str = "synthetic"
    medium: str = "synthetic-trimmed"
    split: str = "test"
    num_files: int = 20
    long: Path | None = None
    rounds: int = 5


def main() -> None:
    torch.set_num_threads(1)
    config = tyro.cli(DecodeConfig, description=__doc__)
    decoders = installed()
    with tempfile.TemporaryDirectory() as folder:
        long = [str(config.long or make_long(Path(folder) / "long.mp4"))]
        cases = [
            ("short, 12 x 16", paths_of(config.short, config), ClipGrid(num_clips=12, num_frames=16)),
            ("medium, 12 x 8", paths_of(config.medium, config), ClipGrid(num_clips=12, num_frames=8)),
            ("long, 6 x 16", long, ClipGrid(num_clips=6, num_frames=16)),
            ("long, 60 x 16", long, ClipGrid(num_clips=60, num_frames=16)),
        ]
        lines = [f"| ms a file | {' | '.join(decoders)} | ours ahead by |", "|---|" + "---:|" * (len(decoders) + 1)]
        lines += [row(name, measured(decoders, paths, grid, config.rounds)) for name, paths, grid in cases]
    Console().print("\n".join(lines), highlight=False, soft_wrap=True)


def installed() -> dict[str, Callable[[str, ClipGrid], Tensor]]:
    """The decoders that can be imported, by name and version, ours first."""
    found: dict[str, Callable[[str, ClipGrid], Tensor]] = {"ours": ours}
    others = {"torchcodec": with_torchcodec, "decord": with_decord, "cv2": with_opencv}
    for module, decoder in others.items():
        if find_spec(module) is None:
            Console().print(f"{module} is not installed")
            continue
        name = f"OpenCV {import_module(module).__version__}" if module == "cv2" else f"{module} {version(module)}"
        found[name] = decoder
    return found


def measured(
    decoders: dict[str, Callable[[str, ClipGrid], Tensor]], paths: Sequence[str], grid: ClipGrid, rounds: int
) -> dict[str, float]:
    """Milliseconds a file of every decoder. What they give is compared first: all must read the same frames."""
    totals = dict.fromkeys(decoders, 0.0)
    for path in tqdm(paths, unit="file", leave=False):
        expected = ours(path, grid)
        for name, decode in decoders.items():
            check_same(name, path, decode(path, grid), expected)
        times: dict[str, list[float]] = {name: [] for name in decoders}
        for _ in range(rounds):
            for name, decode in decoders.items():
                started_s = time.process_time()
                decode(path, grid)
                times[name].append(time.process_time() - started_s)
        for name, each in times.items():
            totals[name] += 1000 * min(each) / len(paths)
    return totals


def check_same(name: str, path: str, clips: Tensor, expected: Tensor) -> None:
    """See that a decoder gave the frames that ours gave; filters and colours of resizing differ a little.

    Raises:
        ValueError: another shape, or other pictures.
    """
    if clips.shape != expected.shape:
        raise ValueError(f"{name} gives {tuple(clips.shape)} of {path!r}, and ours {tuple(expected.shape)}")
    difference = (clips.float() - expected.float()).abs().mean().item()
    if difference > 12:
        raise ValueError(f"{name} gives other frames of {path!r}: they differ by {difference:.1f} of 255 on average")


def row(name: str, totals: dict[str, float]) -> str:
    ours_ms, *others = totals.values()
    ahead = ", ".join(f"{other / ours_ms:.2f}" for other in others)
    return f"| {name} | {' | '.join(f'{total:.1f}' for total in totals.values())} | {ahead} |"


def ours(path: str, grid: ClipGrid) -> Tensor:
    index = index_video(path, keep_packets=True)
    frames = grid.frame_indices(index.info.num_frames)
    return read_clips(path, frames, sizes=[FrameSize(RESIZE, CROP)], index=index)[0]


def with_torchcodec(path: str, grid: ClipGrid) -> Tensor:
    """With its own resize and crop, which libavfilter does while it decodes."""
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import CenterCrop, Resize

    decoder = VideoDecoder(path, transforms=[Resize(RESIZE), CenterCrop(CROP)], num_ffmpeg_threads=1)
    frames = grid.frame_indices(len(decoder))
    return decoder.get_frames_at(frames.flatten().tolist()).data.unflatten(0, frames.shape)


def with_decord(path: str, grid: ClipGrid) -> Tensor:
    """With its own resize; the crop and the layout are ours to make."""
    import decord

    # It polls its own thread for the last frames, and gives up too soon on a machine of few cores.
    os.environ.setdefault("DECORD_EOF_RETRY_MAX", "1000000")
    reader = decord.VideoReader(path, height=RESIZE[0], width=RESIZE[1], num_threads=1)
    frames = grid.frame_indices(len(reader))
    numbers, places = frames.unique(return_inverse=True)
    pictures = torch.from_numpy(reader.get_batch(numbers.tolist()).asnumpy())
    return _cropped(pictures)[places]


def with_opencv(path: str, grid: ClipGrid) -> Tensor:
    """Read on, and jumped where that is shorter than a second of frames; resized by area."""
    import cv2

    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    frames = grid.frame_indices(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    numbers, places = frames.unique(return_inverse=True)
    pictures, at = [], 0
    for number in numbers.tolist():
        if number - at > LONG_FPS:
            capture.set(cv2.CAP_PROP_POS_FRAMES, number)
            at = number
        while at < number:
            capture.grab()
            at += 1
        _, picture = capture.read()
        at += 1
        small = cv2.resize(picture, RESIZE[::-1], interpolation=cv2.INTER_AREA)
        pictures.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
    return _cropped(torch.from_numpy(np.stack(pictures)))[places]


def _cropped(pictures: Tensor) -> Tensor:
    """The centres of pictures (K, h, w, 3): (K, 3, H, W)."""
    inside = pictures[:, TOP : TOP + CROP[0], LEFT : LEFT + CROP[1]]
    return inside.permute(0, 3, 1, 2).contiguous()


def paths_of(name: str, config: DecodeConfig) -> list[str]:
    dataset = load_dataset(name, split=config.split)
    paths = list(dict.fromkeys(video.path for video in dataset.videos))
    count = min(config.num_files, len(paths))
    return [paths[number * len(paths) // count] for number in range(count)]


def make_long(path: Path) -> Path:
    """Ten minutes of a texture that drifts, H.264 with x264's own keyframes and B-frames."""
    height, width = LONG_SIZE
    noise = torch.rand(1, 3, height // 8 + 100, width // 8 + 100, generator=torch.Generator().manual_seed(0))
    texture = F.interpolate(noise, scale_factor=8, mode="bilinear")[0].mul(255).byte().permute(1, 2, 0).numpy()
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=LONG_FPS, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in tqdm(range(LONG_S * LONG_FPS), desc="making a long file", leave=False):
            top, left = (int(400 * (1 + np.sin(number / period))) for period in (97, 61))
            picture = np.ascontiguousarray(texture[top : top + height, left : left + width])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, LONG_FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    main()
