"""Recognise the action of video files with a trained selector: only what it chooses is decoded and classified.

python scripts/recognise.py --run runs/dsn-... VIDEO.mp4 OTHER.mkv
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vidselect_agents.commands import door, parse
from vidselect_agents.commands.saved import SavedRun, open_run
from vidselect_classifiers import ClipClassifier
from vidselect_env.experiment.banks import keep_known_classes, looks_spec
from vidselect_env.experiment.recognise import Recognition, recognise
from vidselect_env.settings import check_settings
from vidselect_env.video.errors import VideoError


@dataclass(frozen=True)
class RecogniseConfig:
    """Which videos, by which run.

    Args:
        videos: files.
        run: folder of a run of an agent that chooses from skims or signals.
        top: classes shown of each video.
        trust: import an agent or classifier that the run names as package.module:Name.
    """

    videos: tyro.conf.Positional[tuple[Path, ...]]
    run: Path
    top: int = 3
    trust: bool = False

    def __post_init__(self) -> None:
        check_settings(self, at_least={"top": 1})


@door
def main(arguments: Sequence[str]) -> None:
    config = parse(RecogniseConfig, arguments, description=__doc__)
    if not config.videos:
        raise ValueError("no video is given: name at least one file")
    saved = open_run(config.run, trust=config.trust)
    run, class_names = saved.config, saved.class_names
    agent = saved.load_agent()
    fields = agent.needs.fields
    if not fields:
        raise ValueError(f"the agent of {str(config.run)!r} looks at nothing: there is nothing to choose by")
    if agent.needs.classifier_first:
        raise ValueError(f"the agent of {str(config.run)!r} looks at {'+'.join(fields)}: it needs the classifier first")
    classifier = run.classifier.make_classifier()
    keep_known_classes(run.fitting, classifier, saved.class_names)
    classifier = with_saved_head(classifier, saved).to(run.classifier.torch_device)
    spec = looks_spec(run, classifier, fields)
    failed = 0
    for video in config.videos:
        try:
            with torch.inference_mode():
                found = recognise(str(video), agent, classifier=classifier, spec=spec, problem=run.problem)
            show(video, found, class_names, top=config.top)
        except VideoError as error:
            failed += 1
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    if failed:
        raise SystemExit(2)


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


def show(video: Path, found: Recognition, class_names: tuple[str, ...], *, top: int) -> None:
    """The most probable classes, where they were seen, and the time that each part took."""
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    console.print(escape(str(video)))
    table = Table()
    table.add_column("class")
    table.add_column("probability", justify="right")
    best = found.probabilities.topk(min(top, len(class_names)))
    for value, label in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        table.add_row(escape(class_names[label]), f"{value:.3f}")
    console.print(table)
    times = ", ".join(f"{start:.1f} s" for start in found.start_s.tolist())
    console.print(f"{len(found.classified)} of {found.num_candidates} clips classified, at {times}")
    spent = ", ".join(f"{name} {value:.0f}" for name, value in found.milliseconds.items())
    console.print(f"milliseconds: {spent}; {sum(found.milliseconds.values()):.0f} in all\n")
