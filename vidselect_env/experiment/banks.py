"""From a configuration to banks: dataset, classifier and grid in; what the classifier said of both splits out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from torch import nn
from tqdm import tqdm

from vidselect_classifiers import ClipClassifier
from vidselect_env.bank import BankSpec, ClipBank, SignalSpec, SkimSpec
from vidselect_env.bank.build import clips_of
from vidselect_env.bank.cached import cached_bank
from vidselect_env.bank.spec import SIGNALS
from vidselect_env.datasets import VideoDataset, load_dataset
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.sources.bank import BankSource
from vidselect_env.experiment.candidates import settled
from vidselect_env.experiment.config import AUTO, DataConfig, ExperimentConfig, GridConfig, HeadConfig
from vidselect_env.experiment.problems import make_problem
from vidselect_env.experiment.summary import describe_answers, describe_dataset
from vidselect_env.fitting.head import bank_head, cross_fitted, with_head

CENTRE_CROP = 4  # of ten


@dataclass(frozen=True)
class Experiment:
    """What the classifier said of the splits of one configuration, and the head that was fitted, if one was.

    train: None where nothing is to be learned.
    """

    config: ExperimentConfig
    classifier: ClipClassifier
    train: BankSource | None
    test: BankSource
    head: nn.Linear | None
    test_crops: tuple[BankSource, ...] = ()

    def train_problem(self, needs: Needs) -> SelectionProblem:
        """The problem to learn."""
        if self.train is None:
            raise ValueError("nothing is to be learned here: the training split was not read")
        return make_problem(self.config.problem, self.train, needs, training=True)

    def test_problem(self, needs: Needs) -> SelectionProblem:
        """The same on the test split."""
        return make_problem(self.config.problem, self.test, needs, num_sections=self.config.problem.test_sections)


def learning_split(data: DataConfig) -> str:
    """The split to learn on: `fit`, which is `train` less what `val` may hold of it, where settings are chosen."""
    return "fit" if (data.train_split, data.test_split) == ("train", "val") else data.train_split


def keep_known_classes(config: HeadConfig, classifier: ClipClassifier, class_names: tuple[str, ...]) -> None:
    """Of a classifier that knows a dataset's classes among others, keep these: the softmax is over them alone."""
    if config.head == "auto" and set(class_names) < set(classifier.class_names or ()):
        classifier.keep_classes(class_names)


def needs_head(config: HeadConfig, classifier: ClipClassifier, class_names: tuple[str, ...]) -> bool:
    """Whether a head has to be fitted: always, never, or where the weights' classes are not the dataset's."""
    if config.head != "auto":
        return config.head == "fit"
    return classifier.num_classes != len(class_names) or classifier.class_names not in (None, class_names)


def make_experiment(
    config: ExperimentConfig,
    *,
    signals: Collection[str] = (),
    needs: Needs | None = None,
    head: nn.Linear | None = None,
    only_test: bool = False,
    progress: bool = True,
) -> Experiment:
    """Load or build everything that `config` names.

    Args:
        signals: that the banks are to hold, unless the configuration says which.
        needs: of the selector that there is one of; None for several.
        head: of an earlier experiment, to be used as it is.
        only_test: nothing is to be learned: the training split is read only if a head must be fitted on it.

    Raises:
        ValueError: a name, split, size or label that does not fit; the message says which.
    """
    classifier = config.classifier.make_classifier()
    data, device = config.data, config.classifier.torch_device
    signals = signals_of(config.grid, signals)
    tell = tqdm.write if progress else _say_nothing
    read = partial(load_dataset, data.dataset, num_videos=data.num_videos, seed=data.data_seed, progress=progress)
    test_set = read(split=data.test_split)
    config = settled(config, test_set, classifier.geometry, needs=needs)

    def bank_of(dataset: VideoDataset) -> ClipBank:
        return dataset_bank(config, dataset, classifier=classifier, signals=signals, progress=progress)

    def told(dataset: VideoDataset) -> VideoDataset:
        for line in describe_dataset(dataset, num_clips=config.grid.num_clips):
            tell(line)
        return dataset

    told(test_set)
    keep_known_classes(config.fitting, classifier, test_set.class_names)
    fits = head is None and needs_head(config.fitting, classifier, test_set.class_names)
    train_bank = None if only_test and not fits else bank_of(told(read(split=learning_split(data))))
    test_bank, test_crops = bank_of(test_set), []
    if config.grid.crops == 10:
        test_crops = [test_bank.crop(number) for number in range(10)]
        test_bank = test_crops[CENTRE_CROP]
        train_bank = train_bank and train_bank.crop(CENTRE_CROP)
    if fits:
        assert train_bank is not None
        tqdm.write(
            f"fitting a linear head on {train_bank.num_videos} training videos: the weights know "
            f"{classifier.num_classes} classes, which are not the dataset's {train_bank.num_classes}"
        )
        head = bank_head(train_bank)
        train_bank = cross_fitted(train_bank, num_folds=config.fitting.folds)
    elif head is not None and train_bank is not None:
        train_bank = with_head(train_bank, head)
    if head is not None:
        test_bank, test_crops = with_head(test_bank, head), [with_head(crop, head) for crop in test_crops]
    experiment = Experiment(
        config,
        classifier,
        None if train_bank is None or only_test else BankSource(train_bank, device=device),
        BankSource(test_bank, device=device),
        head,
        tuple(BankSource(crop, device=device) for crop in test_crops),
    )
    for source, split in ((experiment.train, data.train_split), (experiment.test, data.test_split)):
        for line in describe_answers(source, split=split) if source is not None else []:
            tell(line)
    return experiment


def _say_nothing(line: str) -> None:
    pass


def looks_spec(config: ExperimentConfig, classifier: ClipClassifier, fields: Collection[str]) -> BankSpec:
    """The grid of a configuration and the decoded fields that a selector looks at, of no dataset."""
    return BankSpec(
        dataset="",
        split="",
        dataset_fingerprint="",
        class_names=classifier.class_names or tuple(str(label) for label in range(classifier.num_classes)),
        weights_sha256="",
        **clips_of(classifier, num_clips=config.grid.num_clips),
        fields=tuple(fields),
        skim=skim_spec(config.grid) if "skim" in fields else None,
        signals=signal_spec(config.grid) if set(fields) & set(SIGNALS) else None,
        allow_corrupt=config.grid.allow_corrupt,
    )


def signals_of(config: GridConfig, wanted: Collection[str]) -> tuple[str, ...]:
    """The signals in the banks: the configuration's, or those that are wanted, in a fixed order."""
    if config.signals is not None:
        if unknown := set(config.signals) - set(SIGNALS):
            raise ValueError(f"signals ({', '.join(sorted(unknown))}) must be some of {', '.join(SIGNALS)}")
        return config.signals
    return tuple(signal for signal in SIGNALS if signal in wanted)


def skim_spec(config: GridConfig) -> SkimSpec:
    """The cheap look of a configuration."""
    size = (config.skim_size, config.skim_size)
    resize = config.skim_size if config.skim_fit == "crop" else size
    return SkimSpec(num_frames=config.skim_frames, resize=resize, crop=size)


def signal_spec(config: GridConfig) -> SignalSpec:
    """The signals of a configuration; residuals and I-frames are as large as skims."""
    size = (config.skim_size, config.skim_size)
    return SignalSpec(num_frames=config.signal_frames, resize=size, crop=size, residual_bits=config.residual_bits)


def dataset_bank(
    config: ExperimentConfig,
    dataset: VideoDataset,
    *,
    classifier: ClipClassifier,
    signals: Sequence[str],
    progress: bool,
) -> ClipBank:
    """What a classifier says of a dataset's videos, from the cache or made."""
    grid = config.grid
    return cached_bank(
        dataset,
        classifier,
        num_clips=grid.num_clips,
        fields=("logits", "features", "skim", *signals),
        skim=skim_spec(grid),
        signals=signal_spec(grid) if signals else None,
        crops=grid.crops,
        allow_corrupt=grid.allow_corrupt,
        device=config.classifier.torch_device,
        batch_size=None if grid.clips_per_batch == AUTO else grid.clips_per_batch,
        num_workers=grid.num_workers,
        progress=progress,
    )
