"""Reporting a saved run on its own test split, or on something else."""

from __future__ import annotations

from pathlib import Path

from vidselect_agents.commands.fuse import fuse_runs
from vidselect_agents.commands.options.evaluate import EvaluateConfig, FuseConfig
from vidselect_agents.commands.options.train import TrainConfig
from vidselect_agents.commands.report import report
from vidselect_agents.commands.saved import open_run
from vidselect_agents.registry import needs_of
from vidselect_env.datasets import load_dataset
from vidselect_env.experiment.banks import make_experiment
from vidselect_env.experiment.config import changed
from vidselect_env.experiment.problems import check_given, environment_of, fields_of
from vidselect_env.experiment.run import anchored_config, new_run_folder, write_config


def run(config: EvaluateConfig | FuseConfig) -> None:
    if isinstance(config, FuseConfig):
        fuse_runs(config)
    else:
        evaluate_run(config)


def evaluate_run(config: EvaluateConfig) -> Path:
    """Report a saved run on another split, M or dataset; returns the new folder."""
    saved = open_run(config.run, trust=config.trust)
    run, settings = saved.config, saved.settings
    needs = needs_of(run.agent, settings)
    environment = environment_of(run.problem, needs)
    check_given(environment, sections=config.sections, kept=config.kept, price=config.price, max_clips=config.max_clips)
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
    experiment = make_experiment(run, signals=fields_of(run.problem, needs), head=head, only_test=True)
    folder = new_run_folder(config.runs, f"eval-{config.run.name}")
    write_config(folder, experiment=anchored_config(run), evaluated=str(config.run.absolute()))
    report(folder, agent, experiment, name=run.agent, seed=run.seed, facts={"evaluated": config.run})
    return folder


def _class_names(config: TrainConfig) -> tuple[str, ...]:
    data = config.data
    return load_dataset(
        data.dataset, split=data.test_split, num_videos=data.num_videos, seed=data.data_seed
    ).class_names
