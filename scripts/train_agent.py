"""Train an agent, and report what its choice of clips buys beside the reference selectors.

python scripts/train_agent.py --agent dsn
python scripts/train_agent.py --agent dsn --help                  # the agent's own settings too
python scripts/train_agent.py --eval runs/dsn-... --sections 4    # a saved run on something else
"""

from __future__ import annotations

import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from PIL import Image
from rich.console import Console

from vidselect_agents import (
    REFERENCES,
    agent_class,
    agent_file,
    load_agent,
    loadable_class,
    make_agent,
    restored_settings,
    signals_wanted,
    tuned_settings,
)
from vidselect_agents.mgsampler import MGSampler
from vidselect_env.bank.head import load_head, save_head
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.recorder import RolloutRecorder
from vidselect_env.envs.render import contact_sheet
from vidselect_env.evaluation.adaptive import adaptive_cost, describe
from vidselect_env.evaluation.evaluate import evaluate, selection_of
from vidselect_env.evaluation.multicrop import SCHEMES, evaluate_crops
from vidselect_env.evaluation.pictures import plot_bins, plot_motion, plot_places, plot_ranked
from vidselect_env.evaluation.report import sweep_budgets, write_report
from vidselect_env.evaluation.table import print_table, write_csv
from vidselect_env.experiment import Experiment, ExperimentConfig, environment_of, make_experiment, steps_of
from vidselect_env.run import HEAD, new_run_folder, read_config, run_logger, write_config


@dataclass(frozen=True, kw_only=True)
class TrainConfig(ExperimentConfig):
    """Everything about a run but the agent's own settings.

    Args:
        agent: a built-in name, an entry point's, or package.module:Class.
        total_timesteps: videos seen in training, a step of a sub-environment each (of one whose episodes are
            sections, M steps each).
        num_envs: sub-environments stepped together, and the batch of a gradient step.
        evaluate_every: evaluate on the test split after so many steps (0: only at the end).
        seed: of the agent and its environment.
        runs: the folder that the run's folder is made in.
    """

    agent: str = "dsn"
    total_timesteps: int = 6_400
    num_envs: int = 64
    evaluate_every: int = 1_600
    seed: int = 0
    runs: Path = Path("runs")


@dataclass(frozen=True)
class EvalConfig:
    """Evaluate a saved run, on its own test split or on something else.

    Args:
        eval: the run's folder.
        sections: M, where another.
        kept: K, where another.
        dataset: other videos; of other classes, if the agent never asks for their names.
        classifier: another; with a fitted head, one is fitted for it.
        weights: its weights.
        test_split: another split.
        runs: the folder that the report's folder is made in.
    """

    eval: Path
    sections: int | None = None
    kept: int | None = None
    dataset: str | None = None
    classifier: str | None = None
    weights: str | None = None
    test_split: str | None = None
    runs: Path = Path("runs")


def main() -> None:
    arguments = sys.argv[1:]
    if any(argument.split("=")[0] == "--eval" for argument in arguments):
        evaluate_run(tyro.cli(EvalConfig, args=arguments))
        return
    known = tyro.cli(_AgentName, args=arguments, return_unknown_args=True, add_help=False)[0]
    defaults = tuned_settings(known.agent, known.environment)
    both: Any = tuple.__class_getitem__((TrainConfig, type(defaults)))
    config, settings = tyro.cli(
        both, args=arguments, default=(TrainConfig(), defaults), config=(tyro.conf.OmitArgPrefixes,)
    )
    train(config, settings)


@dataclass(frozen=True)
class _AgentName:
    agent: str = "dsn"
    environment: str = "auto"


def train(config: TrainConfig, settings: Any) -> Path:
    """Train, evaluate and report one run; returns its folder."""
    experiment = make_experiment(config, signals=signals_wanted(config.agent, settings))
    env = SelectVectorEnv(experiment.train_problem(agent_class(config.agent)), num_envs=config.num_envs)
    agent = make_agent(config.agent, env, seed=config.seed, device=config.torch_device, **dataclasses.asdict(settings))
    folder = new_run_folder(config.runs, config.agent.replace(":", "."))
    class_names = experiment.train.spec.class_names
    write_config(folder, experiment=config, agent_settings=settings, class_names=class_names)
    logger = run_logger(folder)
    env.recorder = RolloutRecorder(logger)
    if hasattr(agent, "set_logger"):
        agent.set_logger(logger)
    started_s = time.perf_counter()
    agent.learn(
        steps_of(env.problem, config.total_timesteps),
        callback=_Evaluations(config, experiment, logger),
        progress_bar=True,
    )
    env.recorder.dump()
    train_seconds = time.perf_counter() - started_s
    if hasattr(agent, "save"):
        agent.save(folder / agent_file(agent))
    if experiment.head is not None:
        save_head(experiment.head, folder / HEAD)
    report(folder, agent, env, experiment, facts={"training": f"{train_seconds:.0f} s", "seed": config.seed})
    logger.close()
    return folder


def evaluate_run(config: EvalConfig) -> Path:
    """Report a saved run on another split, M or dataset; returns the new folder."""
    run = read_config(config.eval)
    saved, class_names = run["experiment"], tuple(run["class_names"])
    saved["runs"] = config.runs
    changes = {
        "test_sections": config.sections,
        "kept": config.kept,
        "dataset": config.dataset,
        "classifier": config.classifier,
        "weights": config.weights,
        "test_split": config.test_split,
    }
    saved |= {name: value for name, value in changes.items() if value is not None}
    experiment_config = TrainConfig(**saved)
    cls = loadable_class(experiment_config.agent)
    environment = environment_of(experiment_config, cls)
    foreign = "kept" if environment == "VideoClipSelect-v0" else "sections"
    if getattr(config, foreign) is not None:
        raise SystemExit(f"--{foreign} {getattr(config, foreign)} is no option of {environment}, which the run is of")
    head = load_head(config.eval / HEAD) if (config.eval / HEAD).exists() else None
    if (config.classifier or config.weights) is not None or _class_names(experiment_config) != class_names:
        head = None  # it was fitted on another classifier's features, or for other classes
    settings = restored_settings(experiment_config.agent, run["agent_settings"])
    signals = signals_wanted(experiment_config.agent, settings)
    experiment = make_experiment(experiment_config, signals=signals, head=head, only_test=True)
    env = SelectVectorEnv(experiment.train_problem(cls), num_envs=experiment_config.num_envs)
    agent = load_agent(cls, config.eval, env, device=experiment_config.torch_device)
    folder = new_run_folder(config.runs, f"eval-{config.eval.name}")
    write_config(folder, experiment=experiment_config, evaluated=str(config.eval))
    report(folder, agent, env, experiment, facts={"evaluated": config.eval})
    return folder


def report(folder: Path, agent: Any, env: SelectVectorEnv, experiment: Experiment, *, facts: dict[str, Any]) -> None:
    """The table, on the console and in the run's folder with its plots."""
    config = experiment.config
    assert isinstance(config, TrainConfig)
    test = experiment.test_problem(agent_class(config.agent))
    agents = {name: make_agent(name, env, seed=config.seed) for name in REFERENCES} | {config.agent: agent}
    results = [evaluate(each, test, name=name) for name, each in agents.items()]
    if experiment.test_crops and hasattr(agent, "frame_scores") and isinstance(test, FrameSelectProblem):
        crops = [test.with_source(source) for source in experiment.test_crops]
        results += [
            evaluate_crops(agent, crops, scheme=scheme, name=f"{config.agent}, 10 crops, {scheme}-based")
            for scheme in SCHEMES
        ]
    sweep = sweep_budgets(agents, test)
    write_csv(folder / "results.csv", results)
    write_csv(folder / "sweep.csv", [result for at in sweep.values() for result in at])
    facts = {
        "test videos": f"{results[0].num_videos} of {config.dataset}, split {config.test_split}",
        "classifier": f"{config.classifier}, {test.source.spec.classifier_gmacs:.4g} GMACs a clip",
        "problem": test.description,
        **facts,
    }
    title = f"{config.agent} on {config.dataset}"
    pictures = draw_pictures(folder, agents, test, config.agent)
    bank = experiment.test.bank
    if bank.spec.bins_gmacs:
        facts["cost of a clip"] = describe(adaptive_cost(bank))
        plot_bins(bank.field("num_bins").joined(), folder / "bins.png")
        pictures["Clips by the number of maps that they keep"] = "bins.png"
    path = write_report(folder, results, sweep, title=title, facts=facts, pictures=pictures)
    print_table(results, title=title)
    Console().print(f"report: {path}", highlight=False, soft_wrap=True)


def _class_names(config: TrainConfig) -> tuple[str, ...]:
    options = {"num_videos": config.num_videos, "seed": config.data_seed}
    return load_dataset(config.dataset, split=config.test_split, **options).class_names  # type: ignore[arg-type]


def draw_pictures(folder: Path, agents: dict[str, Any], test: SelectionProblem, name: str) -> dict[str, str]:
    """The pictures of a report, drawn into its folder: captions, and their files."""
    agent = agents[name]
    context = torch.zeros(1, dtype=torch.int64, device=test.source.device)
    sheet = contact_sheet(test, context, selection_of(agent, test, context))
    Image.fromarray(sheet).save(folder / "selection.png")
    plot_places({name: agent, "oracle": agents["oracle"]}, test, folder / "places.png")
    pictures = {
        "The candidates of one video, chosen ones framed": "selection.png",
        "Where in the videos clips are chosen": "places.png",
    }
    if hasattr(agent, "scores"):
        plot_ranked(agent, test, folder / "ranked.png")
        pictures["The highest- and lowest-ranked clips of a few videos"] = "ranked.png"
    if isinstance(agent, MGSampler):
        plot_motion(
            agent, test, folder / "motion.png", mu=agent.config.mu, kind=agent.config.difference, filters=agent.filters
        )
        pictures["The motion of one video, and the clips chosen in it"] = "motion.png"
    return pictures


class _Evaluations:
    """Test accuracy during training, in the log."""

    def __init__(self, config: TrainConfig, experiment: Experiment, logger: Any) -> None:
        self.every, self.logger = config.evaluate_every, logger
        self.problem = experiment.test_problem(agent_class(config.agent))
        self.next_step = self.every

    def __call__(self, agent: Any) -> bool:
        if self.every and agent.num_timesteps >= self.next_step:
            self.next_step += self.every
            result = evaluate(agent, self.problem, name="agent")
            self.logger.record("eval/top1", result.top1)
            self.logger.record("eval/clips_per_video", result.clips_per_video)
        return True


if __name__ == "__main__":
    main()
