"""From one configuration to the problems that are trained and tested on.

Dataset, classifier and grid in; banks (cached) and environments out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import nn
from tqdm import tqdm

from vidselect_classifiers import ClipClassifier
from vidselect_env.bank import ClipBank, SignalSpec, SkimSpec
from vidselect_env.bank.cached import cached_bank
from vidselect_env.bank.head import bank_head, cross_fitted, with_head
from vidselect_env.bank.spec import SIGNALS
from vidselect_env.classifier_options import ClassifierOptions
from vidselect_env.datasets import VideoDataset, load_dataset
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.sources import BankSource

CENTRE_CROP = 4  # of ten


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig(ClassifierOptions):
    """Videos, classifier, grid and problem; the defaults are the default problem.

    Args:
        dataset: synthetic, folder:PATH or csv:PATH.
        train_split: the split to learn on.
        test_split: the split to evaluate on.
        num_videos: synthetic training videos (half as many for testing), or at most so many of a real split.
        data_seed: of the synthetic videos.
        head: fit a linear head on the training split's features (the training videos themselves are judged
            by heads of other folds), keep the weights' own, or auto: fit where the classes are not the same.
        folds: of the training videos, for a head that is fitted.
        candidates: clips that the grid lays on each video; None for as many as fit, end to end.
        crops: of each clip that the classifier sees: 1, the centre, or 10. With 10 agents learn on the centre,
            and one that scores frames is also tested on all ten.
        skim_frames: frames of the cheap look at a candidate.
        skim_size: its height and width, in pixels.
        signals: of compressed video and sound, in the bank: vectors, residual, intra, mel; None for those that
            the agents take.
        signal_frames: frames of a candidate that vectors and residuals are kept of.
        environment: VideoClipSelect-v0, VideoFrameSelect-v0, or auto: the one that the agent is made for.
        observation: what the agent sees of a candidate, or auto: skims to select clips, features and
            predictions to select frames.
        sections: M, parts of a video that one clip each is chosen from.
        clips: N, candidates a section.
        test_sections: M in testing, where another.
        penalty: of a wrongly classified clip (gamma of DSN's Eq. 6).
        frames: T, candidates that are kept or dropped; None for all of a video's.
        kept: m, how many of them are kept in testing (K of SCSampler).
        omega: reward of turning a wrong prediction right (AS, Eq. 4).
        alpha: weight of a dropped candidate (AS, Eq. 10).
        num_workers: decoding threads.
        clips_per_batch: clips the classifier takes at once.
    """

    dataset: str = "synthetic"
    train_split: str = "train"
    test_split: str = "test"
    num_videos: int | None = None
    data_seed: int = 0
    head: Literal["auto", "fit", "keep"] = "auto"
    folds: int = 5
    candidates: int | None = 30
    crops: Literal[1, 10] = 1
    skim_frames: int = 8
    skim_size: int = 32
    signals: tuple[str, ...] | None = None
    signal_frames: int = 4
    environment: Literal["auto", "VideoClipSelect-v0", "VideoFrameSelect-v0"] = "auto"
    observation: Literal["auto", "skim", "features", "features+predictions", "predictions"] = "auto"
    sections: int = 6
    clips: int = 3
    test_sections: int | None = None
    penalty: float = 0.5
    frames: int | None = 18
    kept: int = 6
    omega: float = 10.0
    alpha: float = 0.0
    num_workers: int = 2
    clips_per_batch: int = 64


@dataclass(frozen=True)
class Experiment:
    """The two splits of one configuration, and the head that was fitted, if one was."""

    config: ExperimentConfig
    classifier: ClipClassifier
    train: BankSource
    test: BankSource
    head: nn.Linear | None
    test_crops: tuple[BankSource, ...] = ()

    def train_problem(self, agent_class: Any = None, *, environment: str | None = None) -> SelectionProblem:
        """The problem to learn: `environment`, the configuration's, or the one that `agent_class` is made for."""
        return make_problem(self.config, self.train, agent_class, self.config.sections, environment=environment)

    def test_problem(self, agent_class: Any = None, *, environment: str | None = None) -> SelectionProblem:
        """The same on the test split."""
        num_sections = self.config.test_sections or self.config.sections
        return make_problem(self.config, self.test, agent_class, num_sections, environment=environment)


def make_problem(
    config: ExperimentConfig,
    source: BankSource,
    agent_class: Any,
    num_sections: int,
    *,
    environment: str | None = None,
) -> SelectionProblem:
    """The problem of a configuration on a source: the one that is named, or that `agent_class` is made for."""
    environment = environment or environment_of(config, agent_class)
    observation: str = config.observation
    if observation == "auto":
        observation = "features+predictions" if environment == "VideoFrameSelect-v0" else "skim"
        if getattr(agent_class, "environment", None) == environment:
            observation = getattr(agent_class, "observation", observation)
    if environment == "VideoFrameSelect-v0":
        return FrameSelectProblem(
            source,
            num_frames=config.frames,
            num_kept=config.kept,
            observation=observation,
            omega=config.omega,
            alpha=config.alpha,
        )
    return ClipSelectProblem(
        source,
        num_sections=num_sections,
        num_clips=config.clips,
        observation=observation,
        penalty=config.penalty,
        per_section=getattr(agent_class, "per_section", False),
    )


def environment_of(config: ExperimentConfig, agent_class: Any) -> str:
    """The environment that a configuration names, or that `agent_class` is made for."""
    if config.environment != "auto":
        return config.environment
    return getattr(agent_class, "environment", "VideoClipSelect-v0")


def steps_of(problem: SelectionProblem, num_videos: int) -> int:
    """Steps of sub-environments in which so many videos are seen."""
    return num_videos * problem.num_contexts // len(problem.source.video_paths)


def needs_head(config: ExperimentConfig, classifier: ClipClassifier, class_names: tuple[str, ...]) -> bool:
    """Whether a head has to be fitted: always, never, or where the weights' classes are not the dataset's."""
    if config.head != "auto":
        return config.head == "fit"
    return classifier.num_classes != len(class_names) or classifier.class_names not in (None, class_names)


def make_experiment(
    config: ExperimentConfig,
    *,
    signals: Collection[str] = (),
    head: nn.Linear | None = None,
    only_test: bool = False,
    progress: bool = True,
) -> Experiment:
    """Load or build everything that `config` names.

    Args:
        signals: that the banks are to hold, unless the configuration says which.
        head: of an earlier experiment, to be used as it is.
        only_test: nothing is to be learned: the training split is read only if a head must be fitted on it, and
            the test split stands in its place.

    Raises:
        ValueError: a name, split, size or label that does not fit; the message says which.
    """
    classifier = config.make_classifier()
    signals = signals_of(config, signals)
    load = partial(load_dataset, config.dataset, num_videos=config.num_videos, seed=config.data_seed, progress=progress)
    test_set = load(split=config.test_split)
    if only_test and (head is not None or not needs_head(config, classifier, test_set.class_names)):
        train_set = test_set
    else:
        train_set = load(split=config.train_split)
    train_bank, test_bank = (_bank(config, dataset, classifier, signals, progress) for dataset in (train_set, test_set))
    test_crops: list[ClipBank] = []
    if config.crops == 10:
        test_crops = [test_bank.crop(number) for number in range(10)]
        train_bank, test_bank = train_bank.crop(CENTRE_CROP), test_crops[CENTRE_CROP]
    if head is not None:
        train_bank = with_head(train_bank, head)
    elif needs_head(config, classifier, train_set.class_names):
        tqdm.write(
            f"fitting a linear head on {len(train_set)} training videos: the weights know "
            f"{classifier.num_classes} classes, which are not the dataset's {len(train_set.class_names)}"
        )
        head = bank_head(train_bank)
        train_bank = cross_fitted(train_bank, num_folds=config.folds)
    if head is not None:
        test_bank, test_crops = with_head(test_bank, head), [with_head(crop, head) for crop in test_crops]
    return Experiment(
        config,
        classifier,
        BankSource(train_bank, device=config.torch_device),
        BankSource(test_bank, device=config.torch_device),
        head,
        tuple(BankSource(crop, device=config.torch_device) for crop in test_crops),
    )


def signals_of(config: ExperimentConfig, wanted: Collection[str]) -> tuple[str, ...]:
    """The signals in the banks: the configuration's, or those that are wanted, in a fixed order."""
    if config.signals is not None:
        return config.signals
    return tuple(signal for signal in SIGNALS if signal in wanted)


def skim_spec(config: ExperimentConfig) -> SkimSpec:
    """The cheap look of a configuration."""
    size = (config.skim_size, config.skim_size)
    return SkimSpec(num_frames=config.skim_frames, resize=size, crop=size)


def signal_spec(config: ExperimentConfig) -> SignalSpec:
    """The signals of a configuration; residuals and I-frames are as large as skims."""
    size = (config.skim_size, config.skim_size)
    return SignalSpec(num_frames=config.signal_frames, resize=size, crop=size)


def _bank(
    config: ExperimentConfig,
    dataset: VideoDataset,
    classifier: ClipClassifier,
    signals: Sequence[str],
    progress: bool,
) -> ClipBank:
    return cached_bank(
        dataset,
        classifier,
        num_clips=config.candidates,
        fields=("logits", "features", "skim", *signals),
        skim=skim_spec(config),
        signals=signal_spec(config) if signals else None,
        crops=config.crops,
        device=config.torch_device,
        batch_size=config.clips_per_batch,
        num_workers=config.num_workers,
        progress=progress,
    )
