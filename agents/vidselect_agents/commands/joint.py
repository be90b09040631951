"""Joint training of DSN and its classifier (Algorithm 1) on live videos; the best epoch on val is kept."""

from __future__ import annotations

import copy
import dataclasses
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from vidselect_agents.base import FILE_NAME, Agent
from vidselect_agents.commands.checkpoint import Checkpoints
from vidselect_agents.commands.report import report
from vidselect_agents.dsn import DSNConfig
from vidselect_agents.registry import make_agent, needs_of
from vidselect_classifiers import save_weights
from vidselect_env.envs.sources import LiveSource
from vidselect_env.envs.wrappers import RecordRollouts
from vidselect_env.evaluation.evaluate import evaluate
from vidselect_env.experiment.banks import make_experiment
from vidselect_env.experiment.candidates import settled
from vidselect_env.experiment.config import AUTO, ExperimentConfig, changed
from vidselect_env.experiment.live import live_source, load_split, starting_classifier
from vidselect_env.experiment.problems import batched, make_problem, steps_of
from vidselect_env.experiment.run import WEIGHTS, anchored_config, run_logger, write_config


def train_jointly(config: Any, settings: DSNConfig, *, folder: Path, resumed: bool) -> Path:
    """Train, evaluate and report one run of a `TrainConfig`; returns its folder.

    It learns on `fit` and keeps the best epoch on `val`, which is looked at after every epoch; `test_split` is looked
    at once, at the end, with a bank of the trained classifier. A checkpoint is written every epoch, unless
    `checkpoint_every` says otherwise.
    """
    fit_set, val_set = (load_split(config, split) for split in ("fit", "val"))
    needs = needs_of(config.agent, settings)
    if config.grid.candidates == AUTO:
        config = settled(config, fit_set, config.classifier.make_classifier().geometry, needs=needs)
    classifier = starting_classifier(config, fit_set, seed=config.seed)
    whole = settings.jitter().takes_whole_frames
    common: dict[str, Any] = {"mixed_precision": settings.mixed_precision}
    source = live_source(config, fit_set, classifier, whole_frames=whole, keep_videos=config.keep_videos, **common)
    val = live_source(config, val_set, classifier, views=config.val_views, keep_videos=config.keep_videos, **common)
    logger = run_logger(folder)
    env = RecordRollouts(
        batched(make_problem(config.problem, source, needs, training=True), num_envs=config.num_envs), logger
    )
    agent = make_agent(
        config.agent, env, seed=config.seed, device=config.classifier.torch_device, **dataclasses.asdict(settings)
    )
    if not resumed:
        write_config(
            folder,
            experiment=anchored_config(config),
            agent_settings=settings,
            class_names=fit_set.class_names,
            shapes=env.shapes.to_json(),
        )
    agent.set_logger(logger)
    epoch = steps_of(env.problem, len(source.video_paths))
    checkpoints = Checkpoints(folder, env, logger, every=config.checkpoint_every or epoch)
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
        self.checkpoints.write_if_due(agent, epochs=told)
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
