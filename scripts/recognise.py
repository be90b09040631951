"""Recognise the action of video files with a trained selector: only what it chooses is decoded and classified.

python scripts/recognise.py --run runs/dsn-... VIDEO.mp4 OTHER.mkv
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table

from vidselect_agents import agent_class
from vidselect_classifiers import ClipClassifier
from vidselect_env.bank import ClipBank, SkimSpec
from vidselect_env.bank.head import load_head
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.sources import BankSource
from vidselect_env.experiment import ExperimentConfig, experiment_classifier, make_problem
from vidselect_env.recognition import Recognition, recognise
from vidselect_env.run import HEAD, read_config
from vidselect_env.video.clips import ClipGrid
from vidselect_env.video.errors import VideoError


@dataclass(frozen=True)
class RecogniseConfig:
    """Which videos, by which run.

    Args:
        videos: files.
        run: folder of a run of an agent that chooses clips from skims.
        top: classes shown of each video.
    """

    videos: tyro.conf.Positional[tuple[Path, ...]]
    run: Path
    top: int = 3


def main() -> None:
    config = tyro.cli(RecogniseConfig, description=__doc__)
    run = read_config(config.run)
    if "class_names" not in run:
        raise SystemExit(f"{config.run} is no run of training an agent: it does not name its classes")
    saved, class_names = run["experiment"], tuple(run["class_names"])
    known = ExperimentConfig.__dataclass_fields__
    experiment_config = ExperimentConfig(**{name: value for name, value in saved.items() if name in known})
    classifier = with_saved_head(experiment_classifier(experiment_config), config.run, class_names)
    cls = agent_class(saved["agent"])
    environment = getattr(cls, "environment", "VideoClipSelect-v0")
    if saved["observation"] not in ("auto", "skim") or "VideoFrameSelect-v0" in (environment, saved["environment"]):
        raise SystemExit(f"the agent of {config.run} does not choose clips from skims: it needs the classifier first")
    size = (experiment_config.skim_size, experiment_config.skim_size)
    # The agent asks its environment for shapes alone: one video of nothing has them.
    nothing = ClipBank.from_tensors(
        torch.zeros(1, experiment_config.candidates, len(class_names)),
        [0],
        skim=torch.zeros((1, experiment_config.candidates, experiment_config.skim_frames, 3, *size), dtype=torch.uint8),
    )
    problem = make_problem(experiment_config, BankSource(nothing), cls, experiment_config.sections)
    shape = problem.observation_space.shape or ()
    agent = cls.load(config.run / cls.file_name, SelectVectorEnv(problem, num_envs=1))
    geometry = classifier.geometry
    options: dict[str, Any] = {
        "classifier": classifier.to(experiment_config.torch_device),
        "grid": ClipGrid(
            num_clips=experiment_config.candidates,
            num_frames=geometry.num_frames,
            frame_stride=geometry.frame_stride,
        ),
        "skim": SkimSpec(num_frames=experiment_config.skim_frames, resize=size, crop=size),
        "num_sections": experiment_config.sections,
        "num_clips": experiment_config.clips,
        "predict": lambda skims: agent.predict(skims.reshape(-1, *shape), deterministic=True)[0],
    }
    for video in config.videos:
        try:
            show(video, recognise(str(video), **options), class_names, top=config.top)
        except VideoError as error:
            Console().print(str(error), style="red")


def with_saved_head(classifier: ClipClassifier, run: Path, class_names: tuple[str, ...]) -> ClipClassifier:
    """The classifier with the head that the run fitted, if it fitted one."""
    file = run / HEAD
    if file.exists():
        classifier.put_head(load_head(file), class_names)
    return classifier.eval()


def show(video: Path, found: Recognition, class_names: tuple[str, ...], *, top: int) -> None:
    """The most probable classes, where they were seen, and the time that each part took."""
    console = Console()
    console.print(str(video), soft_wrap=True, highlight=False)
    table = Table()
    table.add_column("class")
    table.add_column("probability", justify="right")
    best = found.probabilities.topk(min(top, len(class_names)))
    for value, label in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        table.add_row(class_names[label], f"{value:.3f}")
    console.print(table)
    times = ", ".join(f"{start:.1f} s" for start in found.start_s.tolist())
    console.print(f"{len(found.chosen)} of {found.num_candidates} clips classified, at {times}")
    spent = ", ".join(f"{name} {value:.0f}" for name, value in found.milliseconds.items())
    console.print(f"milliseconds: {spent}; {sum(found.milliseconds.values()):.0f} in all\n")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
