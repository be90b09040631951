"""Recognising video files by a run: whole, or window by window."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tqdm import tqdm

from vidselect_agents.commands.options.recognise import RecogniseConfig
from vidselect_agents.commands.recognise_stream import recognise_live
from vidselect_agents.commands.recogniser import Recogniser, load_recogniser, save_clips, write_timelines
from vidselect_env.datasets.flow import shown_as
from vidselect_env.evaluation.table import print_unfolded
from vidselect_env.experiment import timeline
from vidselect_env.experiment.ledger import Dense, Ledger, compared, dense_problem
from vidselect_env.experiment.windows import Decision, Span, milliseconds_of, recognise_windows, spans_of
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import VideoIndex, index_video
from vidselect_env.video.live import is_stream


@dataclass(frozen=True)
class Seen:
    """What was found in one file: its decisions, and what the work took; `seconds` of clock altogether.

    dense: what classifying every candidate says, if that was asked for.
    """

    index: VideoIndex
    decisions: list[Decision]
    milliseconds: dict[str, float]
    seconds: float
    dense: list[Decision] | None = None

    @property
    def spans(self) -> list[Span]:
        return spans_of(self.decisions)


def run(config: RecogniseConfig) -> None:
    streams = [video for video in config.videos if is_stream(video)]
    if streams and (len(config.videos) > 1 or config.window is None or config.compare is not None):
        raise ValueError(f"{streams[0]!r} is a stream: it is recognised by itself, with --window and without --compare")
    recogniser = load_recogniser(config)
    if streams:
        recognise_live(streams[0], config, recogniser)
        return
    failed = 0
    lock = Lock()  # of the bar
    with (
        ThreadPoolExecutor(config.jobs) as pool,
        tqdm(total=0, unit="s", unit_scale=True, desc="seconds of video", disable=config.window is None) as bar,
    ):
        waiting = [pool.submit(look_at, video, config, recogniser, bar, lock) for video in config.videos]
        for video, future in zip(config.videos, waiting, strict=True):
            try:
                seen = future.result()
                with bar.external_write_mode(file=sys.stdout):
                    show(video, seen, config, recogniser.class_names)
                write_timelines(video, seen.decisions, config, recogniser.class_names, milliseconds=seen.milliseconds)
                if config.save_clips is not None:
                    count, copied = save_clips(config.save_clips, video, seen.index, seen.decisions)
                    _print(f"{count} clips in {config.save_clips}: {copied} copied, {count - copied} encoded again")
            except VideoError as error:
                failed += 1
                with bar.external_write_mode(file=sys.stderr):
                    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    if failed:
        raise SystemExit(2)


@torch.inference_mode()
def look_at(video: str, config: RecogniseConfig, recogniser: Recogniser, bar: tqdm, lock: Lock) -> Seen:
    """Recognise one file: every window of it, or all of it as one.

    Raises:
        VideoError: the file cannot be read, or nothing of it be recognised.
    """
    started_s = time.perf_counter()
    index = index_video(shown_as(video, recogniser.dataset), allow_corrupt=recogniser.spec.allow_corrupt)
    index_ms = 1000 * (time.perf_counter() - started_s)
    duration_s = index.info.duration_s
    with lock:
        bar.total += duration_s
    window_s = duration_s if config.window is None else config.window
    decisions, told_s = [], 0.0
    for decision in recognise_windows(
        index,
        recogniser.selector,
        classifier=recogniser.classifier,
        spec=recogniser.spec,
        problem=recogniser.problem,
        window_s=window_s,
        every_s=config.every or window_s,
    ):
        decisions.append(decision)
        with lock:
            bar.update(decision.end_s - told_s)
            bar.set_postfix_str(f"{bar.n / max(bar.format_dict['elapsed'], 1e-9):.1f} x real time")
        told_s = decision.end_s
    if all(decision.found is None for decision in decisions):
        raise VideoError(video, decisions[0].reason)
    spent = {"index": index_ms, **milliseconds_of(decisions)}
    seconds = time.perf_counter() - started_s
    return Seen(index, decisions, spent, seconds, densely(index, config, recogniser) if config.compare else None)


def densely(index: VideoIndex, config: RecogniseConfig, recogniser: Recogniser) -> list[Decision]:
    """What classifying every candidate of the same windows says, and takes."""
    window_s = index.info.duration_s if config.window is None else config.window
    windows = recognise_windows(
        index,
        Dense(),
        classifier=recogniser.classifier,
        spec=recogniser.spec,
        problem=dense_problem(recogniser.problem, recogniser.selector.needs),
        window_s=window_s,
        every_s=config.every or window_s,
    )
    return list(windows)


def show(video: str, seen: Seen, config: RecogniseConfig, class_names: tuple[str, ...]) -> None:
    """The most probable classes, or what is seen when; where it was seen, and the time that each part took."""
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    console.print(escape(video))
    print_unfolded(table_of(seen, config, class_names))
    if config.window is None:
        [found] = [decision.found for decision in seen.decisions if decision.found]
        times = ", ".join(f"{start:.1f} s" for start in found.start_s.tolist())
        console.print(f"classified at {times}")
    windows = "" if config.window is None else f"{len(seen.decisions)} windows; "
    console.print(f"{windows}{Ledger.of(seen.decisions)}")
    for decision in seen.decisions:
        if decision.found is None:
            console.print(escape(f"{decision.start_s:.1f} to {decision.end_s:.1f} s: {decision.reason}"), style="red")
    spent = ", ".join(f"{name} {value:.0f}" for name, value in seen.milliseconds.items())
    speed = seen.index.info.duration_s / seen.seconds
    console.print(f"milliseconds: {spent}; {sum(seen.milliseconds.values()):.0f} in all, {speed:.1f} x real time")
    console.print("" if seen.dense is None else f"{compared(seen.decisions, seen.dense)}\n")


def table_of(seen: Seen, config: RecogniseConfig, class_names: tuple[str, ...]) -> Table:
    """The most probable classes of a whole file, or the spans of its windows."""
    table = Table()
    table.add_column("class")
    if config.window is None:
        [found] = [decision.found for decision in seen.decisions if decision.found]
        table.add_column("probability", justify="right")
        best = found.probabilities.topk(min(config.top, len(class_names)))
        for value, label in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            table.add_row(escape(class_names[label]), f"{value:.3f}")
        return table
    for heading in ("from", "to", "probability"):
        table.add_column(heading, justify="right")
    for span in seen.spans:
        name = "not recognised" if span.label is None else class_names[span.label]
        bounds = (timeline.clock(second, mark=".") for second in (span.start_s, span.end_s))
        table.add_row(escape(name), *bounds, "" if span.label is None else f"{span.probability:.3f}")
    return table


def _print(text: str) -> None:
    Console(highlight=False, soft_wrap=True, markup=False, emoji=False).print(text)
