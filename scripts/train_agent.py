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

from vidselect_agents import REFERENCES, agent_class, make_agent, tuned_settings
from vidselect_env.bank.head import load_head, save_head
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.recorder import RolloutRecorder
from vidselect_env.envs.render import contact_sheet
from vidselect_env.evaluation.evaluate import evaluate, selection_of
from vidselect_env.evaluation.multicrop import SCHEMES, evaluate_crops
from vidselect_env.evaluation.report import sweep_budgets, write_report
from vidselect_env.evaluation.table import print_table, write_csv
from vidselect_env.experiment import Experiment, ExperimentConfig, make_experiment, steps_of
from vidselect_env.run import AGENT, HEAD, new_run_folder, read_config, run_logger, write_config


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
        dataset: other videos of the same classes.
        test_split: another split.
        runs: the folder that the report's folder is made in.
    """

    eval: Path
    sections: int | None = None
    dataset: str | None = None
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
    experiment = make_experiment(config, agent_classes=[agent_class(config.agent)])
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
        agent.save(folder / getattr(agent, "file_name", AGENT))
    if experiment.head is not None:
        save_head(experiment.head, folder / HEAD)
    report(folder, agent, env, experiment, facts={"training": f"{train_seconds:.0f} s", "seed": config.seed})
    logger.close()
    return folder


def evaluate_run(config: EvalConfig) -> Path:
    """Report a saved run on another split, M or dataset; returns the new folder."""
    saved = read_config(config.eval)["experiment"]
    saved["runs"] = config.runs
    changes = {"test_sections": config.sections, "dataset": config.dataset, "test_split": config.test_split}
    saved |= {name: value for name, value in changes.items() if value is not None}
    experiment_config = TrainConfig(**saved)
    cls = agent_class(experiment_config.agent)
    if not hasattr(cls, "load"):
        raise SystemExit(f"agent {experiment_config.agent!r} has no load(path, env): it cannot be evaluated later")
    head = load_head(config.eval / HEAD) if (config.eval / HEAD).exists() else None
    experiment = make_experiment(experiment_config, agent_classes=[cls], head=head)
    env = SelectVectorEnv(experiment.train_problem(cls), num_envs=experiment_config.num_envs)
    agent = cls.load(config.eval / getattr(cls, "file_name", AGENT), env, device=experiment_config.torch_device)
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
    context = torch.zeros(1, dtype=torch.int64, device=test.source.device)
    picture = contact_sheet(test, context, selection_of(agent, test, context))
    Image.fromarray(picture).save(folder / "selection.png")
    write_csv(folder / "results.csv", results)
    write_csv(folder / "sweep.csv", [result for at in sweep.values() for result in at])
    facts = {
        "test videos": f"{results[0].num_videos} of {config.dataset}, split {config.test_split}",
        "classifier": f"{config.classifier}, {test.source.spec.classifier_gmacs:.4g} GMACs a clip",
        "problem": test.description,
        **facts,
    }
    title = f"{config.agent} on {config.dataset}"
    path = write_report(folder, results, sweep, title=title, facts=facts, picture=True)
    print_table(results, title=title)
    Console().print(f"report: {path}", highlight=False, soft_wrap=True)


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
