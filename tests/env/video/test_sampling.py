"""Claims of frame sampling: worked examples by hand, and what holds for any video and number of frames."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidselect_env.video.clips import ClipGrid
from vidselect_env.video.sampling import (
    fixed_stride_frames,
    motion_guided_frames,
    motion_magnitude_frames,
    salience,
    segment_frames,
)

# Roots 0, 1, 2, 2, 0, 3, of sum 8.
CURVE = torch.tensor([0.0, 1.0, 4.0, 4.0, 0.0, 9.0])
COUNTS = st.integers(1, 400)
CURVES = st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=60).map(torch.tensor)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_salience_is_the_curve_to_the_power_of_mu_over_its_sum():
    assert salience(CURVE, mu=1).tolist() == pytest.approx([0, 1 / 18, 4 / 18, 4 / 18, 0, 9 / 18])
    assert salience(CURVE, mu=0.5).tolist() == pytest.approx([0, 1 / 8, 2 / 8, 2 / 8, 0, 3 / 8])
    assert salience(CURVE, mu=2).tolist() == pytest.approx([0, 1 / 114, 16 / 114, 16 / 114, 0, 81 / 114])


def test_salience_without_motion_or_with_mu_0_is_uniform():
    assert salience(torch.zeros(4)).tolist() == [0.25] * 4
    assert salience(torch.zeros(1)).tolist() == [1.0]
    assert salience(CURVE, mu=0).tolist() == pytest.approx([1 / 6] * 6)


def test_salience_does_not_depend_on_the_scale_of_the_curve():
    for scale in (1e-30, 1e-4, 1e30):
        assert torch.allclose(salience(scale * CURVE, mu=2), salience(CURVE, mu=2))


def test_motion_guided_frames_by_hand_with_mu_half():
    # Cumulated by the end of each frame: 0, 1/8, 3/8, 5/8, 5/8, 8/8. Middles of four parts: 1/8, 3/8, 5/8, 7/8
    # lie on ends of frames, where the next frame with motion begins; of three: 1/6, 3/6, 5/6.
    assert motion_guided_frames(CURVE, 4).tolist() == [2, 3, 5, 5]
    assert motion_guided_frames(CURVE, 3).tolist() == [2, 3, 5]
    # Of eight: 1/16, 3/16, 5/16, 7/16, 9/16, 11/16, 13/16, 15/16.
    assert motion_guided_frames(CURVE, 8).tolist() == [1, 2, 2, 3, 3, 5, 5, 5]


def test_motion_guided_frames_by_hand_with_mu_1():
    # Cumulated, in 18ths: 0, 1, 5, 9, 9, 18. Middles of three parts: 3, 9, 15.
    assert motion_guided_frames(CURVE, 3, mu=1).tolist() == [2, 5, 5]
    # Of nine: 1, 3, 5 ... 17.
    assert motion_guided_frames(CURVE, 9, mu=1).tolist() == [2, 2, 3, 3, 5, 5, 5, 5, 5]


def test_larger_mu_follows_motion_more():
    curve = torch.cat([torch.ones(90), torch.full((10,), 9.0)])
    shares = [int((motion_guided_frames(curve, 40, mu=mu) >= 90).sum()) for mu in (0, 0.5, 1, 2)]
    # The burst's share is 10/100, 30/120, 90/180, 810/900.
    assert shares == [4, 10, 20, 36]


def test_training_draws_one_value_from_each_part():
    drawn = torch.stack([motion_guided_frames(CURVE, 2, mu=1, generator=seeded(seed)) for seed in range(300)])
    # The lower half of the 18ths ends where frame 3 does: frames 1, 2, 3 with chances 1/9, 4/9, 4/9.
    assert set(drawn[:, 1].tolist()) == {5}
    chances = torch.bincount(drawn[:, 0], minlength=4) / 300
    assert chances.tolist() == pytest.approx([0, 1 / 9, 4 / 9, 4 / 9], abs=0.08)


def test_same_generator_state_gives_the_same_frames_and_another_gives_others():
    curve = torch.rand(200, generator=seeded(0))
    first, again, other = (motion_guided_frames(curve, 8, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_frames_without_motion_are_not_chosen_where_others_have_some():
    curve = torch.tensor([0.0, 0.0, 5.0, 0.0, 0.0, 2.0, 0.0])
    for seed in range(50):
        assert set(motion_guided_frames(curve, 5, generator=seeded(seed)).tolist()) <= {2, 5}
    # Roots 2.236 and 1.414, of sum 3.650, of which 0.4, 1.1, 1.8, 2.6 and 3.3 are the middles.
    assert motion_guided_frames(curve, 5).tolist() == [2, 2, 2, 5, 5]


def test_one_frame_is_repeated():
    for frames in (
        motion_guided_frames(torch.zeros(1), 3),
        motion_guided_frames(torch.zeros(1), 3, generator=seeded(0)),
        segment_frames(1, 3),
        fixed_stride_frames(1, 3),
        fixed_stride_frames(1, 3, generator=seeded(0)),
        motion_magnitude_frames(torch.zeros(1), 3),
    ):
        assert frames.tolist() == [0, 0, 0]


def test_more_frames_than_there_are_repeat_in_order():
    assert segment_frames(2, 5).tolist() == [0, 0, 1, 1, 1]
    assert motion_guided_frames(torch.zeros(2), 5).tolist() == [0, 0, 1, 1, 1]
    assert motion_guided_frames(torch.tensor([0.0, 1.0]), 5).tolist() == [1, 1, 1, 1, 1]
    assert motion_magnitude_frames(torch.tensor([0.0, 1.0]), 5).tolist() == [0, 0, 0, 1, 1]


@given(num_video_frames=COUNTS, num_frames=COUNTS, seed=st.integers(0, 2**32))
def test_mu_0_equals_segments_in_testing_and_in_training(num_video_frames, num_frames, seed):
    curve = torch.rand(num_video_frames, generator=seeded(seed))
    curve[0] = 0
    testing = motion_guided_frames(curve, num_frames, mu=0)
    assert torch.equal(testing, segment_frames(num_video_frames, num_frames))
    training = motion_guided_frames(curve, num_frames, mu=0, generator=seeded(seed))
    assert torch.equal(training, segment_frames(num_video_frames, num_frames, generator=seeded(seed)))


@pytest.mark.parametrize("num_frames", [1, 3, 7, 8, 10, 49, 64, 1000])
def test_mu_0_equals_segments_in_every_length(num_frames):
    for num_video_frames in [*range(1, 130), 9973, 10_000, 108_000]:
        curve = torch.arange(num_video_frames).float()
        segments = segment_frames(num_video_frames, num_frames)
        assert torch.equal(motion_guided_frames(curve, num_frames, mu=0), segments)
        assert torch.equal(motion_guided_frames(torch.zeros(num_video_frames), num_frames, mu=1.5), segments)
        training = motion_guided_frames(curve, num_frames, mu=0, generator=seeded(num_video_frames))
        expected = segment_frames(num_video_frames, num_frames, generator=seeded(num_video_frames))
        assert torch.equal(training, expected)


@given(num_video_frames=st.integers(1, 10**6), num_frames=COUNTS)
def test_segment_middles_are_not_rounded(num_video_frames, num_frames):
    part = Fraction(num_video_frames, num_frames)
    middles = [math.floor((number + Fraction(1, 2)) * part) for number in range(num_frames)]
    assert segment_frames(num_video_frames, num_frames).tolist() == middles


def test_segment_frames_by_hand():
    assert segment_frames(10, 4).tolist() == [1, 3, 6, 8]
    assert segment_frames(9, 3).tolist() == [1, 4, 7]


def test_training_segments_each_give_any_of_their_frames():
    drawn = torch.stack([segment_frames(9, 3, generator=seeded(seed)) for seed in range(100)])
    assert [sorted(set(column.tolist())) for column in drawn.T] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_fixed_stride_frames_by_hand():
    assert fixed_stride_frames(20, 4).tolist() == [3, 7, 11, 15]
    assert fixed_stride_frames(8, 3, stride=2).tolist() == [1, 3, 5]
    assert fixed_stride_frames(6, 4).tolist() == [0, 4, 5, 5]


def test_training_clip_begins_anywhere_that_it_fits():
    starts = {int(fixed_stride_frames(16, 4, generator=seeded(seed))[0]) for seed in range(60)}
    assert starts == {0, 1, 2, 3}


@given(num_video_frames=COUNTS, num_frames=st.integers(1, 40), stride=st.integers(1, 9))
def test_testing_clip_is_that_of_a_grid_of_one(num_video_frames, num_frames, stride):
    grid = ClipGrid(num_clips=1, num_frames=num_frames, frame_stride=stride)
    frames = fixed_stride_frames(num_video_frames, num_frames, stride=stride)
    assert torch.equal(frames, grid.frame_indices(num_video_frames)[0])


def test_motion_magnitude_frames_are_the_largest_in_order():
    assert motion_magnitude_frames(CURVE, 3).tolist() == [2, 3, 5]
    assert motion_magnitude_frames(CURVE, 2).tolist() == [2, 5]  # of the equal 2 and 3 the earlier
    assert motion_magnitude_frames(torch.zeros(5), 2).tolist() == [0, 1]


@given(curve=CURVES, num_frames=COUNTS, mu=st.floats(0, 3), seed=st.none() | st.integers(0, 99))
def test_frames_are_sorted_in_range_and_as_many_as_asked_for(curve, num_frames, mu, seed):
    def generator():
        return None if seed is None else seeded(seed)

    for frames in (
        motion_guided_frames(curve, num_frames, mu=mu, generator=generator()),
        segment_frames(len(curve), num_frames, generator=generator()),
        fixed_stride_frames(len(curve), num_frames, generator=generator()),
        motion_magnitude_frames(curve, num_frames),
    ):
        assert frames.shape == (num_frames,)
        assert frames.dtype == torch.int64
        assert torch.equal(frames, frames.sort().values)
        assert 0 <= frames[0] <= frames[-1] < len(curve)


@given(curve=CURVES, num_frames=st.integers(1, 40))
def test_motion_before_a_chosen_frame_is_less_than_the_value_it_stands_for(curve, num_frames):
    cumulated = salience(curve).cumsum(dim=0)
    for part, frame in enumerate(motion_guided_frames(curve, num_frames).tolist()):
        value = (part + 0.5) / num_frames
        assert cumulated[frame] >= value - 1e-9
        assert frame == 0 or cumulated[frame - 1] <= value + 1e-9


def test_arguments_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"mu \(-1\) must be at least 0"):
        motion_guided_frames(CURVE, 3, mu=-1)
    with pytest.raises(ValueError, match=r"mu \(nan\)"):
        salience(CURVE, mu=math.nan)
    with pytest.raises(ValueError, match=r"num_frames \(0\) must be at least 1"):
        motion_guided_frames(CURVE, 0)
    with pytest.raises(ValueError, match=r"num_video_frames \(0\)"):
        segment_frames(0, 3)
    with pytest.raises(ValueError, match=r"stride \(0\)"):
        fixed_stride_frames(10, 3, stride=0)
    for wrong in (torch.zeros(0), torch.zeros(2, 3)):
        with pytest.raises(ValueError, match=r"must be of shape \(T,\)"):
            motion_magnitude_frames(wrong, 3)
    for value in (math.nan, math.inf, -0.5):
        with pytest.raises(ValueError, match=rf"curve has a value \({value}\)"):
            salience(torch.tensor([0.0, value]))
