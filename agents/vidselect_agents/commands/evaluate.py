"""Reporting a saved run on its own test split, or on something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vidselect_agents.commands.options.evaluate import EvaluateConfig
from vidselect_agents.commands.options.train import TrainConfig
from vidselect_agents.commands.report import report
from vidselect_agents.registry import load_agent, needs_of, restored_settings
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.contract import LookShapes
from vidselect_env.experiment.banks import Experiment, make_experiment
from vidselect_env.experiment.config import changed, from_json
from vidselect_env.experiment.problems import environment_of
from vidselect_env.experiment.run import HEAD, new_run_folder, read_config, write_config
from vidselect_env.fitting.head import load_head


def run(config: EvaluateConfig) -> None:
    evaluate_run(config)


def evaluate_run(config: EvaluateConfig) -> Path:
    """Report a saved run on another split, M or dataset; returns the new folder."""
    saved = read_config(config.run)
    run = from_json(TrainConfig, saved["experiment"])
    settings = restored_settings(run.agent, saved["agent_settings"])
    needs = needs_of(run.agent, settings)
    environment = environment_of(run.problem, needs)
    foreign, value = ("kept", config.kept) if environment == "VideoClipSelect-v0" else ("sections", config.sections)
    if value is not None:
        raise ValueError(f"--{foreign} {value} is no option of {environment}, which the run is of")
    run = changed(
        run,
        test_sections=config.sections,
        kept=config.kept,
        dataset=config.dataset,
        classifier=config.classifier,
        weights=config.weights,
        test_split=config.test_split,
        runs=config.runs,
    )
    head = load_head(config.run / HEAD) if (config.run / HEAD).exists() else None
    if (config.classifier or config.weights) is not None or _class_names(run) != tuple(saved["class_names"]):
        head = None  # it was fitted on another classifier's features, or for other classes
    shapes = LookShapes.from_json(saved["shapes"])
    agent = load_agent(run.agent, config.run, shapes, device=run.classifier.torch_device)
    experiment = make_experiment(run, signals=needs.fields or (), head=head, only_test=True)
    folder = new_run_folder(config.runs, f"eval-{config.run.name}")
    write_config(folder, experiment=run, evaluated=str(config.run))
    report(folder, agent, experiment, name=run.agent, seed=run.seed, facts={"evaluated": config.run})
    return folder


def load_run(folder: Path) -> tuple[Any, Experiment]:
    """The agent of a saved run, and the bank of the test split that it was reported on."""
    saved = read_config(folder)
    run = from_json(TrainConfig, saved["experiment"])
    needs = needs_of(run.agent, restored_settings(run.agent, saved["agent_settings"]))
    head = load_head(folder / HEAD) if (folder / HEAD).exists() else None
    shapes = LookShapes.from_json(saved["shapes"])
    agent = load_agent(run.agent, folder, shapes, device=run.classifier.torch_device)
    return agent, make_experiment(run, signals=needs.fields or (), head=head, only_test=True)


def _class_names(config: TrainConfig) -> tuple[str, ...]:
    data = config.data
    return load_dataset(
        data.dataset, split=data.test_split, num_videos=data.num_videos, seed=data.data_seed
    ).class_names
