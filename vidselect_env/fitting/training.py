"""Training a clip classifier on the videos of a dataset, one random clip a video and epoch.

Shapes: B clips, T frames a clip, C classes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from stable_baselines3.common.logger import Logger
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from vidselect_classifiers import ClipClassifier, save_weights
from vidselect_env.bank.build import check_modality
from vidselect_env.datasets import VideoDataset
from vidselect_env.files import write_aside
from vidselect_env.fitting.augmentation import mirrored, mixup
from vidselect_env.fitting.fit_config import FitConfig
from vidselect_env.fitting.kept_maps import KeptMaps
from vidselect_env.fitting.loader import ClipLoader, consensus
from vidselect_env.fitting.optimisation import make_optimizer


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
    check_modality(train_set, classifier)
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
            context=config.context,
            time_jitter=config.time_jitter,
            jitter=config.jitter(),
            num_workers=config.num_workers,
            cache=config.cache,
            segments=config.segments,
        )
        for dataset, training in ((train_set, True), (test_set, False))
    ]
    optimizer = make_optimizer(
        classifier,
        kind=config.optimizer,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        decay_norms=config.decay_norms,
    )
    steps_per_epoch = -(-len(train_set) // (config.batch_size * config.accumulate))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, partial(config.learning_rate_share, steps_per_epoch=steps_per_epoch)
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


@torch.inference_mode()
def evaluate_clips(classifier: ClipClassifier, loader: ClipLoader, *, kept: KeptMaps | None = None) -> dict[str, float]:
    """Share of clips with a label as the most probable class, and among the five most probable of more than five.

    Maps that clips keep are counted in `kept`.
    """
    classifier.eval()
    device = next(classifier.parameters()).device
    right = in_five = total = 0
    for clips, targets in loader:
        output = classifier(clips.to(device))
        best = consensus(output.logits, len(targets)).topk(min(5, output.logits.shape[1])).indices.cpu()
        if kept is not None:
            kept.add(output.num_bins)
        hits = targets.gather(-1, best) > 0
        right += int(hits[:, 0].sum())
        in_five += int(hits.any(-1).sum())
        total += len(targets)
    return {"clip_top1": right / total} | ({"clip_top5": in_five / total} if classifier.num_classes > 5 else {})


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
                chosen = torch.rand(len(clips), generator=loader.generator) < 0.5
                clips[chosen] = mirrored(clips[chosen], modality=classifier.geometry.modality)
            if config.mixup:
                clips, targets = mixup(clips, targets, alpha=config.mixup, generator=loader.generator)
            with autocast:
                output = classifier(clips.to(device))
            kept.add(output.num_bins)
            logits = consensus(output.logits.float(), len(targets))
            loss = F.cross_entropy(logits, targets.to(device), label_smoothing=config.label_smoothing)
            (loss / config.accumulate).backward()
            losses.append(check_loss(loss, label).detach())
            if len(losses) % config.accumulate == 0:
                _step(optimizer, schedule)
            bar.set_postfix(kept.postfix(), refresh=False)
            bar.update(len(targets))
    if len(losses) % config.accumulate:
        _step(optimizer, schedule)
    return torch.stack(losses).mean().item()


def check_loss(loss: Tensor, when: str) -> Tensor:
    """The loss, if it is finite.

    Raises:
        ValueError: it is not: what was saved last stays as it is.
    """
    if not torch.isfinite(loss):
        raise ValueError(
            f"the loss ({loss.item()}) of {when} must be finite: training stops, and what was saved last stays; try a "
            "smaller learning rate"
        )
    return loss


def _step(optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler) -> None:
    optimizer.step()
    optimizer.zero_grad()
    schedule.step()


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
