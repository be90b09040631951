"""Building a bank, or showing what is in one."""

from __future__ import annotations

from rich.console import Console

from vidselect_agents.commands.options.bank import BuildConfig, ShowConfig
from vidselect_classifiers import ClipClassifier
from vidselect_env.bank import BankSpec, ClipBank, SkimSpec, bank_spec, build_bank, open_bank
from vidselect_env.datasets import VideoDataset, load_dataset
from vidselect_env.evaluation.adaptive import adaptive_cost, describe


def run(config: BuildConfig | ShowConfig) -> None:
    if isinstance(config, BuildConfig):
        build(config)
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
        skim=SkimSpec(num_frames=config.skim_frames, resize=size, crop=size),
    )


def build(config: BuildConfig) -> ClipBank:
    """Build and describe it."""
    dataset, classifier = load(config), config.make_classifier()
    spec = spec_of(config, dataset, classifier)
    bank = build_bank(
        config.out,
        dataset,
        classifier,
        spec=spec,
        batch_size=config.batch_size,
        num_workers=config.num_workers,
        device=config.torch_device,
        on_error=config.on_error,
    )
    _print(bank.summary())
    if spec.bins_gmacs:
        _print(f"cost        {describe(adaptive_cost(bank))}")
    return bank


def _print(text: str) -> None:
    Console(highlight=False, soft_wrap=True, markup=False).print(text)
