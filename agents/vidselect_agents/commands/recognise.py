"""Recognising video files by a run: whole, or window by window."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tqdm import tqdm

from vidselect_agents.commands.options.recognise import RecogniseConfig
from vidselect_agents.commands.saved import SavedRun, open_run
from vidselect_classifiers import ClipClassifier
from vidselect_env.bank import BankSpec
from vidselect_env.datasets.flow import shown_as
from vidselect_env.envs.contract import Selector
from vidselect_env.evaluation.table import print_unfolded
from vidselect_env.experiment import timeline
from vidselect_env.experiment.banks import keep_known_classes, looks_spec
from vidselect_env.experiment.config import ProblemConfig, changed
from vidselect_env.experiment.problems import check_given, environment_of
from vidselect_env.experiment.windows import Decision, Span, milliseconds_of, recognise_windows, spans_of
from vidselect_env.video.errors import VideoError
from vidselect_env.video.excerpt import save_excerpt
from vidselect_env.video.index import VideoIndex, index_video


@dataclass(frozen=True)
class Recogniser:
    """What a run knows: its selector and classifier, the grid, what may be chosen, its classes, and its dataset."""

    selector: Selector
    classifier: ClipClassifier
    spec: BankSpec
    problem: ProblemConfig
    class_names: tuple[str, ...]
    dataset: str = ""


@dataclass(frozen=True)
class Seen:
    """What was found in one file: its decisions, and what the work took; `seconds` of clock altogether."""

    index: VideoIndex
    decisions: list[Decision]
    milliseconds: dict[str, float]
    seconds: float

    @property
    def spans(self) -> list[Span]:
        return spans_of(self.decisions)


def run(config: RecogniseConfig) -> None:
    recogniser = load_recogniser(config)
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
                write(video, seen, config, recogniser.class_names)
            except VideoError as error:
                failed += 1
                with bar.external_write_mode(file=sys.stderr):
                    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    if failed:
        raise SystemExit(2)


def load_recogniser(config: RecogniseConfig) -> Recogniser:
    """What the folder of a run holds, with the options that are to be others.

    Raises:
        ValueError: it is no run of an agent that can choose in a new video, or an option is not of its environment.
    """
    saved = open_run(config.run, trust=config.trust)
    agent, run = saved.load_agent(), saved.config
    fields = agent.needs.fields
    if not fields:
        raise ValueError(f"the agent of {str(config.run)!r} looks at nothing: there is nothing to choose by")
    if agent.needs.classifier_first:
        raise ValueError(f"the agent of {str(config.run)!r} looks at {'+'.join(fields)}: it needs the classifier first")
    check_given(environment_of(run.problem, agent.needs), sections=config.sections, kept=config.kept)
    run = changed(run, sections=config.sections, kept=config.kept, candidates=config.candidates)
    classifier = run.classifier.make_classifier()
    keep_known_classes(run.fitting, classifier, saved.class_names)
    classifier = with_saved_head(classifier, saved).to(run.classifier.torch_device)
    return Recogniser(
        agent, classifier, looks_spec(run, classifier, fields), run.problem, saved.class_names, run.data.dataset
    )


def with_saved_head(classifier: ClipClassifier, saved: SavedRun) -> ClipClassifier:
    """The classifier with the head that the run fitted, if it fitted one.

    Raises:
        ValueError: the head, or without one the classifier, is not for the run's classes.
    """
    head = saved.load_head()
    if head is not None:
        if head.in_features != classifier.feature_dim:
            raise ValueError(
                f"the head of {str(saved.folder)!r} takes {head.in_features} features, and {classifier.label} gives "
                f"{classifier.feature_dim}"
            )
        classifier.put_head(head, saved.class_names)
    elif classifier.num_classes != len(saved.class_names):
        raise ValueError(
            f"{classifier.label} has {classifier.num_classes} classes and the run {str(saved.folder)!r} "
            f"{len(saved.class_names)}: its head is missing"
        )
    return classifier.eval()


@torch.inference_mode()
def look_at(video: Path, config: RecogniseConfig, recogniser: Recogniser, bar: tqdm, lock: Lock) -> Seen:
    """Recognise one file: every window of it, or all of it as one.

    Raises:
        VideoError: the file cannot be read, or nothing of it be recognised.
    """
    started_s = time.perf_counter()
    index = index_video(shown_as(str(video), recogniser.dataset), allow_corrupt=recogniser.spec.allow_corrupt)
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
        raise VideoError(str(video), decisions[0].reason)
    spent = {"index": index_ms, **milliseconds_of(decisions)}
    return Seen(index, decisions, spent, time.perf_counter() - started_s)


def show(video: Path, seen: Seen, config: RecogniseConfig, class_names: tuple[str, ...]) -> None:
    """The most probable classes, or what is seen when; where it was seen, and the time that each part took."""
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    console.print(escape(str(video)))
    print_unfolded(table_of(seen, config, class_names))
    if config.window is None:
        [found] = [decision.found for decision in seen.decisions if decision.found]
        times = ", ".join(f"{start:.1f} s" for start in found.start_s.tolist())
        console.print(f"{len(found.classified)} of {found.num_candidates} clips classified, at {times}")
    else:
        recognised = [decision.found for decision in seen.decisions if decision.found]
        classified = sum(len(found.classified) for found in recognised)
        offered = sum(found.num_candidates for found in recognised)
        console.print(f"{len(seen.decisions)} windows; {classified} of {offered} clips classified")
    for decision in seen.decisions:
        if decision.found is None:
            console.print(escape(f"{decision.start_s:.1f} to {decision.end_s:.1f} s: {decision.reason}"), style="red")
    spent = ", ".join(f"{name} {value:.0f}" for name, value in seen.milliseconds.items())
    speed = seen.index.info.duration_s / seen.seconds
    console.print(f"milliseconds: {spent}; {sum(seen.milliseconds.values()):.0f} in all, {speed:.1f} x real time\n")


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


def write(video: Path, seen: Seen, config: RecogniseConfig, class_names: tuple[str, ...]) -> None:
    """The files that were asked for."""
    decisions, spans = seen.decisions, seen.spans
    writers: dict[str, Any] = {
        "json": lambda file: timeline.write_timeline_json(
            file, str(video), decisions, spans, class_names, seen.milliseconds
        ),
        "csv": lambda file: timeline.write_timeline_csv(file, str(video), decisions, class_names),
        "srt": lambda file: timeline.write_srt(file, spans, class_names),
        "picture": lambda file: timeline.plot_timeline(file, spans, class_names),
    }
    for name, writer in writers.items():
        asked: Path | None = getattr(config, name)
        if asked is not None:
            suffix = "png" if name == "picture" else name
            file = asked if len(config.videos) == 1 else asked / f"{video.name}.{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            writer(file)
    if config.save_clips is not None:
        save_clips(config.save_clips, video, seen)


def save_clips(folder: Path, video: Path, seen: Seen) -> None:
    """Every clip that was classified as a file, named by its video and when it starts; each once."""
    folder.mkdir(parents=True, exist_ok=True)
    suffix = video.suffix.lower() if video.suffix.lower() in (".mp4", ".mkv") else ".mkv"
    clips = {
        (first, last): start_s
        for decision in seen.decisions
        if decision.found
        for (first, last), start_s in zip(decision.found.frames.tolist(), decision.found.start_s.tolist(), strict=True)
    }
    copied = sum(
        save_excerpt(folder / f"{video.stem}-{start_s:09.2f}s{suffix}", seen.index, first=first, last=last)
        for (first, last), start_s in clips.items()
    )
    Console(highlight=False, soft_wrap=True, markup=False, emoji=False).print(
        f"{len(clips)} clips of {video.name} in {folder}: {copied} copied, {len(clips) - copied} encoded again"
    )
