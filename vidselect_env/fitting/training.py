"""Training a clip classifier on the videos of a dataset, one random clip a video and epoch.

Shapes: B clips, T frames a clip, C classes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.logger import Logger

from vidselect_classifiers import ClipClassifier, ClipGeometry, save_weights
from vidselect_env.bank.build import check_modality
from vidselect_env.datasets import VideoDataset
from vidselect_env.fitting.checkpoint import (
    check_recipe,
    read_checkpoint,
    resumed_batch_size,
    take_up,
    write_checkpoint,
)
from vidselect_env.fitting.epochs import evaluate_clips, train_epoch
from vidselect_env.fitting.fit_config import FitConfig
from vidselect_env.fitting.kept_maps import KeptMaps
from vidselect_env.fitting.loader import ClipLoader
from vidselect_env.fitting.processes import ALONE, Processes, share_norms


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
    processes: Processes = ALONE,
) -> float:
    """Train `classifier`, and write `weights.safetensors` into `folder`; returns the test Top-1 of clips.

    With `config.test_clips` or `test_views` the trained network is tested on several clips and crops of each video too:
    `eval/video_top1`, `eval/video_top5`.

    After every epoch everything needed to go on is written to `checkpoint.pt` there; a run that finds one
    goes on from it.

    Args:
        processes: that train it together. `config.batch_size` is each one's; what they do is what one process would
            with as many times more clips in a batch. The first one writes and logs.

    Raises:
        ValueError: several processes cannot do what one would, or not go on with what others began.
    """
    check_modality(train_set, classifier)
    check_recipe(mixup=config.mixup, processes=processes)
    classifier = classifier.to(device)
    processes.same(classifier)
    if processes.count > 1:
        share_norms(classifier, on_gpu=device.startswith("cuda"))
        torch.manual_seed(seed + processes.rank)  # each its own dropout
    saved = read_checkpoint(folder)
    batch_size = resumed_batch_size(config.batch_size, saved, classifier=classifier, processes=processes)
    generator = torch.Generator().manual_seed(seed)
    loader_of = partial(make_loader, geometry=classifier.geometry, config=config, processes=processes)
    loader = loader_of(train_set, batch_size=batch_size, training=True, generator=generator)
    test_loader = loader_of(test_set, batch_size=batch_size, training=False, generator=generator)
    steps_per_epoch = -(-len(train_set) // (batch_size * processes.count * config.accumulate))
    optimizer, schedule = config.make_optimizer(classifier, steps_per_epoch=steps_per_epoch)
    shared: dict[str, Any] = {"classifier": classifier, "parts": (optimizer, schedule), "generator": generator}
    first = take_up(saved, **shared, processes=processes)
    accuracy = float("nan")
    for epoch in range(first, config.epochs):
        kept, kept_in_test = KeptMaps(), KeptMaps()
        loss = train_epoch(
            classifier, loader, optimizer, schedule, config=config, label=f"epoch {epoch + 1}", kept=kept
        )
        write_checkpoint(folder, epoch=epoch + 1, batch_size=batch_size, **shared, processes=processes)
        tested = evaluate_clips(classifier, test_loader, kept=kept_in_test, processes=processes)
        accuracy = tested["clip_top1"]
        kept.of_all(processes).record(logger, "train")
        kept_in_test.of_all(processes).record(logger, "eval")
        for name, value in {"train/loss": loss, "time/epoch": epoch + 1}.items():
            logger.record(name, value)
        for name, value in tested.items():
            logger.record(f"eval/{name}", value)
        logger.dump(epoch + 1)
    if first == config.epochs:
        accuracy = evaluate_clips(classifier, test_loader, processes=processes)["clip_top1"]
    if config.tests_views:
        of_videos = loader_of(test_set, batch_size=1, training=False, generator=generator, num_clips=config.test_clips)
        for name, value in evaluate_clips(classifier, of_videos, processes=processes, of="video").items():
            logger.record(f"eval/{name}", value)
        logger.dump(config.epochs)
    if processes.is_first:
        save_weights(classifier, folder / "weights.safetensors")
    return accuracy


def make_loader(
    dataset: VideoDataset,
    *,
    geometry: ClipGeometry,
    config: FitConfig,
    batch_size: int,
    training: bool,
    generator: torch.Generator,
    processes: Processes = ALONE,
    num_clips: int | None = None,
) -> ClipLoader:
    """The loader of a configuration; with `num_clips` that of its last test, of so many clips in all their views."""
    return ClipLoader(
        dataset,
        geometry,
        batch_size=batch_size,
        training=training,
        generator=generator,
        sampler=config.sampler,
        mu=config.mu,
        difference=config.difference,
        filters=config.filters,
        rounding=config.rounding,
        context=config.context and num_clips is None,
        time_jitter=config.time_jitter,
        jitter=config.jitter(),
        num_workers=config.num_workers,
        cache=config.cache and num_clips is None,
        segments=config.segments if num_clips is None else num_clips,
        views="centre" if num_clips is None else config.test_views,
        processes=processes,
    )
