"""Recognising one video: look at it cheaply, choose, and decode and classify only what was chosen.

Shapes: L candidates of the grid, B contexts of the video with K candidates each, M classified clips, C classes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vidselect_classifiers import ClipClassifier
from vidselect_env.bank import BankSpec
from vidselect_env.envs.contract import LookShapes, MissingLook, Selector
from vidselect_env.envs.sources.look import LookSource
from vidselect_env.experiment.config import ProblemConfig
from vidselect_env.experiment.problems import make_problem
from vidselect_env.video.decode import FrameSize, read_clips
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import VideoIndex, index_video


@dataclass(frozen=True)
class Recognition:
    """What was found in a video, and what that took.

    probabilities: (C,) the mean over the chosen clips (DSN, Eq. 4), weighted as in training and evaluation.
    classified: (M,) positions on the grid; start_s: (M,) seconds into the file.
    frames: (M, 2) the first and the last frame of each classified clip, numbers in the file.
    num_candidates: clips of the grid that were looked at.
    milliseconds: of `index`, `look`, `score`, `decode` and `classify`.
    looking_gmacs, clip_gmacs: multiply-adds of choosing, and of classifying one clip (at most), in units of 1e9.
    """

    probabilities: Tensor
    classified: Tensor
    start_s: Tensor
    frames: Tensor
    num_candidates: int
    milliseconds: dict[str, float] = field(default_factory=dict)
    looking_gmacs: float = 0.0
    clip_gmacs: float = 0.0


class Costs:
    """What choosing costs a selector, counted once for looks of the same shapes.

    Counting goes through the selector's networks, which takes longer than choosing by them.
    """

    def __init__(self, selector: Selector) -> None:
        self._selector = selector
        self._known: list[tuple[LookShapes, float]] = []

    def gmacs(self, shapes: LookShapes) -> float:
        """Of one context, multiply-adds in units of 1e9."""
        for known, cost in self._known:
            if known == shapes:
                return cost
        self._known.append((shapes, self._selector.cost_gmacs(shapes)))
        return self._known[-1][1]


def recognise(
    path: str,
    selector: Selector,
    *,
    classifier: ClipClassifier,
    spec: BankSpec,
    problem: ProblemConfig,
    start_s: float | None = None,
    end_s: float | None = None,
) -> Recognition:
    """Recognise the action of a video file, or of the part [start_s, end_s) of it.

    Index it, and `recognise_indexed`.

    Args:
        path: of the file.
        selector: chooses.
        classifier: names the action; where its parameters are, it runs.
        spec: the grid, and the fields that the selector looks at (`looks_spec`).
        problem: what may be chosen, as in training.
        start_s, end_s: as in `index_video`.

    Raises:
        VideoError: the file cannot be read, is too short for the problem, has not the signals that the selector
            looks at, or the selector chooses nothing in it.
    """
    started_s = time.perf_counter()
    index = index_video(path, start_s=start_s, end_s=end_s, allow_corrupt=spec.allow_corrupt, keep_packets=True)
    index_ms = 1000 * (time.perf_counter() - started_s)
    found = recognise_indexed(index, selector, classifier=classifier, spec=spec, problem=problem)
    return replace(found, milliseconds={"index": index_ms, **found.milliseconds})


def recognise_indexed(
    index: VideoIndex,
    selector: Selector,
    *,
    classifier: ClipClassifier,
    spec: BankSpec,
    problem: ProblemConfig,
    costs: Costs | None = None,
) -> Recognition:
    """Recognise the action of an indexed video, or of a segment: arguments and errors as in `recognise`.

    Lay the grid, look, select, decode and classify what was selected, fuse.

    Args:
        costs: of the selector, for who recognises more than once.
    """
    clock, path = _Clock(), index.info.path
    source = LookSource(index, spec=spec)
    try:
        choosing = make_problem(problem, source, selector.needs)
    except ValueError as error:
        raise VideoError(path, f"the problem does not fit it: {error}") from error
    contexts = torch.arange(choosing.num_contexts)
    candidates = choosing.candidates(contexts)
    looks = choosing.looks(contexts, selector.needs.fields)
    clock.lap("look")
    try:
        weights = choosing.fusion_weights(selector.select(looks).cpu())
    except MissingLook as error:
        raise VideoError(path, error.reason) from error
    chosen = candidates[weights > 0]
    classified, which = source.first_alike(chosen[:0], chosen).unique(return_inverse=True)
    if not len(classified):
        raise VideoError(path, "the selector chooses no clip of it")
    clock.lap("score")
    geometry = classifier.geometry
    size = FrameSize(geometry.resize, geometry.crop)
    [clips] = read_clips(path, source.frames[classified], sizes=[size], index=index)
    clock.lap("decode")
    device = next(classifier.parameters()).device
    with torch.inference_mode():
        each = classifier(clips.to(device)).logits.float().softmax(-1).cpu()
    shares = weights[weights > 0]
    probabilities = (shares[:, None] * each[which]).sum(0) / shares.sum()
    clock.lap("classify")
    shown_s = torch.from_numpy(index.shown_s)
    chosen = source.frames[classified]
    return Recognition(
        probabilities,
        classified,
        start_s=shown_s[chosen[:, 0]],
        frames=chosen[:, [0, -1]] + index.first,
        num_candidates=len(source.first_alike(candidates[:0], candidates).unique()),
        milliseconds=clock.laps,
        looking_gmacs=(costs or Costs(selector)).gmacs(choosing.shapes) * choosing.num_contexts,
        clip_gmacs=spec.classifier_gmacs,
    )


class _Clock:
    """Milliseconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last_s = time.perf_counter()

    def lap(self, name: str) -> None:
        now_s = time.perf_counter()
        self.laps[name] = 1000 * (now_s - self._last_s)
        self._last_s = now_s
