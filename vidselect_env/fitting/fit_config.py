"""How a classifier is trained, as a configuration that imports nothing heavy: it is the command line too."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from vidselect_env.settings import check_settings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from vidselect_env.fitting.augmentation import ClipJitter

OPTIMIZERS = ("sgd", "adamw", "adam")
SCHEDULES = ("cosine", "steps")
SAMPLERS = ("clip", "segment", "motion_guided", "magnitude")
DIFFERENCES = ("image", "feature", "ssim")
ROUNDINGS = ("middle", "authors")
TEST_VIEWS = ("centre", "three", "ten")


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How a classifier is trained: a linear warm-up to the largest learning rate, then down by a schedule.

    Args:
        epochs: passes over the videos.
        batch_size: clips of a backward pass; of each process, where torchrun starts several.
        accumulate: backward passes of a gradient step, so that it is of as many times more clips. Batch norm sees
            one pass at a time.
        optimizer: sgd, with momentum 0.9, adam or adamw.
        learning_rate: the largest.
        warmup_epochs: from zero to it.
        schedule: cosine, to zero, or steps.
        milestones: of steps, the epochs after which the learning rate is multiplied by `step_factor`.
        step_factor: of steps.
        weight_decay: of the parameters.
        decay_norms: whether biases and batch norm decay too.
        label_smoothing: of the cross-entropy.
        mixup: alpha of the Beta distribution of shares in which clips are mixed; 0 for none.
        flip: mirror half of the clips; wrong where left and right tell classes apart.
        scale_jitter: smallest and largest factor by which frames are enlarged before they are cropped.
        random_crop: crop anywhere in a frame, not in its middle.
        brightness: largest share by which a clip is made brighter or darker.
        colour: the same of its red, green and blue each.
        mixed_precision: bfloat16 where the device is a GPU.
        sampler: which frames of a video the classifier sees: clip, a random one of the classifier's stride; or, over
            the whole video, segment (TSN), motion_guided (MGSampler) or magnitude (the frames that move most).
        segments: clips of each video, one from each of so many equal parts, whose mean logits count (TSN: 3).
        mu: exponent of MGSampler's salience.
        difference: between frames, of samplers motion_guided and magnitude: image (MGSampler's Eq. 1), feature (Eqs. 2
            and 3), or ssim (1 - SSIM, its authors' code).
        filters: with difference feature, a file of eight 7 x 7 filters in place of the fixed ones.
        rounding: of motion_guided, to frames: middle, or authors, as their code does.
        context: a clip longer than its segment of a file shows what comes before and after, in testing too, rather
            than the last frame again and again.
        time_jitter: of sampler clip, most frames from the middle of the video to that of the clip in training; None
            for anywhere in the video.
        test_clips: evenly spaced clips of each video that the trained network is tested on, beside the single clips of
            every epoch: their mean probability counts.
        test_views: crops of each of these clips: centre, three (along the longer side) or ten.
        num_workers: decoding threads.
        cache: keep the decoded frames of every video in memory (for many epochs on short videos).
    """

    epochs: int = 30
    batch_size: int = 32
    accumulate: int = 1
    optimizer: str = "sgd"
    learning_rate: float = 0.05
    warmup_epochs: float = 1.0
    schedule: str = "cosine"
    milestones: tuple[float, ...] = ()
    step_factor: float = 0.1
    weight_decay: float = 1e-4
    decay_norms: bool = True
    label_smoothing: float = 0.0
    mixup: float = 0.0
    flip: bool = False
    scale_jitter: tuple[float, float] = (1.0, 1.0)
    random_crop: bool = False
    brightness: float = 0.0
    colour: float = 0.0
    mixed_precision: bool = True
    sampler: str = "clip"
    segments: int = 1
    mu: float = 0.5
    difference: str = "image"
    filters: str | None = None
    rounding: str = "middle"
    context: bool = False
    time_jitter: int | None = None
    test_clips: int = 1
    test_views: str = "centre"
    num_workers: int = 2
    cache: bool = False

    def __post_init__(self) -> None:
        for name in ("milestones", "scale_jitter"):  # lists in a run's configuration
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, known in (
            ("sampler", SAMPLERS),
            ("difference", DIFFERENCES),
            ("rounding", ROUNDINGS),
            ("test_views", TEST_VIEWS),
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} ({getattr(self, name)!r}) must be one of {', '.join(known)}")
        counts = ("epochs", "batch_size", "accumulate", "num_workers", "segments", "test_clips")
        amounts = ("warmup_epochs", "weight_decay", "label_smoothing", "mixup", "mu", "time_jitter")
        check_settings(
            self,
            at_least=dict.fromkeys(counts, 1) | dict.fromkeys(amounts, 0),
            above={"learning_rate": 0, "step_factor": 0},
            at_most={"label_smoothing": 1},
        )
        if (self.schedule == "steps") != bool(self.milestones):
            raise ValueError(f"schedule steps has milestones, and no other: {self.schedule}, {self.milestones}")
        if self.sampler != "clip" and (self.context or self.time_jitter is not None):
            raise ValueError(f"context and time_jitter are of sampler clip, not of {self.sampler}")
        if self.test_clips > 1 and self.sampler != "clip":
            raise ValueError(f"test_clips ({self.test_clips}) are of sampler clip, not of {self.sampler}")
        if self.filters is not None and self.difference != "feature":
            raise ValueError(f"filters ({self.filters!r}) must be of difference feature, not of {self.difference}")
        if self.segments > 1 and (self.mixup or self.sampler != "clip" or self.context or self.time_jitter is not None):
            raise ValueError(f"segments ({self.segments}) go with sampler clip, without mixup, context and time_jitter")
        if self.random_crop or self.brightness or self.colour or self.scale_jitter != (1.0, 1.0):
            self.jitter()  # which checks them

    @property
    def tests_views(self) -> bool:
        """Whether the trained network is tested on more than the single clips of every epoch."""
        return self.test_clips > 1 or self.test_views != "centre"

    def jitter(self) -> ClipJitter:
        """What training changes of the frames."""
        from vidselect_env.fitting.augmentation import ClipJitter

        return ClipJitter(
            scales=self.scale_jitter, random_crop=self.random_crop, brightness=self.brightness, colour=self.colour
        )

    def make_optimizer(
        self, classifier: nn.Module, *, steps_per_epoch: int
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
        """What takes gradient steps of a classifier, and its learning rate, to be told of every step."""
        from torch.optim.lr_scheduler import LambdaLR

        from vidselect_env.fitting.optimisation import make_optimizer

        optimizer = make_optimizer(
            classifier,
            kind=self.optimizer,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            decay_norms=self.decay_norms,
        )
        return optimizer, LambdaLR(optimizer, partial(self.learning_rate_share, steps_per_epoch=steps_per_epoch))

    def learning_rate_share(self, step: int, *, steps_per_epoch: int) -> float:
        """Share of the largest learning rate at a gradient step."""
        from vidselect_env.fitting.optimisation import warmup_cosine, warmup_steps

        warmup = self.warmup_epochs * steps_per_epoch
        if self.schedule == "steps":
            milestones = [epoch * steps_per_epoch for epoch in self.milestones]
            return warmup_steps(step, warmup=warmup, milestones=milestones, factor=self.step_factor)
        return warmup_cosine(step, warmup=warmup, total=self.epochs * steps_per_epoch)
