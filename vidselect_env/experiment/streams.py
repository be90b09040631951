"""Recognising a stream window by window as it comes; seconds are of the stream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from vidselect_classifiers import ClipClassifier
from vidselect_env.bank import BankSpec
from vidselect_env.envs.contract import Selector
from vidselect_env.experiment.config import ProblemConfig
from vidselect_env.experiment.recognise import Costs, Recognition, recognise_indexed
from vidselect_env.experiment.windows import Decision
from vidselect_env.video.cutting import Piece
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import VideoIndex, index_video, segment_of
from vidselect_env.video.live import LiveWindows, Lost

DROPPED = "dropped: the work was behind"


@dataclass(frozen=True)
class Heard:
    """A decision about a window of a stream, as it falls.

    index: of the file that holds the window, until the next is asked for; None where nothing was recognised.
    lag_s: seconds of clock from the window's end to the decision; nan where it was dropped.
    """

    decision: Decision
    index: VideoIndex | None = None
    lag_s: float = float("nan")

    @property
    def is_dropped(self) -> bool:
        return self.decision.reason == DROPPED


def recognise_stream(
    windows: LiveWindows, selector: Selector, *, classifier: ClipClassifier, spec: BankSpec, problem: ProblemConfig
) -> Iterator[Heard]:
    """A decision for every window of a stream, in order; one that was dropped has none, and says so.

    Arguments as in `recognise`.

    Raises:
        VideoError: the stream cannot be opened, or breaks off.
    """
    costs = Costs(selector)
    for piece in windows:
        if isinstance(piece, Lost):
            yield Heard(Decision(piece.start_s, piece.end_s, None, DROPPED))
            continue
        try:
            index, found = _recognised(piece, selector, classifier=classifier, spec=spec, problem=problem, costs=costs)
        except VideoError as error:
            yield Heard(Decision(piece.start_s, piece.end_s, None, error.reason), lag_s=windows.lag_s(piece))
        else:
            yield Heard(Decision(piece.start_s, piece.end_s, found), index, windows.lag_s(piece))


def _recognised(
    piece: Piece,
    selector: Selector,
    *,
    classifier: ClipClassifier,
    spec: BankSpec,
    problem: ProblemConfig,
    costs: Costs,
) -> tuple[VideoIndex, Recognition]:
    started_s = time.perf_counter()
    index = index_video(str(piece.path), keep_packets=True, allow_corrupt=spec.allow_corrupt)
    index_ms = 1000 * (time.perf_counter() - started_s)
    start_s, end_s = piece.start_s - piece.begin_s, piece.end_s - piece.begin_s
    part = segment_of(
        index, start_s=start_s if start_s > 0 else None, end_s=end_s if end_s < index.info.duration_s else None
    )
    found = recognise_indexed(part, selector, classifier=classifier, spec=spec, problem=problem, costs=costs)
    spent = {"index": index_ms, **found.milliseconds}
    return index, replace(found, start_s=found.start_s + piece.begin_s, milliseconds=spent)
