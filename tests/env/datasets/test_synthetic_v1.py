"""The first version of the synthetic sets, which published figures are of."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from vidselect_env.datasets.synthetic import MOTIONS, SyntheticConfig
from vidselect_env.datasets.synthetic.motions import MotionSpan
from vidselect_env.datasets.synthetic.sound import SAMPLE_RATE
from vidselect_env.datasets.synthetic.v1_rendering import render_frames, render_sound
from vidselect_env.datasets.synthetic.v1_scenes import draw_truth


@pytest.mark.parametrize("num_frames", [80, 180])
def test_action_fills_a_fifth_to_a_third_of_a_video(num_frames):
    config = SyntheticConfig(kind="v1", num_frames=num_frames)
    for seed in range(200):
        truth = draw_truth(config, seed % 8, np.random.default_rng(seed))
        assert 0.20 <= sum(span.num_frames for span in truth.action) / num_frames <= 0.35
        assert {span.motion for span in truth.action} == {MOTIONS[seed % 8]}
        assert 1 <= len(truth.action) <= 3


def test_distractors_are_short_flashes_of_other_motions():
    for seed in range(200):
        truth = draw_truth(SyntheticConfig(kind="v1"), seed % 8, np.random.default_rng(seed))
        assert 2 <= len(truth.distractors) <= 4
        assert all(3 <= span.num_frames <= 6 for span in truth.distractors)
        assert MOTIONS[seed % 8] not in {span.motion for span in truth.distractors}


def test_rest_surrounds_every_span():
    for seed in range(200):
        truth = draw_truth(SyntheticConfig(kind="v1", num_frames=80), seed % 8, np.random.default_rng(seed))
        spans = sorted(truth.action + truth.distractors, key=lambda span: span.first_frame)
        ends = [(-1, -1), *((span.first_frame, span.last_frame) for span in spans), (80, 80)]
        assert all(later - earlier > 3 for (_, earlier), (later, _) in itertools.pairwise(ends))


def test_all_of_a_trimmed_clip_is_action():
    truth = draw_truth(SyntheticConfig(kind="v1-trimmed", num_frames=12), 3, np.random.default_rng(0))
    (span,) = truth.action
    assert (span.motion, span.first_frame, span.last_frame, truth.distractors) == ("down", 0, 11, ())


def test_a_video_too_short_for_its_parts_is_refused():
    with pytest.raises(ValueError, match=r"num_frames \(60\) must be at least 80"):
        SyntheticConfig(kind="v1", num_frames=60)


@pytest.mark.parametrize("motion", MOTIONS)
def test_pixels_change_more_in_motion_than_at_rest(motion):
    spans = [MotionSpan(motion=motion, first_frame=20, last_frame=39, num_periods=2)]
    changes = []
    for seed in range(3):
        frames = render_frames(spans, num_frames=60, height=120, width=160, rng=np.random.default_rng(seed))
        assert (frames.shape, frames.dtype) == ((60, 120, 160, 3), np.uint8)
        coarse = frames.reshape(60, 15, 8, 20, 8, 3).mean(axis=(2, 4))  # camera noise averages out
        changes.append(np.abs(np.diff(coarse, axis=0)).mean(axis=(1, 2, 3)))
    change = np.mean(changes, axis=0)
    assert change[20:39].mean() > 1.5 * max(change[:18].mean(), change[41:].mean())


def test_the_look_of_a_video_does_not_depend_on_its_motion():
    resting = [
        render_frames(
            [MotionSpan(motion=motion, first_frame=5, last_frame=9, num_periods=1)],
            num_frames=10,
            height=64,
            width=64,
            rng=np.random.default_rng(1),
        )[:5]
        for motion in MOTIONS
    ]
    assert all((frames == resting[0]).all() for frames in resting)


@pytest.mark.parametrize("motion", ["left", "shrink"])
def test_the_tone_sounds_in_the_action_and_hum_elsewhere(motion):
    spans = [MotionSpan(motion=motion, first_frame=30, last_frame=59, num_periods=2)]
    sound = render_sound(spans, num_frames=90, fps=15, rng=np.random.default_rng(0))
    assert (sound.shape, sound.dtype) == ((6 * SAMPLE_RATE,), np.float32)
    seconds = np.abs(np.fft.rfft(sound.reshape(3, -1), axis=1)).argmax(axis=1) / 2
    pitch = 220 * 2 ** (4 * MOTIONS.index(motion) / 12)
    assert seconds[[0, 2]].tolist() == [50, 50]
    assert abs(math.log2(seconds[1] / pitch)) < 1 / 12
