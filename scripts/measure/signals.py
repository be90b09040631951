"""What the signals of video and sound cost beside decoding: processor milliseconds a second of video.

    python scripts/measure/signals.py --dataset csv:../shared/data/surv_fight/split.csv

Every signal is taken of every video in turn, several rounds of it, in one thread; the median round counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from rich.console import Console
from tqdm import tqdm

from vidselect_env.datasets import load_dataset
from vidselect_env.video.audio import mel_spectrograms
from vidselect_env.video.compressed import read_compressed
from vidselect_env.video.decode import FrameSize
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import VideoIndex, index_video
from vidselect_env.video.motion import motion_curve
from vidselect_env.video.sampling import motion_guided_frames
from vidselect_env.video.stream import stream_frames


@dataclass(frozen=True, kw_only=True)
class SignalsConfig:
    """On which videos, and how often.

    Args:
        dataset: synthetic, folder:PATH or csv:PATH.
        split: train, test, or what the dataset has.
        num_videos: evenly taken from it.
        rounds: of all signals of a video.
        residual_size: height and width of residuals.
        window_s: seconds of a mel spectrogram, one every half of it.
        num_frames: that MGSampler chooses.
    """

    dataset: str = "synthetic"
    split: str = "test"
    num_videos: int = 20
    rounds: int = 5
    residual_size: int = 112
    window_s: float = 2.0
    num_frames: int = 8


def main() -> None:
    torch.set_num_threads(1)
    config = tyro.cli(SignalsConfig, description=__doc__)
    dataset = load_dataset(config.dataset, split=config.split)
    paths = [dataset.videos[i * len(dataset) // config.num_videos].path for i in range(config.num_videos)]
    indices = [index_video(path) for path in dict.fromkeys(paths)]
    works = signals(config)
    totals: dict[str, float] = dict.fromkeys(works, 0.0)
    sounding_s = duration_s = 0.0
    for index in tqdm(indices, unit="video"):
        times: dict[str, list[float]] = {name: [] for name in works}
        try:
            for _ in range(config.rounds):
                for name, work in works.items():
                    started_s = time.process_time()
                    work(index)
                    times[name].append(time.process_time() - started_s)
        except VideoError as error:
            tqdm.write(f"left out {error}")
            continue
        duration_s += index.info.duration_s
        sounding_s += index.info.duration_s * index.info.has_audio
        for name, rounds in times.items():
            totals[name] += statistics.median(rounds)
    decoding = totals["decode alone"]
    lines = [
        f"{len(indices)} videos of {config.dataset}, {duration_s:.0f} s, {sounding_s:.0f} s of them with sound",
        "",
        "| what is done | ms a second of video | beside decoding |",
        "|---|---:|---:|",
    ]
    for name, total in totals.items():
        shown = duration_s if name != "mel spectrograms" else max(sounding_s, 1e-9)
        extra = total if name == "mel spectrograms" else total - decoding
        ratio = "" if name == "decode alone" else f"+{100 * extra / decoding:.0f} %"
        lines.append(f"| {name} | {1000 * total / shown:.2f} | {ratio} |")
    Console().print("\n".join(lines), highlight=False, soft_wrap=True)


def signals(config: SignalsConfig) -> dict[str, Callable[[VideoIndex], object]]:
    """What is timed, by name."""
    size = FrameSize((config.residual_size, config.residual_size), (config.residual_size, config.residual_size))

    def decode(index: VideoIndex) -> None:
        for _ in stream_frames(index.info.path, np.arange(index.info.num_frames), index=index):
            pass

    def compressed(index: VideoIndex, residual_size: FrameSize | None) -> None:
        everything = range(index.info.num_frames)
        read_compressed(index.info.path, everything, residual_size=residual_size, index=index)

    def motion(index: VideoIndex, kind: str) -> None:
        curve = motion_curve(index.info.path, kind=kind, index=index)
        motion_guided_frames(curve, config.num_frames)

    def sound(index: VideoIndex) -> None:
        centres_s = torch.arange(0, index.info.duration_s, config.window_s / 2)
        mel_spectrograms(index.info.path, centres_s, window_s=config.window_s, index=index)

    return {
        "decode alone": decode,
        "decode + vectors": lambda index: compressed(index, None),
        "decode + vectors + residuals": lambda index: compressed(index, size),
        "decode + image difference (MGSampler)": lambda index: motion(index, "image"),
        "decode + feature difference (MGSampler)": lambda index: motion(index, "feature"),
        "mel spectrograms": sound,
    }


if __name__ == "__main__":
    main()
