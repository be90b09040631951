"""Joint training of DSN and its classifier (Algorithm 1) on live videos; the best epoch on val is kept."""

from __future__ import annotations

import copy
import dataclasses
import time
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import Logger
from torch import Tensor, nn

from vidselect_agents.base import FILE_NAME, Agent
from vidselect_agents.commands.checkpoint import CHECKPOINT, Checkpoints, read_checkpoint
from vidselect_agents.commands.report import report
from vidselect_agents.dsn import DSNConfig
from vidselect_agents.registry import make_agent, needs_of
from vidselect_classifiers import save_weights
from vidselect_env.envs.memory import keep_freed_batches
from vidselect_env.envs.sources import LiveSource
from vidselect_env.envs.wrappers import RecordRollouts
from vidselect_env.evaluation.evaluate import evaluate
from vidselect_env.experiment.banks import make_experiment
from vidselect_env.experiment.candidates import settled
from vidselect_env.experiment.config import AUTO, ExperimentConfig, changed
from vidselect_env.experiment.live import live_source, load_split, starting_classifier
from vidselect_env.experiment.problems import batched, make_problem, steps_of
from vidselect_env.experiment.run import WEIGHTS, anchored_config, run_logger, write_config
from vidselect_env.fitting.checkpoint import resumed_batch_size
from vidselect_env.fitting.processes import ALONE, Processes


def train_jointly(
    config: Any, settings: DSNConfig, *, folder: Path, resumed: bool, processes: Processes = ALONE
) -> Path:
    """Train, evaluate and report one run of a `TrainConfig`; returns its folder.

    Of several processes each has `num_envs` sub-environments, unless the run was begun by another number, which had
    as many together. The first one writes, judges and reports.

    It learns on `fit` and keeps the best epoch on `val`, which is looked at after every epoch; `test_split` is looked
    at once, at the end, with a bank of the trained classifier. A checkpoint is written every epoch, unless
    `checkpoint_every` says otherwise.

    Raises:
        ValueError: several processes cannot do what one would, or not go on with what others began.
    """
    check_baseline(settings, processes)
    fit_set, val_set = processes.in_turn(lambda: [load_split(config, split) for split in ("fit", "val")])
    needs = needs_of(config.agent, settings)
    if config.grid.candidates == AUTO:
        config = settled(config, fit_set, config.classifier.make_classifier().geometry, needs=needs)
    classifier = processes.in_turn(lambda: starting_classifier(config, fit_set, seed=config.seed))
    num_envs = resumed_num_envs(config.num_envs, folder / CHECKPOINT, classifier=classifier, processes=processes)
    whole = settings.jitter().takes_whole_frames
    common: dict[str, Any] = {"mixed_precision": settings.mixed_precision}
    source = live_source(config, fit_set, classifier, whole_frames=whole, keep_videos=config.keep_videos, **common)
    val = live_source(config, val_set, classifier, views=config.val_views, keep_videos=config.keep_videos, **common)
    logger = run_logger(folder) if processes.is_first else Logger(None, [])
    problem = make_problem(config.problem, source, needs, training=True)
    env = RecordRollouts(batched(problem, num_envs=num_envs, share=(processes.rank, processes.count)), logger)
    keep_freed_batches(env)
    agent = make_agent(
        config.agent, env, seed=config.seed, device=config.classifier.torch_device, **dataclasses.asdict(settings)
    )
    if not resumed and processes.is_first:
        write_config(
            folder,
            experiment=anchored_config(config),
            agent_settings=settings,
            class_names=fit_set.class_names,
            shapes=env.shapes.to_json(),
        )
    agent.set_logger(logger)
    agent.processes = processes
    epoch = steps_of(env.problem, len(source.video_paths))
    checkpoints = Checkpoints(folder, env, logger, every=config.checkpoint_every or epoch)
    if not processes.is_first:
        return help_first(agent, env, config, checkpoints, resumed=resumed)
    epochs = Epochs(agent, source, make_problem(config.problem, val, needs), env, checkpoints, every=epoch)
    if resumed:
        epochs.resume()
    else:
        epochs.judge()  # the start, which nothing that is worse than it replaces
    started_s = time.perf_counter()
    agent.learn(env, steps_of(env.problem, config.total_timesteps), callback=epochs, progress_bar=True)
    epochs.judge()
    facts = {"training": f"{time.perf_counter() - started_s:.0f} s", "seed": config.seed} | epochs.take_best()
    env.dump()
    for each in (source, val):
        each.close()
    save_weights(classifier.cpu(), folder / WEIGHTS)
    agent.save(folder / FILE_NAME)  # last of what makes a run
    tested: ExperimentConfig = changed(config, weights=str(folder / WEIGHTS))
    report(folder, agent, make_experiment(tested, only_test=True), name=config.agent, seed=config.seed, facts=facts)
    logger.close()
    checkpoints.file.unlink(missing_ok=True)
    return folder


def help_first(agent: Agent, env: RecordRollouts, config: Any, checkpoints: Checkpoints, *, resumed: bool) -> Path:
    """Train with the first process, which looks at `val` and writes alone; returns the run's folder."""
    if resumed:
        checkpoints.resume(agent)
    agent.learn(env, steps_of(env.problem, config.total_timesteps))
    env.problem.source.close()
    return checkpoints.file.parent


def check_baseline(settings: DSNConfig, processes: Processes) -> None:
    """See that each process can learn from its own part of a batch.

    Raises:
        ValueError: it would need the rewards of the others'.
    """
    if processes.count > 1 and settings.baseline == "moving_average":
        raise ValueError(
            f"baseline moving_average keeps a mean of each video, whose visits are in {processes.count} processes "
            "here: train with one process, or with another baseline"
        )


def resumed_num_envs(num_envs: int, checkpoint: Path, *, classifier: nn.Module, processes: Processes) -> int:
    """Sub-environments of each process, so that all together are as many as before.

    Args:
        num_envs: of each process, where there is no checkpoint.

    Raises:
        ValueError: with another number of processes than before, training cannot go on as it would have.
    """
    begun_by = read_checkpoint(checkpoint).get("processes", 1) if checkpoint.exists() else processes.count
    began = {"processes": begun_by, "clips_a_pass": num_envs * begun_by}
    return resumed_batch_size(num_envs, began, classifier=classifier, processes=processes)


class Epochs:
    """Called after every update: at the end of an epoch it looks at `val`, keeps the best, and writes a checkpoint."""

    def __init__(
        self, agent: Agent, source: LiveSource, val: Any, env: RecordRollouts, checkpoints: Checkpoints, *, every: int
    ) -> None:
        self.agent, self.source, self.val, self.env, self.checkpoints = agent, source, val, env, checkpoints
        self.every = every
        self.judged = -1  # steps after which `val` was looked at last
        self.start = self.best_top1 = float("nan")
        self.best_step = 0
        self.best: dict[str, dict[str, Tensor]] = {}

    def __call__(self, agent: Agent) -> bool:
        if self.env.num_steps // self.every > max(self.judged, 0) // self.every:
            self.judge()
        told = {name: getattr(self, name) for name in ("judged", "start", "best_top1", "best_step", "best")}
        self.checkpoints.write_if_due(agent, epochs=told, processes=agent.processes.count)
        return True

    def judge(self) -> None:
        """Look at `val`, unless that was done after the same step."""
        if self.judged == self.env.num_steps:
            return
        self.judged = self.env.num_steps
        self.source.classifier.eval()
        top1 = evaluate(self.agent, self.val, name="val").top1
        if not self.best:
            self.start = top1
        if not self.best or top1 > self.best_top1:
            self.best_top1, self.best_step = top1, self.judged
            parts = {"agent": self.agent.modules(), "classifier": self.source.classifier}
            self.best = copy.deepcopy({name: part.state_dict() for name, part in parts.items()})
        self.env.logger.record("eval/val_top1", top1)
        self.env.dump()

    def resume(self) -> None:
        """Go on from the last checkpoint, or from the start."""
        state = self.checkpoints.resume(self.agent)
        if state is None:
            self.judge()
            return
        for name, value in state["epochs"].items():
            setattr(self, name, value)

    def take_best(self) -> dict[str, Any]:
        """Put the best of all epochs in the place of the last; what is to be said of it."""
        self.agent.modules().load_state_dict(self.best["agent"])
        self.source.classifier.load_state_dict(self.best["classifier"])
        found = f"{100 * self.best_top1:.1f} % after {self.best_step / self.every:.3g} epochs"
        return {"best on val": f"{found}, {100 * self.start:.1f} % at the start"}
