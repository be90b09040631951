"""Clips a second of the two steps of joint training on live videos, beside the classifier alone on the same batches.

    python scripts/measure/live.py --dataset synthetic --num-videos 64 --num-envs 16
    python scripts/measure/live.py --dataset folder:VIDEOS --classifier r3d_18 --weights None --device cuda

A classification step is a forward and a backward pass of the selected clips, and an SGD step; a sampling step is a
forward pass of the clips whose rewards are asked for. What DSN's live training adds to these is reading and choosing
clips, the scorer, and its gradient. Videos are decoded before (`warm`), and decoded while the steps go on (`cold`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor
from torch.nn import functional as F

from vidselect_agents import make_agent
from vidselect_agents.base import Agent
from vidselect_agents.registry import needs_of, settings_of
from vidselect_env.envs.sources import LiveSource
from vidselect_env.experiment.config import ExperimentConfig
from vidselect_env.experiment.live import live_source, load_split, starting_classifier
from vidselect_env.experiment.problems import batched, make_problem
from vidselect_env.fitting.optimisation import make_optimizer

NUM_WARMING = 2  # updates before those that are timed
Batch = tuple[bool, Tensor]  # whether it is learned from, and its clips


@dataclass(frozen=True)
class Seconds:
    """On the clock, and of CPU time of the process with all its threads, which others on the machine take less of."""

    wall: float
    cpu: float

    @classmethod
    def now(cls, source: LiveSource) -> Seconds:
        """When all that was asked of the device is done."""
        if source.device.type == "cuda":
            torch.cuda.synchronize(source.device)
        return cls(time.perf_counter(), time.process_time())

    def since(self, earlier: Seconds) -> Seconds:
        return Seconds(self.wall - earlier.wall, self.cpu - earlier.cpu)


@dataclass(frozen=True, kw_only=True)
class LiveConfig(ExperimentConfig):
    """What is measured.

    Args:
        num_envs: videos a step.
        steps: timed, after two that are not.
        mixed_precision: bfloat16 on a GPU.
    """

    num_envs: int = 16
    steps: int = 8
    mixed_precision: bool = True


def main() -> None:
    config = tyro.cli(LiveConfig, description=__doc__, config=(tyro.conf.OmitArgPrefixes,))
    fit_set = load_split(config, "fit")
    classifier = starting_classifier(config, fit_set)
    for name, keep in (("warm", len(fit_set)), ("cold", 1)):
        source = live_source(config, fit_set, classifier, mixed_precision=config.mixed_precision, keep_videos=keep)
        if name == "warm":
            everything = torch.arange(len(source.video_paths))
            source.observe("skim", everything, torch.zeros(len(everything), 1, dtype=torch.int64))
        live, batches = learn(config, source)
        alone = replay(source, batches)
        clips = sum(len(batch) for _, batch in batches)
        print(
            f"{name}: {clips / live.wall:.2f} clips/s live, {clips / alone.wall:.2f} of the classifier alone on the "
            f"same {len(batches)} batches: {alone.wall / live.wall:.2f} (of this process's CPU seconds "
            f"{alone.cpu / live.cpu:.2f})"
        )
        source.close()
    if source.device.type == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")


def learn(config: LiveConfig, source: LiveSource) -> tuple[Seconds, list[Batch]]:
    """Seconds of the timed updates of joint training, and the batches that the classifier saw in them."""
    settings = {"joint": True, "samples_per_context": 1, "mixed_precision": config.mixed_precision}
    needs = needs_of("dsn", settings_of("dsn"))
    env = batched(make_problem(config.problem, source, needs, training=True), num_envs=config.num_envs)
    agent = make_agent("dsn", env, device=config.classifier.torch_device, **settings)
    batches: list[Batch] = []
    started = Seconds.now(source)

    def after_update(agent: Agent) -> bool:
        nonlocal started
        if agent.num_timesteps == NUM_WARMING * env.num_envs:
            batches.clear()
            started = Seconds.now(source)
        return True

    hook = source.classifier.register_forward_pre_hook(
        lambda module, inputs: batches.append((module.training, inputs[0]))
    )
    agent.learn(env, (NUM_WARMING + config.steps) * env.num_envs, callback=after_update)
    took = Seconds.now(source).since(started)
    hook.remove()
    return took, batches


def replay(source: LiveSource, batches: list[Batch]) -> Seconds:
    """Seconds that the classifier takes for the same batches: a gradient step, or a forward pass, of each."""
    classifier = source.classifier
    optimizer = make_optimizer(classifier, kind="sgd", learning_rate=1e-6, weight_decay=1e-4)
    started = Seconds.now(source)
    for training, clips in batches:
        classifier.train(training)
        with torch.set_grad_enabled(training):
            logits = source.classify(clips).logits
        if training:
            optimizer.zero_grad()
            F.cross_entropy(logits.float(), torch.zeros(len(clips), dtype=torch.int64, device=clips.device)).backward()
            optimizer.step()
    return Seconds.now(source).since(started)


if __name__ == "__main__":
    main()
