"""Building a bank, making one of arrays, giving one a head, or showing what is in one."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from torch import nn

from vidselect_agents.commands.options.bank import BankConfig, BuildConfig, FittedHeadConfig, ImportConfig
from vidselect_classifiers import ClipClassifier
from vidselect_env.bank import BankSpec, ClipBank, SkimSpec, bank_spec, build_bank, open_bank
from vidselect_env.bank.arrays import ClipTimes, open_arrays
from vidselect_env.bank.imported import import_bank, with_logits_stored
from vidselect_env.bank.on_ray import RayEngine
from vidselect_env.datasets import VideoDataset, load_dataset
from vidselect_env.evaluation.adaptive import adaptive_cost, describe
from vidselect_env.experiment.run import HEAD
from vidselect_env.files import sha256_of
from vidselect_env.fitting.head import bank_head, cross_fitted, load_head, save_head, with_head
from vidselect_env.seeding import deterministic


def run(config: BankConfig) -> None:
    if isinstance(config, BuildConfig):
        build(config)
    elif isinstance(config, ImportConfig):
        import_arrays(config)
    elif isinstance(config, FittedHeadConfig):
        give_head(config)
    else:
        _print(open_bank(config.bank, verify=config.verify).summary())


def load(config: BuildConfig) -> VideoDataset:
    """The split that the bank is of."""
    return load_dataset(config.dataset, split=config.split, num_videos=config.num_videos)


def spec_of(config: BuildConfig, dataset: VideoDataset, classifier: ClipClassifier) -> BankSpec:
    """Of the bank of this dataset and classifier."""
    size = (config.skim_size, config.skim_size)
    return bank_spec(
        dataset,
        classifier,
        num_clips=config.candidates,
        fields=config.fields,
        crops=config.crops,
        allow_corrupt=config.allow_corrupt,
        skim=SkimSpec(num_frames=config.skim_frames, resize=size, crop=size),
    )


def engine_of(config: BuildConfig) -> RayEngine | None:
    """Who makes the shards, where it is not this process."""
    if config.engine == "local":
        return None
    return RayEngine(
        address=config.address,
        num_actors=config.classifier_actors,
        decoders_per_actor=config.decoders_per_actor,
        device=config.device,
    )


def build(config: BuildConfig) -> ClipBank:
    """Build and describe it."""
    dataset, classifier = load(config), config.make_classifier()
    spec = spec_of(config, dataset, classifier)
    with deterministic(config.deterministic):
        bank = build_bank(
            config.out,
            dataset,
            classifier,
            spec=spec,
            batch_size=None if config.batch_size == "auto" else config.batch_size,
            num_workers=config.num_workers,
            device=config.torch_device,
            on_error=config.on_error,
            engine=engine_of(config),
        )
    _print(bank.summary())
    if spec.bins_gmacs:
        _print(f"cost        {describe(adaptive_cost(bank))}")
    return bank


def import_arrays(config: ImportConfig) -> ClipBank:
    """Make a bank of arrays, and describe it."""
    bank = import_bank(
        config.out,
        load_dataset(config.dataset, split=config.split),
        open_arrays(config.arrays),
        times=ClipTimes(every_s=config.every_s, clip_s=config.clip_s),
        classifier=config.classifier,
        classifier_gmacs=config.classifier_gmacs,
        on_error=config.on_error,
    )
    _print(bank.summary())
    return bank


def give_head(config: FittedHeadConfig) -> ClipBank:
    """Write a bank with logits of a linear head on another's features, and keep the head beside it."""
    bank = open_bank(config.bank)
    if config.head is None:
        head, judged = bank_head(bank), cross_fitted(bank, num_folds=config.folds)
        told = f"cross-fitted in {config.folds} folds"
    else:
        head = load_head(config.head)
        check_head(head, bank, config.head)
        judged, told = with_head(bank, head), f"head {sha256_of(config.head)}"
    made = with_logits_stored(config.out, bank, judged.field("logits").joined(), told=told)
    save_head(head, config.out / HEAD)
    _print(made.summary())
    return made


def check_head(head: nn.Linear, bank: ClipBank, file: Path) -> None:
    """See that a head is for a bank's features and classes.

    Raises:
        ValueError: it is not.
    """
    wanted = (bank.field("features").shape[-1], bank.num_classes)
    if (head.in_features, head.out_features) != wanted:
        raise ValueError(
            f"head {str(file)!r} makes {head.out_features} classes of {head.in_features} features, and the bank has "
            f"{wanted[1]} and {wanted[0]}"
        )


def _print(text: str) -> None:
    Console(highlight=False, soft_wrap=True, markup=False, emoji=False).print(text)
