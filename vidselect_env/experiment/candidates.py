"""How many clips a grid lays on each video, where nobody says it: by what is chosen from, and how long videos are."""

from __future__ import annotations

import statistics
from typing import TypeVar

from vidselect_classifiers import ClipGeometry
from vidselect_env.datasets import VideoDataset
from vidselect_env.envs.contract import Needs
from vidselect_env.experiment.config import AUTO, ExperimentConfig, ProblemConfig, changed
from vidselect_env.experiment.problems import environment_of
from vidselect_env.video.clips import ClipGrid
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import index_video

NUM_INDEXED = 9  # videos of which the length is looked at
# Candidates for one that is offered: between these lie the others that `draw_candidates` draws, and curves over more
# sections take.
SPARE = (5, 3)

_Config = TypeVar("_Config", bound=ExperimentConfig)


def settled(config: _Config, dataset: VideoDataset, geometry: ClipGeometry, *, needs: Needs | None = None) -> _Config:
    """The configuration with a number of candidates, where it says `auto`.

    Args:
        dataset: whose videos' lengths count.
        geometry: of the classifier.
        needs: of the selector; None for one of any environment.
    """
    if config.grid.candidates != AUTO:
        return config
    grid = ClipGrid(num_clips=None, num_frames=geometry.num_frames, frame_stride=geometry.frame_stride)
    offered = num_offered(config.problem, needs)
    number = num_candidates(offered, num_frames=typical_frames(dataset), span=grid.span)
    return changed(config, candidates=number)


def num_offered(problem: ProblemConfig, needs: Needs | None = None) -> int:
    """The most candidates that a problem offers at once: sections x clips, or frames."""
    sections = problem.clips * max(problem.sections, problem.test_sections or 0)
    frames = problem.frames or ProblemConfig().frames or 0
    if needs is None and problem.environment == "auto":
        return max(sections, frames)
    environment = environment_of(problem, needs or Needs())
    return sections if environment == "VideoClipSelect-v0" else frames


def num_candidates(offered: int, *, num_frames: int | None, span: int) -> int:
    """Five for every three that are offered, but no more than half-overlapping clips fit; never fewer than offered.

    Args:
        num_frames: of a video; None where that is not known.
        span: frames from the first to the last of a clip, both counted.

    Example: 18 offered -> 30 on 150 frames with a span of 8; 6 offered -> 6 on 50 frames with a span of 16.
    """
    more = -(-offered * SPARE[0] // SPARE[1])
    if num_frames is not None:
        more = min(more, max(num_frames - span, 0) // max(span // 2, 1) + 1)
    return max(offered, more)


def typical_frames(dataset: VideoDataset) -> int | None:
    """The median number of frames of a few videos, evenly taken; None where none of them can be read."""
    count = min(NUM_INDEXED, len(dataset))
    found = []
    for video in (dataset.videos[number * len(dataset) // count] for number in range(count)):
        try:
            found.append(index_video(video.path, start_s=video.start_s, end_s=video.end_s).info.num_frames)
        except VideoError:
            continue
    return int(statistics.median(found)) if found else None
