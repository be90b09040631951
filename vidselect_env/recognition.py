"""Recognising one video: look at it cheaply, choose, and decode and classify only what was chosen.

Shapes: L candidates of the grid, B contexts of the video with K candidates each, M classified clips, C classes.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vidselect_classifiers import ClipClassifier
from vidselect_env.bank import BankSpec, ClipBank
from vidselect_env.bank.decode import read_with_fields
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.video.decode import FrameSize, read_clips
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import index_video


@dataclass(frozen=True)
class Recognition:
    """What was found in a video, and what that took.

    probabilities: (C,) the mean over the chosen clips (DSN, Eq. 4), weighted as in training and evaluation.
    classified: (M,) positions on the grid; start_s: (M,) seconds into the file.
    num_candidates: clips of the grid that were looked at.
    milliseconds: of `index`, `look`, `score`, `decode` and `classify`.
    """

    probabilities: Tensor
    classified: Tensor
    start_s: Tensor
    num_candidates: int
    milliseconds: dict[str, float] = field(default_factory=dict)


def recognise(
    path: str,
    *,
    classifier: ClipClassifier,
    spec: BankSpec,
    make_problem: Callable[[BankSource], SelectionProblem],
    select: Callable[[SelectionProblem, Tensor], Tensor],
    start_s: float | None = None,
    end_s: float | None = None,
) -> Recognition:
    """Recognise the action of a video file, or of the part [start_s, end_s) of it.

    Args:
        path: of the file.
        classifier: names the action; where its parameters are, it runs.
        spec: the grid, and the fields that the selector looks at, as of the bank that it was trained on.
        make_problem: the problem that it was trained on, on another source.
        select: from a problem and contexts (B,) to the chosen candidates (B, K) bool.
        start_s, end_s: as in `index_video`.

    Raises:
        VideoError: the file cannot be read, is too short for the problem, has not the signals that the selector
            looks at, or the selector chooses nothing in it.
    """
    clock = _Clock()
    index = index_video(path, start_s=start_s, end_s=end_s)
    clock.lap("index")
    frames = spec.grid.frame_indices(index.info.num_frames)
    try:
        blind = make_problem(BankSource(one_video_bank(spec, len(frames), path=path)))
    except ValueError as error:
        raise VideoError(path, f"the problem does not fit it: {error}") from error
    contexts = torch.arange(blind.num_contexts)
    candidates = blind.candidates(contexts)
    offered = candidates.unique()
    _, fields = read_with_fields(path, frames[offered], spec=spec, sizes=[], index=index)
    clock.lap("look")
    problem = make_problem(BankSource(one_video_bank(spec, len(frames), path=path, offered=offered, fields=fields)))
    weights = problem.fusion_weights(select(problem, contexts).cpu())
    classified, which = candidates[weights > 0].unique(return_inverse=True)
    if not len(classified):
        raise VideoError(path, "the selector chooses no clip of it")
    clock.lap("score")
    geometry = classifier.geometry
    [clips] = read_clips(path, frames[classified], sizes=[FrameSize(geometry.resize, geometry.crop)], index=index)
    clock.lap("decode")
    device = next(classifier.parameters()).device
    with torch.inference_mode():
        each = classifier(clips.to(device)).logits.float().softmax(-1).cpu()
    shares = weights[weights > 0]
    probabilities = (shares[:, None] * each[which]).sum(0) / shares.sum()
    clock.lap("classify")
    shown_s = torch.from_numpy(index.shown_s)
    return Recognition(probabilities, classified, shown_s[frames[classified, 0]], len(offered), clock.laps)


def one_video_bank(
    spec: BankSpec,
    num_candidates: int,
    *,
    path: str = "",
    feature_dim: int = 0,
    offered: Tensor | None = None,
    fields: Mapping[str, Tensor] | None = None,
) -> ClipBank:
    """A bank of one video that no classifier has seen: its logits say nothing.

    Args:
        path: of its file.
        feature_dim: of features, all zero, for whoever asks for their shape; none without.
        offered: (K,) the candidates that `fields`, each (K, ...), are of; of the others they are zero.
    """
    decoded = {}
    for name in spec.fields:
        whole = torch.zeros((num_candidates, *spec.shape(name)), dtype=None if fields is None else fields[name].dtype)
        if name == "skim":
            whole = whole.to(torch.uint8)
        if fields is not None:
            whole[offered] = fields[name]
        decoded[name] = whole[None]
    nothing = torch.zeros(1, num_candidates, len(spec.class_names))
    features = torch.zeros(1, num_candidates, feature_dim) if feature_dim else None
    bank = ClipBank.from_tensors(nothing, [0], features=features, skim=decoded.pop("skim", None), signals=decoded)
    return dataclasses.replace(bank, video_paths=(path,))


class _Clock:
    """Milliseconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last_s = time.perf_counter()

    def lap(self, name: str) -> None:
        now_s = time.perf_counter()
        self.laps[name] = 1000 * (now_s - self._last_s)
        self._last_s = now_s
