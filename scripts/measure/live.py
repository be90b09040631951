"""Clips a second of a live source, and of joint training on it, beside the classifier alone on the same batches.

    python scripts/measure/live.py --dataset synthetic --num-videos 64
    python scripts/measure/live.py --dataset folder:VIDEOS --classifier r3d_18 --weights None --device cuda

A step of the *source* decodes videos, looks at the skims of their candidates, augments six clips of each that are drawn
at random and trains the classifier by them, then asks it about these and six others: all of joint training but the
scorer, which *joint* has too. Then the classifier does the same gradient steps and forward passes on the same tensors,
with as many threads: that is its own. Videos were decoded before (`warm`), or each is decoded as it comes, by
`--num-workers` threads beside the classifier's (`cold`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import tyro
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F

from vidselect_agents import make_agent
from vidselect_agents.base import Agent
from vidselect_agents.dsn import DSNConfig
from vidselect_agents.joint import ClassifierSteps
from vidselect_agents.registry import needs_of, settings_of
from vidselect_env.bank.decode import decode_video
from vidselect_env.envs.batched import SelectVectorEnv
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

    wall: float = 0.0
    cpu: float = 0.0

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
        augment: scale jitter of 1 to 1.25, crops anywhere, half of the clips mirrored; the centre crop otherwise.
        joint: measure joint training too.
        mixed_precision: bfloat16 on a GPU.
    """

    num_envs: int = 16
    steps: int = 8
    augment: bool = True
    joint: bool = True
    mixed_precision: bool = True

    @property
    def training(self) -> DSNConfig:
        """Of joint training, and of the classifier's part of it."""
        return DSNConfig(
            joint=True,
            samples_per_context=1,
            mixed_precision=self.mixed_precision,
            scale_jitter=(1.0, 1.25 if self.augment else 1.0),
            random_crop=self.augment,
            flip=self.augment,
        )


class Recorded:
    """What the classifier is given while it is recorded, and the seconds since then."""

    def __init__(self, source: LiveSource) -> None:
        self.source, self.batches = source, list[Batch]()
        self.hook = source.classifier.register_forward_pre_hook(
            lambda module, inputs: self.batches.append((module.training, inputs[0]))
        )
        self.begin()

    def begin(self) -> None:
        self.batches.clear()
        self.started = Seconds.now(self.source)

    def end(self) -> Seconds:
        self.hook.remove()
        return Seconds.now(self.source).since(self.started)


def main() -> None:
    config = tyro.cli(LiveConfig, description=__doc__, config=(tyro.conf.OmitArgPrefixes,))
    fit_set = load_split(config, "fit")
    classifier = starting_classifier(config, fit_set)
    lines = ["| | clips/s | classifier alone | ratio | of CPU seconds |", "|---|---:|---:|---:|---:|"]
    runs: dict[str, Callable[[LiveConfig, LiveSource], tuple[Seconds, list[Batch]]]] = {"source": run_source}
    if config.joint:
        runs["joint"] = run_joint
    for keeping, keep in (("warm", len(fit_set)), ("cold", 1)):
        for name, run in runs.items():
            source = live_source(
                config,
                fit_set,
                classifier,
                whole_frames=config.training.jitter().takes_whole_frames,
                mixed_precision=config.mixed_precision,
                keep_videos=keep,
            )
            if keeping == "warm":
                everything = torch.arange(len(source.video_paths))
                source.observe("skim", everything, torch.zeros(len(everything), 1, dtype=torch.int64))
            live, batches = run(config, source)
            alone = replay(source, batches)
            clips = sum(len(batch) for _, batch in batches)
            lines.append(
                f"| {name}, {keeping} | {clips / live.wall:.1f} | {clips / alone.wall:.1f} | "
                f"{alone.wall / live.wall:.2f} | {alone.cpu / live.cpu:.2f} |"
            )
            source.close()
    Console().print("\n".join(lines), highlight=False, soft_wrap=True)
    Console().print(parts(config, source, batches), highlight=False, soft_wrap=True)
    if source.device.type == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")


def make_env(config: LiveConfig, source: LiveSource) -> SelectVectorEnv:
    problem = make_problem(config.problem, source, needs_of("dsn", settings_of("dsn")), training=True)
    return batched(problem, num_envs=config.num_envs)


def run_source(config: LiveConfig, source: LiveSource) -> tuple[Seconds, list[Batch]]:
    """Seconds of the timed steps without a scorer, and the batches that the classifier saw in them."""
    env = make_env(config, source)
    steps = classifier_steps(config, source)
    generator = torch.Generator().manual_seed(0)
    env.reset(seed=0)
    recorded = Recorded(source)
    for number in range(NUM_WARMING + config.steps):
        if number == NUM_WARMING:
            recorded.begin()
        shape = (2, *(env.action_space.shape or ()))
        actions = torch.randint(config.problem.clips, shape, generator=generator).to(env.device)
        steps.step(env.problem.videos(env.contexts), selected(env, actions[0]))
        env.decision_rewards(actions)  # of what was drawn, and of what it is compared with
        env.step(actions[0])
    return recorded.end(), recorded.batches


def run_joint(config: LiveConfig, source: LiveSource) -> tuple[Seconds, list[Batch]]:
    """As `run_source`, of joint training, with the scorer that chooses."""
    env = make_env(config, source)
    agent = make_agent("dsn", env, device=config.classifier.torch_device, **vars(config.training))
    recorded = Recorded(source)

    def after_update(agent: Agent) -> bool:
        if agent.num_timesteps == NUM_WARMING * env.num_envs:
            recorded.begin()
        return True

    agent.learn(env, (NUM_WARMING + config.steps) * env.num_envs, callback=after_update)
    return recorded.end(), recorded.batches


def classifier_steps(config: LiveConfig, source: LiveSource) -> ClassifierSteps:
    training = config.training
    return ClassifierSteps(
        source,
        config=training.classifier_steps(),
        total=NUM_WARMING + config.steps,
        jitter=training.jitter(),
        flip=training.flip,
    )


def selected(env: SelectVectorEnv, actions: Tensor) -> Tensor:
    """The candidates that actions choose, (B, M)."""
    candidates = env.problem.candidates(env.contexts)
    return candidates[env.problem.selection(env.contexts, actions)].view(len(candidates), -1)


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


def parts(config: LiveConfig, source: LiveSource, batches: list[Batch]) -> str:
    """CPU milliseconds a video of each part by itself, the least of three."""
    again = live_source(config, load_split(config, "fit"), source.classifier, whole_frames=source.whole_frames)
    env, steps = make_env(config, again), classifier_steps(config, again)
    env.reset(seed=0)
    again.prefetch(env.contexts)
    chosen = selected(env, torch.zeros(env.action_space.shape or (), dtype=torch.int64, device=env.device))
    agent = make_agent("dsn", env, device=config.classifier.torch_device, **vars(config.training))
    videos = env.problem.videos(env.contexts)
    augment = partial(again.training_clips, augment=steps._augmented, generator=steps.generator)
    each: dict[str, Callable[[], object]] = {
        "decode": lambda: [decode_video(again._videos[video], spec=again.spec) for video in videos.tolist()],
        "augment": lambda: augment(videos, chosen),
        "classify (training)": lambda: replay(again, next([batch] for batch in batches if batch[0])),
        "classify (asked)": lambda: replay(again, next([batch] for batch in batches if not batch[0])),
        "scorer": lambda: agent.policy(env.looks()).entropy().sum().backward(),
    }
    again.observe("skim", videos, chosen)
    took = {name: min(cpu_of(work, again) for _ in range(3)) / config.num_envs for name, work in each.items()}
    again.close()
    return "CPU ms a video: " + ", ".join(f"{name} {1000 * cpu_s:.1f}" for name, cpu_s in took.items())


def cpu_of(work: Callable[[], object], source: LiveSource) -> float:
    started = Seconds.now(source)
    work()
    return Seconds.now(source).since(started).cpu


if __name__ == "__main__":
    main()
