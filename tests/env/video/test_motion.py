"""Claims of the motion curve, on videos of which it is known when something moves."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from vidselect_env.video import motion
from vidselect_env.video.decode import FrameSize
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import index_video
from vidselect_env.video.motion import (
    FILTER_SHAPE,
    derivative_filters,
    feature_differences,
    image_differences,
    motion_curve,
)
from vidselect_env.video.sampling import motion_guided_frames, segment_frames

HEIGHT, WIDTH = 96, 160
MOVING = range(40, 55)  # frames that differ from the one before
LOSSLESS = {"x264": "qp=0", "preset": "ultrafast"}


def burst_pictures(num_frames=70):
    """A texture that shifts by 3 pixels a frame in `MOVING`, and rests before and after."""
    texture = np.random.default_rng(0).integers(40, 216, (HEIGHT // 8, WIDTH // 8), dtype=np.uint8)
    texture = texture.repeat(8, axis=0).repeat(8, axis=1)
    shifts = [3 * sum(moving <= number for moving in MOVING) for number in range(num_frames)]
    return np.stack([np.roll(texture, shift, axis=1) for shift in shifts])


@pytest.fixture(scope="module")
def burst_video(tmp_path_factory, write_frames):
    return write_frames(tmp_path_factory.mktemp("motion") / "burst.mp4", burst_pictures(), **LOSSLESS)


@pytest.mark.parametrize("kind", ["image", "feature"])
def test_curve_is_high_exactly_while_something_moves(burst_video, kind):
    curve = motion_curve(burst_video, kind=kind)
    assert curve.shape == (70,)
    assert curve.dtype == torch.float32
    assert set(torch.nonzero(curve > 0).flatten().tolist()) == set(MOVING)


def test_curve_is_that_of_all_frames_at_once(burst_video):
    # Full size, so that nothing is resampled; 70 frames are cut into pieces of 32, 32 and 6.
    whole = FrameSize((HEIGHT, WIDTH), (HEIGHT, WIDTH))
    with av.open(str(burst_video)) as container:
        grey = np.stack([frame.to_ndarray(format="gray8") for frame in container.decode(video=0)])
    frames = torch.from_numpy(grey)[:, None]
    torch.testing.assert_close(motion_curve(burst_video, size=whole), image_differences(frames))
    torch.testing.assert_close(
        motion_curve(burst_video, kind="feature", size=whole), feature_differences(frames), rtol=1e-4, atol=1e-4
    )
    rgb = frames.expand(-1, 3, -1, -1)
    filters = torch.randn(FILTER_SHAPE, generator=torch.Generator().manual_seed(0))
    of_colour = motion_curve(burst_video, kind="feature", size=whole, filters=filters)
    torch.testing.assert_close(of_colour, feature_differences(rgb, filters), rtol=0.02, atol=0.1)


def test_filters_of_the_curve_see_colours(tmp_path, write_frames):
    colours = [(0, 0, 0), (200, 0, 0), (200, 0, 200)]
    pictures = [np.full((64, 64, 3), colour, dtype=np.uint8) for colour in colours]
    path = write_frames(tmp_path / "red_then_blue.mp4", pictures, **LOSSLESS)
    for channel, expected in enumerate([[0, 200, 0], [0, 0, 0], [0, 0, 200]]):
        filters = torch.zeros(FILTER_SHAPE)
        filters[0, channel, 3, 3] = 1
        curve = motion_curve(path, kind="feature", filters=filters)
        assert curve.tolist() == pytest.approx(expected, abs=4)


def test_pieces_of_a_long_video_are_short(burst_video):
    index = index_video(burst_video)
    size = FrameSize((24, 40), (24, 40))
    pieces = [
        (list(numbers), frames.clone())
        for numbers, frames in motion._chunks(burst_video, index, size, colour=False, progress=False)
    ]
    assert [numbers for numbers, _ in pieces] == [list(range(32)), list(range(32, 64)), list(range(64, 70))]
    assert [len(frames) for _, frames in pieces] == [33, 33, 7]
    assert torch.equal(pieces[0][1][0], pieces[0][1][1])
    assert torch.equal(pieces[1][1][0], pieces[0][1][-1])


@pytest.mark.parametrize("rotation", [None, 90])
def test_motion_outside_the_crop_does_not_count(tmp_path, write_frames, rotation):
    pictures = np.full((6, 64, 128), 60, dtype=np.uint8)
    pictures[3:, 28:36, 4:12] = 200  # middle row, far left, which a quarter turn clockwise brings to the top
    pictures[5:, 28:36, 60:68] = 200  # the centre
    path = write_frames(tmp_path / "corners.mp4", pictures, rotation=rotation, **LOSSLESS)
    upright = (64, 128) if rotation is None else (128, 64)
    whole = motion_curve(path, size=FrameSize(upright, upright))
    centre = motion_curve(path, size=FrameSize(64, (32, 32)))
    along = motion_curve(path, size=FrameSize(64, (32, 64) if rotation is None else (64, 32)))
    assert (whole > 0).tolist() == [False, False, False, True, False, True]
    assert (centre > 0).tolist() == (along > 0).tolist() == [False] * 5 + [True]


def test_a_still_video_is_sampled_uniformly(tmp_path, write_frames):
    path = write_frames(tmp_path / "still.mp4", np.full((20, 64, 64), 90, dtype=np.uint8))
    curve = motion_curve(path)
    assert torch.equal(curve, torch.zeros(20))
    assert torch.equal(motion_guided_frames(curve, 8), segment_frames(20, 8))


def test_a_video_of_one_frame_has_a_curve_of_one_zero(tmp_path, write_frames):
    path = write_frames(tmp_path / "one.mp4", np.full((1, 64, 64), 90, dtype=np.uint8))
    for kind in ("image", "feature"):
        assert motion_curve(path, kind=kind).tolist() == [0]


def test_frames_guided_by_a_curve_are_mostly_those_of_the_burst(burst_video):
    # Nothing moves outside the burst: all frames are taken from it.
    frames = motion_guided_frames(motion_curve(burst_video), 8)
    assert set(frames.tolist()) <= set(MOVING)
    assert len(set(frames.tolist())) == 8


def test_arguments_that_make_no_sense_are_refused(burst_video, tmp_path):
    with pytest.raises(ValueError, match=r"kind \('flow'\) must be one of image, feature"):
        motion_curve(burst_video, kind="flow")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="filters must be None for kind 'image'"):
        motion_curve(burst_video, filters=derivative_filters())
    with pytest.raises(VideoError, match=r"missing\.mp4"):
        motion_curve(tmp_path / "missing.mp4")


SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data"
REAL_VIDEOS = (
    "odd_videos/decord_unordered.mov",
    "odd_videos/decord_video_90.mov",
    "odd_videos/decord_flipping_a_pancake.mkv",
    "odd_videos/torchcodec_h264_10bits.mp4",
    "odd_videos/torchcodec_h265_video.mp4",
    "odd_videos/hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi",
    "surv_fight/fight/fi001.mp4",
)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of shared videos is not there")
@pytest.mark.parametrize("kind", ["image", "feature"])
@pytest.mark.parametrize("name", REAL_VIDEOS)
def test_real_videos_have_finite_motion_in_every_frame(name, kind):
    index = index_video(SHARED / name)
    curve = motion_curve(SHARED / name, kind=kind, index=index)
    assert curve.shape == (index.info.num_frames,)
    assert curve.isfinite().all()
    assert curve[0] == 0
    assert (curve >= 0).all()
    assert (curve.max() > 0) == (name != "odd_videos/decord_unordered.mov")  # its four frames are the same


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of shared videos is not there")
def test_small_grey_frames_tell_nearly_the_same_as_whole_colour_frames():
    path = SHARED / "odd_videos" / "decord_flipping_a_pancake.mkv"
    with av.open(str(path)) as container:
        frames = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    pairs = itertools.pairwise(frames)
    whole = torch.stack([(later.float() - earlier.float()).abs().mean() for earlier, later in pairs])
    small = motion_curve(path)[1:]
    assert torch.corrcoef(torch.stack([whole, small]))[0, 1] > 0.98
