"""One configuration of an experiment: data, grid, problem and classifier, a dataclass each.

A command's options are these fields, under their own names; what is saved with a run is these dataclasses as JSON.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from vidselect_env.fitting.options import ClassifierOptions
from vidselect_env.settings import LARGEST_SEED, check_settings

AUTO: Literal["auto"] = "auto"

_D = TypeVar("_D")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which videos.

    Args:
        dataset: synthetic, folder:PATH or csv:PATH.
        train_split: the split to learn on.
        test_split: the split to evaluate on; settings are chosen on val.
        num_videos: synthetic training videos (half as many for testing), or at most so many of a real split.
        data_seed: of the synthetic videos.
    """

    dataset: str = "synthetic"
    train_split: str = "train"
    test_split: str = "test"
    num_videos: int | None = None
    data_seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self, at_least={"num_videos": 1, "data_seed": 0}, at_most={"data_seed": LARGEST_SEED})


@dataclass(frozen=True, kw_only=True)
class GridConfig:
    """Which clips are candidates, and what is kept of them.

    Args:
        candidates: clips that the grid lays on each video; None for as many as fit, end to end; or auto: five for three
            that are offered, where videos are long enough for clips that overlap by half.
        crops: of each clip that the classifier sees: 1, the centre, or 10. With 10 agents learn on the centre,
            and one that scores frames is also tested on all ten.
        skim_frames: frames of the cheap look at a candidate.
        skim_size: its height and width, in pixels.
        skim_fit: how frames are brought to that: squash, whatever their shape; or crop, the short side resized and the
            middle of the long one kept, so that nothing is distorted.
        signals: of compressed video and sound, in the bank: vectors, residual, intra, mel; None for those that
            the agents take.
        signal_frames: frames of a candidate that vectors and residuals are kept of.
        residual_bits: of each value of a residual: 8, cut off at -128 and 127, or 16, whole.
        allow_corrupt: take damaged frames as they come, rather than leave out their videos.
        num_workers: decoding threads.
        clips_per_batch: clips the classifier takes at once; auto for as many, up to 64, as have room in half a
            gigabyte (of a GPU, four), by its own size.
    """

    candidates: int | Literal["auto"] | None = AUTO
    crops: Literal[1, 10] = 1
    skim_frames: int = 8
    skim_size: int = 32
    skim_fit: Literal["squash", "crop"] = "squash"
    signals: tuple[str, ...] | None = None
    signal_frames: int = 4
    residual_bits: Literal[8, 16] = 8
    allow_corrupt: bool = False
    num_workers: int = 2
    clips_per_batch: int | Literal["auto"] = AUTO

    def __post_init__(self) -> None:
        counts = ("candidates", "skim_frames", "skim_size", "signal_frames", "num_workers", "clips_per_batch")
        check_settings(self, at_least=dict.fromkeys(counts, 1))

    @property
    def num_clips(self) -> int | None:
        """`candidates`, which must be settled."""
        if self.candidates == AUTO:
            raise ValueError("candidates (auto) must be settled by a dataset: `vidselect_env.experiment.candidates`")
        return self.candidates


@dataclass(frozen=True, kw_only=True)
class ProblemConfig:
    """What is to be chosen.

    Args:
        environment: VideoClipSelect-v0, VideoFrameSelect-v0, VideoClipSearch-v0, or auto: the one that the agent is
            made for.
        observation: what the agent sees of a candidate: skim; mel, its sound; features, predictions, or both of the
            classifier's; or auto: what the agent is made for, else skims, and both to select frames.
        sections: M, parts of a video that one clip each is chosen from.
        clips: N, candidates a section.
        test_sections: M in testing, where another.
        draw_candidates: in training a section's clips are drawn at random, each within its part, so that all candidates
            teach; in testing they are the middle ones.
        penalty: of a wrongly classified clip (gamma of DSN's Eq. 6).
        frames: T, candidates that are kept or dropped; None for all of a video's.
        kept: m, how many of them are kept in testing (K of SCSampler).
        reward: of keeping frames: attention (AS's), correct, log_prob, margin, gain or confidence; or auto: what the
            agent is made to learn from, else attention.
        omega: reward of turning a wrong prediction right (AS, Eq. 4).
        alpha: weight of a dropped candidate (AS, Eq. 10).
        price: of classifying one more clip of a search, where a right answer is worth 1; frames are its candidates.
        price_range: least and largest price of the episodes that are learned from; None for price alone.
        max_clips: that a search may classify; None for all.
    """

    environment: Literal["auto", "VideoClipSelect-v0", "VideoFrameSelect-v0", "VideoClipSearch-v0"] = "auto"
    observation: Literal["auto", "skim", "mel", "features", "features+predictions", "predictions"] = "auto"
    sections: int = 6
    clips: int = 3
    test_sections: int | None = None
    draw_candidates: bool = False
    penalty: float = 0.5
    frames: int | None = 18
    kept: int = 6
    reward: Literal["auto", "attention", "correct", "log_prob", "margin", "gain", "confidence"] = "auto"
    omega: float = 10.0
    alpha: float = 0.0
    price: float = 0.03
    price_range: tuple[float, float] | None = None
    max_clips: int | None = None

    def __post_init__(self) -> None:
        counts = ("sections", "clips", "test_sections", "frames", "kept", "max_clips")
        check_settings(
            self,
            at_least=dict.fromkeys(counts, 1) | dict.fromkeys(("penalty", "omega", "alpha", "price"), 0),
            at_most={"alpha": 1},
        )


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The classifier's last layer, where the dataset has other classes.

    Args:
        head: fit a linear head on the training split's features (the training videos themselves are judged
            by heads of other folds), keep the weights' own, or auto: fit where the classes are not the same.
        folds: of the training videos, for a head that is fitted.
    """

    head: Literal["auto", "fit", "keep"] = "auto"
    folds: int = 5

    def __post_init__(self) -> None:
        check_settings(self, at_least={"folds": 2})


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """Videos, grid, problem and classifier; the defaults are the default problem."""

    data: DataConfig = field(default_factory=DataConfig)
    grid: GridConfig = field(default_factory=GridConfig)
    problem: ProblemConfig = field(default_factory=ProblemConfig)
    classifier: ClassifierOptions = field(default_factory=ClassifierOptions)
    fitting: HeadConfig = field(default_factory=HeadConfig)


def changed(config: _D, **changes: Any) -> _D:
    """A configuration with other values of fields, by name, wherever in it they are; None changes nothing.

    Raises:
        ValueError: there is no such field.
    """
    left = {name: value for name, value in changes.items() if value is not None}
    replaced: dict[str, Any] = {}
    for each in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, each.name)
        if each.name in left and not dataclasses.is_dataclass(value):
            replaced[each.name] = left.pop(each.name)
        elif dataclasses.is_dataclass(value):
            own = {field.name for field in dataclasses.fields(value)}
            mine = {name: left.pop(name) for name in list(left) if name in own}
            replaced[each.name] = changed(value, **mine) if mine else value
    if left:
        raise ValueError(f"no such setting: {', '.join(left)}")
    return dataclasses.replace(config, **replaced)  # type: ignore[type-var]
