"""Windows of a long video: how fast they are recognised beside the parts of the work alone, and the memory they take.

    python scripts/measure/windows.py film --minutes 30 --out film.mp4
    python scripts/measure/windows.py speed --film film.mp4 --run runs/dsn-...
    python scripts/measure/windows.py stream --film film.mp4 --minutes 3 | vidselect recognise --run runs/dsn-... - \
        --window 10 --every 5

`film` puts synthetic test videos one behind the other, by copying their packets. `speed` recognises every window, and
then does nothing but look at, decode and classify the clips of the same windows: each of the three alone, one behind
the other. `stream` writes a film to standard output, each packet when it is due.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Annotated

import av
import torch
import tyro
from rich.console import Console

from vidselect_agents.commands.options.recognise import RecogniseConfig
from vidselect_agents.commands.recogniser import Recogniser, load_recogniser
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.sources.look import LookSource
from vidselect_env.experiment.problems import make_problem
from vidselect_env.experiment.windows import Decision, milliseconds_of, recognise_windows
from vidselect_env.settings import check_settings
from vidselect_env.video.decode import FrameSize, read_clips
from vidselect_env.video.index import VideoIndex, index_video, segment_of

_CONSOLE = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class FilmConfig:
    """A film of synthetic videos.

    Args:
        out: the file.
        minutes: how long it is.
        num_videos: different ones in it, in turn.
    """

    out: Path
    minutes: float = 30
    num_videos: int = 32

    def __post_init__(self) -> None:
        check_settings(self, at_least={"num_videos": 1}, above={"minutes": 0})


@dataclass(frozen=True, kw_only=True)
class SpeedConfig:
    """Which film is recognised by which run.

    Args:
        film: a video file.
        run: folder of a run whose agent chooses from skims or signals.
        window, every: seconds, as of `vidselect recognise`.
        lines: of memory that are printed.
    """

    film: Path
    run: Path
    window: float = 10.0
    every: float = 5.0
    lines: int = 6

    def __post_init__(self) -> None:
        check_settings(self, at_least={"lines": 1}, above={"window": 0, "every": 0})


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """Which film is written as a stream, MPEG-TS.

    Args:
        film: a video file.
        minutes: how much of it.
        speed: times real time.
    """

    film: Path
    minutes: float = 3
    speed: float = 1.0

    def __post_init__(self) -> None:
        check_settings(self, above={"minutes": 0, "speed": 0})


Film = Annotated[FilmConfig, tyro.conf.subcommand("film")]
Speed = Annotated[SpeedConfig, tyro.conf.subcommand("speed")]
Stream = Annotated[StreamConfig, tyro.conf.subcommand("stream")]


def main() -> None:
    config = tyro.cli(Film | Speed | Stream, description=__doc__)
    if isinstance(config, FilmConfig):
        make_film(config)
    elif isinstance(config, SpeedConfig):
        with torch.inference_mode():
            measure(config)
    else:
        write_stream(config)


def make_film(config: FilmConfig) -> None:
    """Copy the packets of videos into one file, each behind the one before."""
    videos = load_dataset("synthetic", split="test", num_videos=2 * config.num_videos).videos
    with av.open(config.out, "w") as made:
        output, begins = None, 0
        for video in cycle(videos):
            with av.open(video.path) as opened:
                stream = opened.streams.video[0]
                output = output or made.add_stream_from_template(stream)
                until = begins
                for packet in opened.demux(stream):
                    if packet.pts is None or packet.dts is None:
                        continue
                    until = max(until, begins + packet.pts + (packet.duration or 0))
                    packet.pts, packet.dts, packet.stream = packet.pts + begins, packet.dts + begins, output
                    unit = packet.time_base
                    made.mux(packet)
            begins = until
            if begins * unit >= 60 * config.minutes:
                return


def write_stream(config: StreamConfig) -> None:
    """Write packets to standard output, each when it is due."""
    with av.open(config.film) as film, av.open(sys.stdout.buffer, "w", format="mpegts") as made:
        stream = film.streams.video[0]
        output, began_s = made.add_stream_from_template(stream), time.monotonic()
        for packet in film.demux(stream):
            if packet.dts is None:
                continue
            second = float(packet.dts * packet.time_base)
            if second > 60 * config.minutes:
                return
            time.sleep(max(began_s + second / config.speed - time.monotonic(), 0))
            packet.stream = output
            made.mux(packet)


def measure(config: SpeedConfig) -> None:
    """Print the memory on the way, what the windows took, and what their parts take alone."""
    recogniser = load_recogniser(RecogniseConfig((str(config.film),), run=config.run))
    begun_s = time.perf_counter()
    index = index_video(str(config.film))
    index_s = time.perf_counter() - begun_s
    decisions, whole_s = recognised(index, recogniser, config)
    spent = ", ".join(f"{name} {value / 1000:.1f}" for name, value in milliseconds_of(decisions).items())
    speed = index.info.duration_s / (whole_s + index_s)
    _CONSOLE.print(f"{len(decisions)} windows: {whole_s:.1f} s (index {index_s:.2f}; {spent}), {speed:.1f} x real time")
    parts = parts_of(index, recogniser, decisions)
    total_s = sum(parts.values())
    told = ", ".join(f"{name} {value:.1f}" for name, value in parts.items())
    _CONSOLE.print(f"alone: {told}; {total_s:.1f} s: {total_s / (whole_s + index_s):.3f} of the windows' speed")


def recognised(index: VideoIndex, recogniser: Recogniser, config: SpeedConfig) -> tuple[list[Decision], float]:
    """Every decision, and how many seconds all took; memory is printed on the way."""
    _CONSOLE.print(f"{'minute':>8} {'resident MB':>12}")
    begun_s, decisions, next_s = time.perf_counter(), [], 0.0
    for decision in recognise_windows(
        index,
        recogniser.selector,
        classifier=recogniser.classifier,
        spec=recogniser.spec,
        problem=recogniser.problem,
        window_s=config.window,
        every_s=config.every,
    ):
        decisions.append(decision)
        if decision.end_s >= next_s or decision.end_s >= index.info.duration_s:
            _CONSOLE.print(f"{decision.end_s / 60:8.1f} {resident_mb():12.1f}")
            next_s += index.info.duration_s / config.lines
    return decisions, time.perf_counter() - begun_s


def parts_of(index: VideoIndex, recogniser: Recogniser, decisions: Sequence[Decision]) -> dict[str, float]:
    """Seconds of looking, decoding and classifying alone: what the windows looked at, decoded and classified."""
    spec, geometry = recogniser.spec, recogniser.classifier.geometry
    size, spent = FrameSize(geometry.resize, geometry.crop), dict.fromkeys(("look", "score", "decode", "classify"), 0.0)

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        begun_s = time.perf_counter()
        yield
        spent[name] += time.perf_counter() - begun_s

    for decision in decisions:
        if decision.found is None:
            continue
        is_last = decision.end_s >= index.info.duration_s
        part = segment_of(index, start_s=decision.start_s or None, end_s=None if is_last else decision.end_s)
        source = LookSource(part, spec=spec)
        problem = make_problem(recogniser.problem, source, recogniser.selector.needs)
        contexts = torch.arange(problem.num_contexts)
        wanted = problem.candidates(contexts).flatten()
        with timed("look"):
            source.look(wanted)
        looks = problem.looks(contexts, recogniser.selector.needs.fields)
        with timed("score"):
            recogniser.selector.select(looks)
        with timed("decode"):
            [clips] = read_clips(part.info.path, source.frames[decision.found.classified], sizes=[size], index=part)
        with timed("classify"):
            recogniser.classifier(clips)
    return spent


def resident_mb() -> float:
    """Of this process, in units of 1e6 bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
