"""Report a saved run on its own test split, or on something else.

python scripts/evaluate_agent.py runs/dsn-... --sections 4
python scripts/evaluate_agent.py --fuse runs/RGB runs/FLOW --weights 1 1.5    # what they say together
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from vidselect_agents.commands import door, parse
from vidselect_agents.commands.fuse import FuseConfig, fuse_runs
from vidselect_agents.commands.report import report
from vidselect_agents.commands.saved import open_run
from vidselect_agents.commands.train import TrainConfig
from vidselect_agents.registry import needs_of
from vidselect_env.datasets import load_dataset
from vidselect_env.experiment.banks import make_experiment
from vidselect_env.experiment.config import changed
from vidselect_env.experiment.problems import environment_of
from vidselect_env.experiment.run import new_run_folder, write_config

OPTIONS = {  # of one environment alone
    "sections": "VideoClipSelect-v0",
    "kept": "VideoFrameSelect-v0",
    "price": "VideoClipSearch-v0",
    "max_clips": "VideoClipSearch-v0",
}


@dataclass(frozen=True)
class EvaluateConfig:
    """Which run, on what.

    Args:
        run: its folder.
        sections: M, where another.
        kept: K, where another.
        price: of a clip of a search, where another.
        max_clips: that a search may classify, where others.
        dataset: other videos; of other classes, if the agent never asks for their names.
        classifier: another; with a fitted head, one is fitted for it.
        weights: its weights.
        test_split: another split.
        runs: the folder that the report's folder is made in.
        trust: import an agent or classifier that the run names as package.module:Name.
    """

    run: tyro.conf.Positional[Path]
    sections: int | None = None
    kept: int | None = None
    price: float | None = None
    max_clips: int | None = None
    dataset: str | None = None
    classifier: str | None = None
    weights: str | None = None
    test_split: str | None = None
    runs: Path = Path("runs")
    trust: bool = False


@door
def main(arguments: Sequence[str]) -> None:
    if any(argument.partition("=")[0] == "--fuse" for argument in arguments):
        fuse_runs(parse(FuseConfig, arguments, description=__doc__))
        return
    evaluate_run(parse(EvaluateConfig, arguments, description=__doc__))


def evaluate_run(config: EvaluateConfig) -> Path:
    """Report a saved run on another split, M or dataset; returns the new folder."""
    saved = open_run(config.run, trust=config.trust)
    run, settings = saved.config, saved.settings
    needs = needs_of(run.agent, settings)
    environment = environment_of(run.problem, needs)
    for option, owner in OPTIONS.items():
        value = getattr(config, option)
        if value is not None and owner != environment:
            raise ValueError(f"--{option.replace('_', '-')} {value} is no option of {environment}, which the run is of")
    run = changed(
        run,
        test_sections=config.sections,
        kept=config.kept,
        price=config.price,
        max_clips=config.max_clips,
        dataset=config.dataset,
        classifier=config.classifier,
        weights=config.weights,
        test_split=config.test_split,
        runs=config.runs,
    )
    head = saved.load_head()
    if (config.classifier or config.weights) is not None or _class_names(run) != saved.class_names:
        head = None  # it was fitted on another classifier's features, or for other classes
    agent = saved.load_agent()
    experiment = make_experiment(run, signals=needs.fields or (), head=head, only_test=True)
    folder = new_run_folder(config.runs, f"eval-{config.run.name}")
    write_config(folder, experiment=run, evaluated=str(config.run))
    report(folder, agent, experiment, name=run.agent, seed=run.seed, facts={"evaluated": config.run})
    return folder


def _class_names(config: TrainConfig) -> tuple[str, ...]:
    data = config.data
    return load_dataset(
        data.dataset, split=data.test_split, num_videos=data.num_videos, seed=data.data_seed
    ).class_names
