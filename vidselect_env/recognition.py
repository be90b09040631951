"""Recognising one video: look at skims, choose, and decode and classify only what was chosen.

Shapes: K candidates, M chosen clips, C classes, T frames a clip.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from vidselect_classifiers import ClipClassifier
from vidselect_env.bank.spec import SkimSpec
from vidselect_env.video.clips import ClipGrid, middle_frames, section_candidates
from vidselect_env.video.decode import FrameSize, read_clips
from vidselect_env.video.index import index_video

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Recognition:
    """What was found in a video, and what that took.

    probabilities: (C,) the mean over the chosen clips (DSN, Eq. 4).
    chosen: (M,) positions on the grid; start_s: (M,) seconds into the video.
    num_candidates: clips of the grid that were looked at.
    milliseconds: of `index`, `skim`, `score`, `decode` and `classify`.
    """

    probabilities: Tensor
    chosen: Tensor
    start_s: Tensor
    num_candidates: int
    milliseconds: dict[str, float] = field(default_factory=dict)


def recognise(
    path: str,
    *,
    classifier: ClipClassifier,
    grid: ClipGrid,
    skim: SkimSpec,
    num_sections: int,
    num_clips: int,
    predict: Predict,
) -> Recognition:
    """Recognise the action of a video file.

    Args:
        path: of the file.
        classifier: names the action; where its parameters are, it runs.
        grid, skim: as the agent was trained on.
        num_sections, num_clips: M and N.
        predict: from skims (M * N, S, 3, h, w) uint8 to the clip chosen in each section (M,).

    Raises:
        VideoError: the file cannot be read.
    """
    clock = _Clock()
    index = index_video(path)
    clock.lap("index")
    frames = grid.frame_indices(index.info.num_frames)
    offered = section_candidates(len(frames), num_sections, num_clips)
    looked_at = frames[offered.flatten()][:, middle_frames(grid.num_frames, skim.num_frames)]
    [skims] = read_clips(path, looked_at, sizes=[skim.frame_size], index=index)
    clock.lap("skim")
    actions = torch.as_tensor(predict(skims.numpy())).view(num_sections, 1)
    chosen = offered.gather(1, actions).squeeze(1)
    clock.lap("score")
    geometry = classifier.geometry
    [clips] = read_clips(path, frames[chosen], sizes=[FrameSize(geometry.resize, geometry.crop)], index=index)
    clock.lap("decode")
    device = next(classifier.parameters()).device
    with torch.inference_mode():
        probabilities = classifier(clips.to(device)).logits.float().softmax(-1).mean(0).cpu()
    clock.lap("classify")
    start_s = grid.starts(index.info.num_frames)[chosen] / index.info.fps
    return Recognition(probabilities, chosen, start_s, offered.numel(), clock.laps)


class _Clock:
    """Milliseconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last_s = time.perf_counter()

    def lap(self, name: str) -> None:
        now_s = time.perf_counter()
        self.laps[name] = 1000 * (now_s - self._last_s)
        self._last_s = now_s
