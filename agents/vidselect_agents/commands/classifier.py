"""Training a clip classifier, or only a linear head on its frozen features, into a run's folder."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from stable_baselines3.common.logger import Logger

from vidselect_agents.commands.options.classifier import ClassifierConfig
from vidselect_agents.commands.saved import check_plugin, damaged
from vidselect_classifiers import CLASSIFIERS, ClipClassifier, save_weights
from vidselect_env.bank import bank_spec, build_bank
from vidselect_env.datasets import VideoDataset, load_dataset
from vidselect_env.experiment.run import new_run_folder, read_config, run_logger, write_config
from vidselect_env.fitting.head import bank_head, with_head
from vidselect_env.fitting.processes import ALONE, Processes, torchrun_processes
from vidselect_env.fitting.training import fit
from vidselect_env.seeding import deterministic
from vidselect_env.settings import from_json


def run(config: ClassifierConfig) -> None:
    if config.resume is not None:
        folder: Path | None = config.resume
        saved = read_config(config.resume).get("classifier")
        if saved is None:
            raise ValueError(f"{str(config.resume)!r} is no run of training a classifier")
        try:
            resumed = from_json(ClassifierConfig, saved)
        except (TypeError, ValueError, OverflowError) as error:
            raise damaged(config.resume, error) from error
        check_plugin(
            resumed.classifier, config.resume, known=CLASSIFIERS, group="vidselect.classifiers", trust=config.trust
        )
        config = resumed
    else:
        folder = None
    with torchrun_processes(config.torch_device) as processes:
        train(config, folder, processes)


def train(config: ClassifierConfig, folder: Path | None, processes: Processes = ALONE) -> None:
    """Train into a run folder, whose `weights.safetensors` every `--weights` option takes; None for a new one."""
    if config.head_only and processes.count > 1:
        raise ValueError("head_only is fitted by one process: start it without torchrun")
    with deterministic(config.deterministic):
        _train(config, folder, processes)


def _train(config: ClassifierConfig, folder: Path | None, processes: Processes) -> None:
    classifier = config.make_classifier(seed=config.seed)  # first: it is quick, and wrong names are found
    train_set, test_set = processes.in_turn(lambda: _sets(config))  # which may be drawn
    if folder is None and processes.is_first:
        folder = new_run_folder(config.runs, f"classifier-{Path(config.classifier).name.replace(':', '.')}")
        write_config(folder, classifier=config)
    folder = processes.told(folder)
    assert folder is not None
    torch.manual_seed(config.seed)  # dropout, and a new head
    if config.head_only:
        accuracy = fit_head_only(config, classifier, train_set, test_set, folder=folder)
    else:
        if classifier.num_classes != len(train_set.class_names):
            classifier.replace_head(len(train_set.class_names))
        classifier.set_class_names(train_set.class_names)
        logger = run_logger(folder) if processes.is_first else Logger(None, [])
        accuracy = fit(
            classifier,
            train_set,
            test_set,
            config=config.fit,
            folder=folder,
            logger=logger,
            seed=config.seed,
            device=processes.device(config.torch_device),
            processes=processes,
        )
        logger.close()
    if not processes.is_first:
        return
    Console().print(f"Top-1 of single test clips: {100 * accuracy:.1f} %", highlight=False)
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    console.print(f"weights: {folder / 'weights.safetensors'}")


def _sets(config: ClassifierConfig) -> list[VideoDataset]:
    """The videos to learn on and to test on."""
    return [
        load_dataset(config.dataset, split=split, num_videos=config.num_videos, seed=config.seed)
        for split in (config.train_split, config.test_split)
    ]


def fit_head_only(
    config: ClassifierConfig,
    classifier: ClipClassifier,
    train_set: VideoDataset,
    test_set: VideoDataset,
    *,
    folder: Path,
) -> float:
    """Fit the last layer on the features of the training videos' clips; Top-1 of single test clips."""
    banks = [
        build_bank(
            folder / f"features-{dataset.split}",
            dataset,
            classifier,
            spec=bank_spec(dataset, classifier, num_clips=config.clips, fields=("logits", "features")),
            device=config.torch_device,
            num_workers=config.fit.num_workers,
        )
        for dataset in (train_set, test_set)
    ]
    head = bank_head(banks[0], l2=config.l2)
    classifier.cpu().put_head(head, train_set.class_names)
    save_weights(classifier, folder / "weights.safetensors")
    tested = with_head(banks[1], head)
    best = tested.field("logits").joined().argmax(-1, keepdim=True)
    targets = tested.targets.repeat_interleave(tested.offsets.diff(), dim=0)
    return targets.gather(-1, best).float().mean().item()
