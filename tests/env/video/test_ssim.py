"""1 - SSIM between frames, and the rounding of MGSampler's published code: truth computed by hand."""

from __future__ import annotations

import pytest
import torch

from vidselect_env.fitting.fit_config import DIFFERENCES, ROUNDINGS, FitConfig
from vidselect_env.video import sampling
from vidselect_env.video.motion import SHORT_SIDE, motion_curve
from vidselect_env.video.sampling import motion_guided_frames, segment_frames
from vidselect_env.video.ssim import STABILISERS, ssim_differences

C1, C2 = STABILISERS


def test_even_frames_differ_by_their_light_alone():
    frames = torch.tensor([100, 100, 140], dtype=torch.uint8)[:, None, None, None].expand(3, 1, 9, 8)
    light = (2 * 100 * 140 + C1) / (100**2 + 140**2 + C1)
    assert ssim_differences(frames).tolist() == pytest.approx([0, 0, 1 - light], abs=1e-6)
    assert torch.equal(ssim_differences(frames.expand(3, 3, 9, 8)), ssim_differences(frames))


def test_a_pattern_turned_into_its_negative_by_hand():
    # One window of 7 x 7: 24 pixels of 90 and 25 of 110, then the other way round. Means 100 +- 10/49.
    pattern = torch.full((49,), 90, dtype=torch.uint8)
    pattern[::2] = 110
    frames = torch.stack([pattern, 200 - pattern]).view(2, 1, 7, 7)
    first, second = 90 + 20 * 25 / 49, 90 + 20 * 24 / 49
    variance = 49 / 48 * (20**2 * 25 * 24 / 49**2)  # of either; their covariance is its negative
    light = (2 * first * second + C1) / (first**2 + second**2 + C1)
    expected = 1 - light * (C2 - 2 * variance) / (C2 + 2 * variance)
    assert expected > 1  # opposite structure
    assert ssim_differences(frames)[1].item() == pytest.approx(expected, rel=1e-5)


def test_frames_that_hold_no_window_are_refused():
    assert ssim_differences(torch.zeros(2, 1, 3, 7, 7, dtype=torch.uint8)).shape == (2, 1)
    with pytest.raises(ValueError, match="frames of 6 x 9 pixels must be at least 7 a side"):
        ssim_differences(torch.zeros(2, 3, 6, 9, dtype=torch.uint8))
    with pytest.raises(ValueError, match="must be uint8 of shape"):
        ssim_differences(torch.zeros(2, 3, 9, 9))


def test_the_authors_rounding_takes_the_frame_before_the_nearest_difference():
    curve = torch.tensor([0.0, 1.0, 4.0, 4.0])  # roots 1, 2, 2 of the differences 0-1, 1-2, 2-3: cumulated 0.2, 0.6, 1
    # Values 1/8, 3/8, 5/8, 7/8.
    assert motion_guided_frames(curve, 4, rounding="authors").tolist() == [0, 0, 1, 2]
    assert motion_guided_frames(curve, 4).tolist() == [1, 2, 3, 3]
    # Values 1/4, 3/4: 0.2 and 0.6 are nearest.
    assert motion_guided_frames(curve, 2, rounding="authors").tolist() == [0, 1]
    drawn = {
        tuple(motion_guided_frames(curve, 2, rounding="authors", generator=torch.Generator().manual_seed(n)).tolist())
        for n in range(40)
    }
    assert drawn == {(first, second) for first in (0, 1) for second in (1, 2)}


def test_a_still_video_is_sampled_evenly_by_either_rounding():
    for frames in (1, 9):
        still = torch.zeros(frames)
        assert torch.equal(motion_guided_frames(still, 3, rounding="authors"), segment_frames(frames, 3))
    with pytest.raises(ValueError, match=r"rounding \('nearest'\) must be one of middle, authors"):
        motion_guided_frames(torch.ones(4), 2, rounding="nearest")


def test_a_classifier_is_trained_on_frames_by_any_difference(video_folder):
    assert set(DIFFERENCES) == set(SHORT_SIDE)
    assert ROUNDINGS == sampling.ROUNDINGS
    path = next(video_folder.glob("test/*/1.mp4"))
    curves = {kind: motion_curve(path, kind=kind) for kind in DIFFERENCES}
    assert all(len(curve) == 25 and curve[0] == 0 and (curve[1:] > 0).all() for curve in curves.values())
    shares = [curve / curve.sum() for curve in curves.values()]
    assert all(not torch.allclose(shares[0], other, atol=1e-6, rtol=0) for other in shares[1:])
    with pytest.raises(ValueError, match=r"filters \('a'\) must be of difference feature, not of ssim"):
        FitConfig(sampler="motion_guided", difference="ssim", filters="a")
