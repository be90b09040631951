"""Training an agent: a run's folder, from its configuration."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vidselect_agents.base import FILE_NAME
from vidselect_agents.commands.checkpoint import Checkpoints, check_resumable
from vidselect_agents.commands.joint import train_jointly
from vidselect_agents.commands.options.recipe import RecipeConfig
from vidselect_agents.commands.options.train import ResumeConfig, TrainConfig
from vidselect_agents.commands.report import report
from vidselect_agents.commands.saved import read_run
from vidselect_agents.dsn import DSNConfig
from vidselect_agents.registry import make_agent, needs_of
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.memory import keep_freed_batches
from vidselect_env.envs.wrappers import RecordRollouts
from vidselect_env.evaluation.evaluate import evaluate
from vidselect_env.evaluation.references import REFERENCES
from vidselect_env.evaluation.report import REPORT
from vidselect_env.experiment.banks import Experiment, make_experiment
from vidselect_env.experiment.problems import batched, check_options, fields_of, steps_of
from vidselect_env.experiment.run import HEAD, anchored_config, new_run_folder, run_logger, write_config
from vidselect_env.experiment.summary import describe_problem
from vidselect_env.files import clear_leftovers, writable_folder
from vidselect_env.fitting.head import save_head
from vidselect_env.fitting.processes import Processes, torchrun_processes
from vidselect_env.seeding import deterministic


def run(chosen: ResumeConfig | RecipeConfig | tuple[TrainConfig, Any]) -> None:
    if isinstance(chosen, RecipeConfig):
        from vidselect_agents.commands import recipe  # which trains by this module

        recipe.run(chosen)
        return
    if isinstance(chosen, ResumeConfig):
        resume(chosen.resume, trust=chosen.trust)
    else:
        train(*chosen)


def resume(folder: Path, *, trust: bool = False) -> Path:
    """Go on with a run that was stopped, from its last checkpoint or from the start; returns its folder.

    Raises:
        ValueError: it is no run of training an agent, is finished, or its agent cannot be resumed.
    """
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
    with deterministic(config.deterministic), torchrun_processes(config.classifier.torch_device) as processes:
        return _train(config, settings, folder, processes)


def _train(config: TrainConfig, settings: Any, folder: Path | None, processes: Processes) -> Path:
    if config.checkpoint_every:
        check_resumable(config.agent)
    if config.agent in REFERENCES:
        raise ValueError(f"agent {config.agent!r} sees the answers: it is a row of every report, and learns nothing")
    needs = needs_of(config.agent, settings)
    check_options(config.problem, needs)
    resumed = folder is not None
    name = config.agent.replace(":", ".")
    if isinstance(settings, DSNConfig) and settings.joint:
        folder = folder or processes.told(new_run_folder(config.runs, name) if processes.is_first else Path())
        return train_jointly(config, settings, folder=folder, resumed=resumed, processes=processes)
    if processes.count > 1:
        raise ValueError(
            f"agent {config.agent!r} is trained by one process, not by {processes.count}: start it without torchrun; "
            "several train a classifier, or dsn with --joint"
        )
    if not resumed:
        writable_folder(config.runs)  # before minutes of work that it would lose
    experiment = make_experiment(config, signals=fields_of(config.problem, needs), needs=needs)
    config = dataclasses.replace(config, grid=experiment.config.grid)  # with a number of candidates
    folder = folder or new_run_folder(config.runs, name)
    logger = run_logger(folder)
    env = RecordRollouts(batched(experiment.train_problem(needs), num_envs=config.num_envs), logger)
    for line in describe_problem(env.problem):
        tqdm.write(line)
    keep_freed_batches(env)
    device = config.classifier.torch_device
    agent = make_agent(config.agent, env, seed=config.seed, device=device, **dataclasses.asdict(settings))
    if not resumed:
        write_config(
            folder,
            experiment=anchored_config(config),
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
            if not self.env.dump():  # a line of rollouts was just written: this is one of its own
                self.env.logger.record("time/total_timesteps", self.env.num_steps)
                self.env.logger.dump(self.env.num_steps)
        self.checkpoints.write_if_due(agent, next_evaluation=self.next_step)
        return True

    def resume(self, agent: Any) -> None:
        """Go on from the last checkpoint, if there is one."""
        state = self.checkpoints.resume(agent)
        if state is not None:
            self.next_step = state["next_evaluation"]
