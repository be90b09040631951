"""Training a clip classifier on the videos of a dataset, one random clip a video and epoch.

Shapes: B clips, T frames a clip, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from stable_baselines3.common.logger import Logger
from torch.nn import functional as F
from tqdm import tqdm

from vidselect_classifiers import ClipClassifier, save_weights
from vidselect_env.datasets import VideoDataset
from vidselect_env.files import write_aside
from vidselect_env.fitting.kept_maps import KeptMaps
from vidselect_env.fitting.loader import SAMPLERS, ClipLoader


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
        kept, kept_in_test = KeptMaps(), KeptMaps()
        loss = _epoch(classifier, loaders[0], optimizer, schedule, config=config, label=f"epoch {epoch + 1}", kept=kept)
        state = [optimizer.state_dict(), schedule.state_dict(), generator.get_state()]
        _save(folder, {"epoch": epoch + 1, "classifier": classifier.state_dict(), "state": state})
        tested = evaluate_clips(classifier, loaders[1], kept=kept_in_test)
        accuracy = tested["clip_top1"]
        kept.record(logger, "train")
        kept_in_test.record(logger, "eval")
        for name, value in {"train/loss": loss, "time/epoch": epoch + 1}.items():
            logger.record(name, value)
        for name, value in tested.items():
            logger.record(f"eval/{name}", value)
        logger.dump(epoch + 1)
    if first == config.epochs:
        accuracy = evaluate_clips(classifier, loaders[1])["clip_top1"]
    save_weights(classifier, folder / "weights.safetensors")
    return accuracy


def warmup_cosine(step: int, *, warmup: float, total: int) -> float:
    """Share of the largest learning rate at a step: linear from 0 to 1, then a cosine to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))


@torch.inference_mode()
def evaluate_clips(classifier: ClipClassifier, loader: ClipLoader, *, kept: KeptMaps | None = None) -> dict[str, float]:
    """Share of clips whose most probable class is a label; maps that clips keep are counted in `kept`."""
    classifier.eval()
    device = next(classifier.parameters()).device
    right = total = 0
    for clips, targets in loader:
        output = classifier(clips.to(device))
        best = output.logits.argmax(-1, keepdim=True).cpu()
        if kept is not None:
            kept.add(output.num_bins)
        right += int((targets.gather(-1, best) > 0).sum())
        total += len(clips)
    return {"clip_top1": right / total}


def _epoch(
    classifier: ClipClassifier,
    loader: ClipLoader,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    *,
    config: FitConfig,
    label: str,
    kept: KeptMaps,
) -> float:
    """One pass over the videos, whose maps kept are counted; the mean loss."""
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
                output = classifier(clips.to(device))
            kept.add(output.num_bins)
            loss = F.cross_entropy(output.logits.float(), targets.to(device), label_smoothing=config.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
            bar.set_postfix(kept.postfix(), refresh=False)
            bar.update(len(clips))
    return torch.stack(losses).mean().item()


def _save(folder: Path, state: dict) -> None:
    write_aside(folder / "checkpoint.pt", lambda aside: torch.save(state, aside))


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
