"""How many candidates there are where nobody says it, and how many clips a classifier is given at once."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from vidselect_classifiers import ClipGeometry, make_classifier
from vidselect_classifiers.memory import MOST_CLIPS, clips_at_once, peak_bytes
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.contract import Needs
from vidselect_env.experiment.candidates import num_candidates, num_offered, settled, typical_frames
from vidselect_env.experiment.config import ExperimentConfig, GridConfig, ProblemConfig, changed

CLIPS = Needs(environment="VideoClipSelect-v0")
FRAMES = Needs(environment="VideoFrameSelect-v0")


def test_the_default_problem_has_the_thirty_candidates_of_its_tables():
    """Of 150 frames, and of its first version's 180, seen by clips of 8."""
    offered = num_offered(ProblemConfig())
    assert [num_candidates(offered, num_frames=frames, span=8) for frames in (150, 180)] == [30, 30]


def test_a_small_problem_on_short_videos_classifies_nothing_that_is_not_offered():
    """Six candidates of two-second videos, seen by clips of 16: not 30."""
    offered = num_offered(ProblemConfig(sections=2, clips=3), CLIPS)
    assert offered == 6
    assert num_candidates(offered, num_frames=50, span=16) == 6
    assert num_candidates(offered, num_frames=3000, span=16) == 10
    assert num_candidates(offered, num_frames=None, span=16) == 10


def test_what_is_offered_is_always_there():
    assert num_candidates(100, num_frames=5000, span=16) == 167
    assert num_candidates(100, num_frames=20, span=16) == 100  # a short video offers some twice


def test_what_is_offered_follows_the_environment():
    problem = ProblemConfig(sections=2, clips=3, test_sections=4, frames=25)
    assert num_offered(problem, CLIPS) == 12
    assert num_offered(problem, FRAMES) == 25
    assert num_offered(problem) == 25  # agents of several share a bank
    assert num_offered(dataclasses.replace(problem, environment="VideoClipSelect-v0")) == 12
    assert num_offered(dataclasses.replace(problem, frames=None), FRAMES) == 18


def test_only_what_nobody_said_is_settled(video_folder):
    """Two videos each of 20, 25, 30 and 35 frames."""
    dataset = load_dataset(f"folder:{video_folder}", split="train")
    assert typical_frames(dataset) == 27
    geometry = ClipGeometry(num_frames=8, resize=32, crop=(32, 32))
    small = changed(ExperimentConfig(), sections=1, clips=3)
    assert settled(small, dataset, geometry, needs=CLIPS).grid.candidates == 5
    for number in (None, 12):
        config = dataclasses.replace(small, grid=GridConfig(candidates=number))
        assert settled(config, dataset, geometry) is config
        assert config.grid.num_clips == number
    with pytest.raises(ValueError, match=r"candidates \(auto\) must be settled"):
        _ = small.grid.num_clips
    with pytest.raises(ValueError, match=r"candidates \(0\) must be at least 1"):
        GridConfig(candidates=0)


class Wide(torch.nn.Module):
    """Three tensors at once: the input, and two of four times its floats."""

    def forward(self, values):
        wide = values.float().repeat(1, 4)
        return (wide + 1).sum(1)


def test_the_memory_of_a_pass_is_that_of_what_is_there_at_once():
    """uint8 and float of 100, then 2 x 400 floats while they are added; the float of 100 is gone by then."""
    assert 100 + 2 * 4 * 400 <= peak_bytes(Wide(), (1, 100), dtype=torch.uint8) <= 100 + 4 * 100 + 2 * 4 * 400 + 16
    one, two = (peak_bytes(Wide(), (count, 100), dtype=torch.uint8) for count in (1, 2))
    assert two == 2 * one


def test_a_batch_is_as_large_as_the_classifier_has_room_for():
    sizes = {}
    for name, frames in (("tiny_r3d", None), ("r3d_18", None), ("r3d_18", 64)):
        classifier = make_classifier(name, num_classes=2, num_frames=frames)
        shape = classifier.input_shape
        sizes[name, frames] = clips_at_once(classifier, "cpu")
        assert sizes[name, frames] in {1 << power for power in range(7)}
        if sizes[name, frames] > 1:
            assert peak_bytes(classifier, (sizes[name, frames], *shape), dtype=torch.uint8) <= 1 << 29
        if sizes[name, frames] < MOST_CLIPS:
            assert peak_bytes(classifier, (2 * sizes[name, frames], *shape), dtype=torch.uint8) > 1 << 29
    assert sizes["tiny_r3d", None] == MOST_CLIPS  # as it was when its tables were made
    assert sizes["r3d_18", None] > sizes["r3d_18", 64]
