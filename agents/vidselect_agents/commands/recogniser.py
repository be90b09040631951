"""What a run knows of recognising new videos, and the files that are written of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidselect_agents.commands.options.recognise import RecogniseConfig
from vidselect_agents.commands.saved import SavedRun, open_run
from vidselect_classifiers import ClipClassifier
from vidselect_env.bank import BankSpec
from vidselect_env.envs.contract import Selector
from vidselect_env.experiment import timeline
from vidselect_env.experiment.banks import keep_known_classes, looks_spec
from vidselect_env.experiment.config import ProblemConfig, changed
from vidselect_env.experiment.problems import check_given, environment_of
from vidselect_env.experiment.windows import Decision, milliseconds_of, spans_of
from vidselect_env.video.excerpt import save_excerpt
from vidselect_env.video.index import VideoIndex


@dataclass(frozen=True)
class Recogniser:
    """What a run knows: its selector and classifier, the grid, what may be chosen, its classes, and its dataset."""

    selector: Selector
    classifier: ClipClassifier
    spec: BankSpec
    problem: ProblemConfig
    class_names: tuple[str, ...]
    dataset: str = ""


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


def write_timelines(
    name: str,
    decisions: Sequence[Decision],
    config: RecogniseConfig,
    class_names: tuple[str, ...],
    *,
    milliseconds: dict[str, float] | None = None,
) -> None:
    """The files that were asked for, of a video that is called so.

    Args:
        milliseconds: of the work; None for those of the decisions.
    """
    spans = spans_of(decisions)
    writers: dict[str, Any] = {
        "json": lambda file: timeline.write_timeline_json(
            file, name, decisions, spans, class_names, milliseconds or milliseconds_of(decisions)
        ),
        "csv": lambda file: timeline.write_timeline_csv(file, name, decisions, class_names),
        "srt": lambda file: timeline.write_srt(file, spans, class_names),
        "picture": lambda file: timeline.plot_timeline(file, spans, class_names),
    }
    for kind, writer in writers.items():
        asked: Path | None = getattr(config, kind)
        if asked is not None:
            suffix = "png" if kind == "picture" else kind
            file = asked if len(config.videos) == 1 else asked / f"{Path(name).name}.{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            writer(file)


def save_clips(folder: Path, name: str, index: VideoIndex, decisions: Sequence[Decision]) -> tuple[int, int]:
    """Every clip that was classified as a file, named by its video and when it starts; how many, and how many copied.

    Args:
        name: of the files, with the suffix of their format: `.mp4`, or whatever else becomes `.mkv`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = Path(name)
    suffix = own.suffix.lower() if own.suffix.lower() in (".mp4", ".mkv") else ".mkv"
    clips = {
        (first, last): start_s
        for decision in decisions
        if decision.found
        for (first, last), start_s in zip(decision.found.frames.tolist(), decision.found.start_s.tolist(), strict=True)
    }
    copied = sum(
        save_excerpt(folder / f"{own.stem}-{start_s:09.2f}s{suffix}", index, first=first, last=last)
        for (first, last), start_s in clips.items()
    )
    return len(clips), copied
