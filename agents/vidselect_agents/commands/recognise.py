"""Recognise the action of video files with a trained selector: only what it chooses is decoded and classified.

python scripts/recognise.py --run runs/dsn-... VIDEO.mp4 OTHER.mkv
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vidselect_agents.commands import door
from vidselect_agents.commands.train import TrainConfig
from vidselect_agents.registry import load_agent
from vidselect_classifiers import ClipClassifier
from vidselect_env.envs.contract import LookShapes
from vidselect_env.experiment.banks import looks_spec
from vidselect_env.experiment.config import from_json
from vidselect_env.experiment.recognise import Recognition, recognise
from vidselect_env.experiment.run import HEAD, read_config
from vidselect_env.fitting.head import load_head
from vidselect_env.settings import check_settings
from vidselect_env.video.errors import VideoError


@dataclass(frozen=True)
class RecogniseConfig:
    """Which videos, by which run.

    Args:
        videos: files.
        run: folder of a run of an agent that chooses from skims or signals.
        top: classes shown of each video.
    """

    videos: tyro.conf.Positional[tuple[Path, ...]]
    run: Path
    top: int = 3

    def __post_init__(self) -> None:
        check_settings(self, at_least={"top": 1})


@door
def main(arguments: Sequence[str]) -> None:
    config = tyro.cli(RecogniseConfig, args=arguments, description=__doc__)
    saved = read_config(config.run)
    if "class_names" not in saved:
        raise ValueError(f"{str(config.run)!r} is no run of training an agent: it does not name its classes")
    run, class_names = from_json(TrainConfig, saved["experiment"]), tuple(saved["class_names"])
    device = run.classifier.torch_device
    agent = load_agent(run.agent, config.run, LookShapes.from_json(saved["shapes"]), device=device)
    fields = agent.needs.fields
    if not fields:
        raise ValueError(f"the agent of {str(config.run)!r} looks at nothing: there is nothing to choose by")
    if agent.needs.classifier_first:
        raise ValueError(f"the agent of {str(config.run)!r} looks at {'+'.join(fields)}: it needs the classifier first")
    classifier = with_saved_head(run.classifier.make_classifier(), config.run, class_names).to(device)
    spec = looks_spec(run, classifier, fields)
    failed = 0
    for video in config.videos:
        try:
            with torch.inference_mode():
                found = recognise(str(video), agent, classifier=classifier, spec=spec, problem=run.problem)
            show(video, found, class_names, top=config.top)
        except VideoError as error:
            failed += 1
            Console().print(str(error), style="red", markup=False, soft_wrap=True)
    if failed:
        raise SystemExit(1)


def with_saved_head(classifier: ClipClassifier, run: Path, class_names: tuple[str, ...]) -> ClipClassifier:
    """The classifier with the head that the run fitted, if it fitted one."""
    file = run / HEAD
    if file.exists():
        classifier.put_head(load_head(file), class_names)
    return classifier.eval()


def show(video: Path, found: Recognition, class_names: tuple[str, ...], *, top: int) -> None:
    """The most probable classes, where they were seen, and the time that each part took."""
    console = Console(highlight=False, soft_wrap=True)
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
