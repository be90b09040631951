"""Train an agent, and report what its choice of clips buys beside the reference selectors.

python scripts/train_agent.py --agent dsn
python scripts/train_agent.py --agent dsn --help    # the agent's own settings too
python scripts/train_agent.py --resume runs/dsn-...  # one with --checkpoint-every that was stopped
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from vidselect_agents.base import FILE_NAME
from vidselect_agents.commands import door, parse
from vidselect_agents.commands.checkpoint import Checkpoints, check_resumable
from vidselect_agents.commands.report import report
from vidselect_agents.registry import make_agent, needs_of, settings_of
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.memory import keep_freed_batches
from vidselect_env.envs.wrappers import RecordRollouts
from vidselect_env.evaluation.evaluate import evaluate
from vidselect_env.evaluation.references import REFERENCES
from vidselect_env.evaluation.report import REPORT
from vidselect_env.experiment.banks import Experiment, make_experiment
from vidselect_env.experiment.config import ExperimentConfig
from vidselect_env.experiment.problems import batched, steps_of
from vidselect_env.experiment.run import HEAD, new_run_folder, run_logger, write_config
from vidselect_env.files import clear_leftovers
from vidselect_env.fitting.head import save_head
from vidselect_env.seeding import deterministic
from vidselect_env.settings import LARGEST_SEED, check_settings


@dataclass(frozen=True, kw_only=True)
class TrainConfig(ExperimentConfig):
    """Everything about a run but the agent's own settings.

    Args:
        agent: a built-in name, an entry point's, or package.module:Class.
        total_timesteps: videos seen in training, a step of a sub-environment each (of one whose episodes are
            sections, M steps each); of a search, its steps.
        num_envs: sub-environments stepped together, and the batch of a gradient step.
        evaluate_every: evaluate on the test split after so many steps (0: only at the end).
        checkpoint_every: write what is needed to go on after so many steps (0: never), for --resume RUN.
        seed: of the agent and its environment.
        deterministic: the same bytes whatever the number of threads: slower.
        runs: the folder that the run's folder is made in.
    """

    agent: str = "dsn"
    total_timesteps: int = 6_400
    num_envs: int = 64
    evaluate_every: int = 1_600
    checkpoint_every: int = 0
    seed: int = 0
    deterministic: bool = False
    runs: Path = Path("runs")

    def __post_init__(self) -> None:
        amounts = ("evaluate_every", "checkpoint_every", "seed")
        check_settings(
            self,
            at_least=dict.fromkeys(("total_timesteps", "num_envs"), 1) | dict.fromkeys(amounts, 0),
            at_most={"seed": LARGEST_SEED},
        )
        if self.agent in REFERENCES:
            raise ValueError(f"agent {self.agent!r} sees the answers: it is a row of every report, and learns nothing")


@dataclass(frozen=True)
class _Named:
    agent: str = "dsn"
    environment: str = "auto"
    resume: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ResumeConfig:
    """Which run goes on, with its own settings.

    Args:
        resume: its folder.
        trust: import a classifier that the run names as package.module:builder.
    """

    resume: Path
    trust: bool = False


@door
def main(arguments: Sequence[str]) -> None:
    known = parse(_Named, arguments, return_unknown_args=True, add_help=False)[0]
    if known.resume is not None:
        chosen = parse(ResumeConfig, arguments, description=__doc__)
        resume(chosen.resume, trust=chosen.trust)
        return
    defaults = settings_of(known.agent, known.environment)
    both: Any = tuple.__class_getitem__((TrainConfig, type(defaults)))
    config, settings = parse(
        both,
        arguments,
        default=(TrainConfig(), defaults),
        description=__doc__,
        config=(tyro.conf.OmitArgPrefixes,),
    )
    train(config, settings)


def resume(folder: Path, *, trust: bool = False) -> Path:
    """Go on with a run that was stopped, from its last checkpoint or from the start; returns its folder.

    Raises:
        ValueError: it is no run of training an agent, is finished, or its agent cannot be resumed.
    """
    from vidselect_agents.commands.saved import read_run  # which knows `TrainConfig`

    config, settings = read_run(folder, trust=trust)
    check_resumable(config.agent)
    if (folder / REPORT).exists():
        raise ValueError(f"{str(folder)!r} is finished: there is nothing to go on with")
    clear_leftovers(folder)
    return train(config, settings, folder=folder)


def train(config: TrainConfig, settings: Any, *, folder: Path | None = None) -> Path:
    """Train, evaluate and report one run; returns its folder.

    Args:
        folder: of a run that goes on; None for a new one.
    """
    with deterministic(config.deterministic):
        return _train(config, settings, folder)


def _train(config: TrainConfig, settings: Any, folder: Path | None) -> Path:
    if config.checkpoint_every:
        check_resumable(config.agent)
    needs = needs_of(config.agent, settings)
    experiment = make_experiment(config, signals=needs.fields or ())
    resumed, folder = folder is not None, folder or new_run_folder(config.runs, config.agent.replace(":", "."))
    logger = run_logger(folder)
    env = RecordRollouts(batched(experiment.train_problem(needs), num_envs=config.num_envs), logger)
    keep_freed_batches(env)
    device = config.classifier.torch_device
    agent = make_agent(config.agent, env, seed=config.seed, device=device, **dataclasses.asdict(settings))
    if not resumed:
        write_config(
            folder,
            experiment=config,
            agent_settings=settings,
            class_names=experiment.test.spec.class_names,
            shapes=env.shapes.to_json(),
        )
    agent.set_logger(logger)
    started_s = time.perf_counter()
    checkpoints = Checkpoints(folder, env, logger, every=config.checkpoint_every)
    evaluations = _Evaluations(config, experiment, needs, env, checkpoints)
    if resumed:
        evaluations.resume(agent)
    agent.learn(env, steps_of(env.problem, config.total_timesteps), callback=evaluations, progress_bar=True)
    env.dump()
    train_seconds = time.perf_counter() - started_s
    if experiment.head is not None:
        save_head(experiment.head, folder / HEAD)
    agent.save(folder / FILE_NAME)  # last of what makes a run: one that has it is finished
    facts = {"training": f"{train_seconds:.0f} s", "seed": config.seed}
    report(folder, agent, experiment, name=config.agent, seed=config.seed, facts=facts)
    logger.close()
    checkpoints.file.unlink(missing_ok=True)
    return folder


class _Evaluations:
    """Test accuracy during training: a line of the log each, at its own step; and checkpoints after it."""

    def __init__(
        self,
        config: TrainConfig,
        experiment: Experiment,
        needs: Needs,
        env: RecordRollouts,
        checkpoints: Checkpoints,
    ) -> None:
        self.every, self.env, self.checkpoints = config.evaluate_every, env, checkpoints
        self.problem = experiment.test_problem(needs)
        self.next_step = self.every

    def __call__(self, agent: Any) -> bool:
        if self.every and self.env.num_steps >= self.next_step:
            self.next_step += self.every
            result = evaluate(agent, self.problem, name="agent")
            self.env.logger.record("eval/top1", result.top1)
            self.env.logger.record("eval/clips_per_video", result.clips_per_video)
            self.env.dump()
        self.checkpoints.write_if_due(agent, next_evaluation=self.next_step)
        return True

    def resume(self, agent: Any) -> None:
        """Go on from the last checkpoint, if there is one."""
        state = self.checkpoints.resume(agent)
        if state is not None:
            self.next_step = state["next_evaluation"]
