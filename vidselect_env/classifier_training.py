"""Training a clip classifier on the videos of a dataset, one random clip a video and epoch.

Shapes: B clips, T frames a clip, C classes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from stable_baselines3.common.logger import Logger
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from vidselect_classifiers import ClipClassifier, ClipGeometry, save_weights
from vidselect_env.bank.decode import ordered_ahead
from vidselect_env.datasets import LabelledVideo, VideoDataset
from vidselect_env.datasets.base import targets_of
from vidselect_env.video.clips import ClipGrid
from vidselect_env.video.decode import FrameSize, read_clips
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import VideoIndex, index_video
from vidselect_env.video.motion import motion_curve
from vidselect_env.video.sampling import motion_guided_frames, motion_magnitude_frames, segment_frames

SAMPLERS = ("clip", "segment", "motion_guided", "magnitude")


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How a classifier is trained: SGD with momentum 0.9, a linear warm-up, then a cosine to zero.

    Args:
        epochs: passes over the videos.
        batch_size: clips of a gradient step.
        learning_rate: the largest.
        warmup_epochs: from zero to it.
        weight_decay: of all parameters.
        label_smoothing: of the cross-entropy.
        flip: mirror half of the clips; wrong where left and right tell classes apart.
        mixed_precision: bfloat16 where the device is a GPU.
        sampler: which frames of a video the classifier sees: clip, a random one of the classifier's stride; or, over
            the whole video, segment (TSN), motion_guided (MGSampler) or magnitude (the frames that move most).
        mu: exponent of MGSampler's salience.
        num_workers: decoding threads.
        cache: keep the decoded frames of every video in memory (for many epochs on short videos).
    """

    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 0.05
    warmup_epochs: float = 1.0
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    flip: bool = False
    mixed_precision: bool = True
    sampler: str = "clip"
    mu: float = 0.5
    num_workers: int = 2
    cache: bool = False

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler ({self.sampler!r}) must be one of {', '.join(SAMPLERS)}")


class ClipLoader:
    """Batches of clips of a dataset, decoded by threads ahead of their use.

    Args:
        geometry: of the clips.
        training: a random clip of every video, in random order; otherwise the middle one, in order.
        generator: of that randomness.
        sampler, mu: as in `FitConfig`.

    Videos that cannot be read are left out, and named once.
    """

    def __init__(
        self,
        dataset: VideoDataset,
        geometry: ClipGeometry,
        *,
        batch_size: int,
        training: bool,
        generator: torch.Generator,
        sampler: str = "clip",
        mu: float = 0.5,
        num_workers: int = 2,
        cache: bool = False,
    ) -> None:
        self.sampler, self.mu = sampler, mu
        self.dataset, self.geometry, self.batch_size, self.training = dataset, geometry, batch_size, training
        self.generator, self.num_workers = generator, num_workers
        self.targets = targets_of([video.labels for video in dataset.videos], len(dataset.class_names))
        self._size = FrameSize(geometry.resize, geometry.crop)
        self._indices: dict[int, VideoIndex] = {}
        self._curves: dict[int, Tensor] = {}
        self._frames: dict[int, Tensor] | None = {} if cache else None
        self._unreadable: set[int] = set()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(B, T, 3, H, W) uint8 clips and (B, C) float targets that sum to 1."""
        count = len(self.dataset)
        order = torch.randperm(count, generator=self.generator) if self.training else torch.arange(count)
        # Each video has randomness of its own, so that it does not matter which thread is first.
        seeds = torch.randint(2**62, (count,), generator=self.generator) if self.training else None
        jobs = [
            (int(video), None if seeds is None else torch.Generator().manual_seed(int(seeds[video])))
            for video in order
            if int(video) not in self._unreadable
        ]
        clips, videos = [], []
        ahead = 2 * self.batch_size
        for (video, _), future in zip(
            jobs, ordered_ahead(self._clip, jobs, num_workers=self.num_workers, ahead=ahead), strict=True
        ):
            try:
                clips.append(future.result())
                videos.append(video)
            except VideoError as error:
                self._unreadable.add(video)
                tqdm.write(f"left out {error}")
            if len(clips) == self.batch_size:
                yield torch.stack(clips), self._shares(videos)
                clips, videos = [], []
        if clips:
            yield torch.stack(clips), self._shares(videos)

    def _shares(self, videos: list[int]) -> Tensor:
        targets = self.targets[videos].float()
        return targets / targets.sum(-1, keepdim=True)

    def _clip(self, job: tuple[int, torch.Generator | None]) -> Tensor:
        """The frames of a video that the sampler takes, at random with a generator: (T, 3, H, W)."""
        number, generator = job
        video: LabelledVideo = self.dataset.videos[number]
        if number not in self._indices:
            self._indices[number] = index_video(video.path)
        index = self._indices[number]
        frames = self._sampled(number, index, generator)
        if self._frames is None:
            return read_clips(video.path, frames[None], sizes=[self._size], index=index)[0][0]
        if number not in self._frames:
            everything = torch.arange(index.info.num_frames)[None]
            self._frames[number] = read_clips(video.path, everything, sizes=[self._size], index=index)[0][0]
        return self._frames[number][frames]

    def _sampled(self, number: int, index: VideoIndex, generator: torch.Generator | None) -> Tensor:
        num_video_frames, num_frames = index.info.num_frames, self.geometry.num_frames
        if self.sampler == "clip":
            place = 0.5 if generator is None else float(torch.rand((), generator=generator))
            return clip_frames(num_video_frames, self.geometry, place=place)
        if self.sampler == "segment":
            return segment_frames(num_video_frames, num_frames, generator=generator)
        if number not in self._curves:
            self._curves[number] = motion_curve(index.info.path, index=index)
        if self.sampler == "magnitude":
            return motion_magnitude_frames(self._curves[number], num_frames)
        return motion_guided_frames(self._curves[number], num_frames, mu=self.mu, generator=generator)


def clip_frames(num_video_frames: int, geometry: ClipGeometry, *, place: float) -> Tensor:
    """Frames of the clip at `place` in [0, 1] of the way from the first that fits to the last: (T,) int64."""
    grid = ClipGrid(num_clips=1, num_frames=geometry.num_frames, frame_stride=geometry.frame_stride)
    room = max(num_video_frames - grid.span, 0)
    start = min(int(place * (room + 1)), room)
    steps = torch.arange(geometry.num_frames) * geometry.frame_stride
    return (start + steps).clamp(max=num_video_frames - 1)


def fit(
    classifier: ClipClassifier,
    train_set: VideoDataset,
    test_set: VideoDataset,
    *,
    config: FitConfig,
    folder: Path,
    logger: Logger,
    seed: int = 0,
    device: str = "cpu",
) -> float:
    """Train `classifier`, and write `weights.safetensors` into `folder`; returns the test Top-1 of clips.

    After every epoch everything needed to go on is written to `checkpoint.pt` there; a run that finds one
    goes on from it.
    """
    classifier = classifier.to(device)
    generator = torch.Generator().manual_seed(seed)
    loaders = [
        ClipLoader(
            dataset,
            classifier.geometry,
            batch_size=config.batch_size,
            training=training,
            generator=generator,
            sampler=config.sampler,
            mu=config.mu,
            num_workers=config.num_workers,
            cache=config.cache,
        )
        for dataset, training in ((train_set, True), (test_set, False))
    ]
    optimizer = torch.optim.SGD(
        classifier.parameters(), lr=config.learning_rate, momentum=0.9, weight_decay=config.weight_decay
    )
    steps_per_epoch = -(-len(train_set) // config.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: warmup_cosine(
            step, warmup=config.warmup_epochs * steps_per_epoch, total=config.epochs * steps_per_epoch
        ),
    )
    first = _resume(folder, classifier, optimizer, schedule, generator)
    accuracy = float("nan")
    for epoch in range(first, config.epochs):
        loss = _epoch(classifier, loaders[0], optimizer, schedule, config=config, label=f"epoch {epoch + 1}")
        accuracy = clip_accuracy(classifier, loaders[1])
        for name, value in (("train/loss", loss), ("eval/clip_top1", accuracy), ("time/epoch", epoch + 1)):
            logger.record(name, value)
        logger.dump(epoch + 1)
        state = [optimizer.state_dict(), schedule.state_dict(), generator.get_state()]
        _save(folder, {"epoch": epoch + 1, "classifier": classifier.state_dict(), "state": state})
    if first == config.epochs:
        accuracy = clip_accuracy(classifier, loaders[1])
    save_weights(classifier, folder / "weights.safetensors")
    return accuracy


def warmup_cosine(step: int, *, warmup: float, total: int) -> float:
    """Share of the largest learning rate at a step: linear from 0 to 1, then a cosine to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


@torch.inference_mode()
def clip_accuracy(classifier: ClipClassifier, loader: ClipLoader) -> float:
    """Share of clips whose most probable class is a label."""
    classifier.eval()
    device = next(classifier.parameters()).device
    right = total = 0
    for clips, targets in loader:
        best = classifier(clips.to(device)).logits.argmax(-1, keepdim=True).cpu()
        right += int((targets.gather(-1, best) > 0).sum())
        total += len(clips)
    return right / total


def _epoch(
    classifier: ClipClassifier,
    loader: ClipLoader,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    *,
    config: FitConfig,
    label: str,
) -> float:
    """One pass over the videos; the mean loss."""
    classifier.train()
    device = next(classifier.parameters()).device
    losses = []
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=config.mixed_precision and device.type == "cuda")
    with tqdm(total=len(loader.dataset), unit="clip", desc=label, leave=False) as bar:
        for clips, targets in loader:
            if config.flip:
                mirrored = torch.rand(len(clips), generator=loader.generator) < 0.5
                clips[mirrored] = clips[mirrored].flip(-1)
            with autocast:
                logits = classifier(clips.to(device)).logits
            loss = F.cross_entropy(logits.float(), targets.to(device), label_smoothing=config.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
            bar.update(len(clips))
    return torch.stack(losses).mean().item()


def _save(folder: Path, state: dict) -> None:
    aside = folder / f"checkpoint.{os.getpid()}.part"
    torch.save(state, aside)
    os.replace(aside, folder / "checkpoint.pt")


def _resume(
    folder: Path,
    classifier: ClipClassifier,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    generator: torch.Generator,
) -> int:
    """Take up a checkpoint if there is one; the number of epochs done."""
    file = folder / "checkpoint.pt"
    if not file.exists():
        return 0
    saved = torch.load(file, weights_only=True, map_location="cpu")
    classifier.load_state_dict(saved["classifier"])
    optimizer_state, schedule_state, generator_state = saved["state"]
    optimizer.load_state_dict(optimizer_state)
    schedule.load_state_dict(schedule_state)
    generator.set_state(generator_state)
    return saved["epoch"]
