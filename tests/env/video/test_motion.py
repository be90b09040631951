"""Claims of the motion signals: sums made by hand, and videos of which it is known when something moves."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from vidselect_env.video import motion
from vidselect_env.video.decode import FrameSize
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import index_video
from vidselect_env.video.motion import (
    FILTER_SHAPE,
    derivative_filters,
    feature_differences,
    image_differences,
    load_filters,
    motion_curve,
)
from vidselect_env.video.sampling import motion_guided_frames, segment_frames

HEIGHT, WIDTH, FPS = 96, 160, 15
MOVING = range(40, 55)  # frames that differ from the one before
QUARTER_TURN = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]  # clockwise, in 16.16 fixed point


def write_grey(path, pictures, *, rotation=None):
    """Encode (T, H, W) uint8 pictures without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"qp": "0", "preset": "ultrafast"})
        stream.height, stream.width = pictures.shape[1:]
        stream.pix_fmt = "yuv420p"
        if rotation is not None:
            stream.set_display_matrix(rotation)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def burst_pictures(num_frames=70):
    """A texture that shifts by 3 pixels a frame in `MOVING`, and rests before and after."""
    texture = np.random.default_rng(0).integers(40, 216, (HEIGHT // 8, WIDTH // 8), dtype=np.uint8)
    texture = texture.repeat(8, axis=0).repeat(8, axis=1)
    shifts = [3 * sum(moving <= number for moving in MOVING) for number in range(num_frames)]
    return np.stack([np.roll(texture, shift, axis=1) for shift in shifts])


@pytest.fixture(scope="module")
def burst_video(tmp_path_factory):
    return write_grey(tmp_path_factory.mktemp("motion") / "burst.mp4", burst_pictures())


def random_frames(*shape, seed=0):
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_image_difference_is_the_mean_absolute_change_of_pixels_and_channels():
    frames = torch.zeros(4, 3, 1, 2, dtype=torch.uint8)
    frames[1, 0, 0, 0] = 30  # up by 30 in one of six values
    frames[2] = frames[1]
    frames[3, 2, 0, 1] = 255  # down by 30, up by 255
    assert image_differences(frames).tolist() == pytest.approx([0, 30 / 6, 0, 285 / 6])


def test_feature_difference_is_the_length_of_the_change_over_the_maps():
    filters = torch.zeros(FILTER_SHAPE)
    filters[0, 0, 3, 3] = 3  # the red pixel itself, times 3
    filters[5, 0, 3, 3] = 4
    frames = torch.zeros(2, 3, 2, 5, dtype=torch.uint8)
    frames[1, 0, 1, 2] = 10  # lengths: 5 * 10 in one of ten pixels
    frames[1, 1, 0, 0] = 99  # green, which the filters do not see
    assert feature_differences(frames, filters).tolist() == pytest.approx([0, 5])


def test_feature_difference_is_that_of_the_convolved_frames():
    frames = random_frames(5, 3, 20, 26)
    maps = functional.conv2d(frames.float(), derivative_filters(), padding=3)
    lengths = (maps[1:] - maps[:-1]).square().sum(dim=1).sqrt().mean(dim=(1, 2))
    torch.testing.assert_close(feature_differences(frames)[1:], lengths)


def test_grey_frames_have_the_features_of_rgb_frames_of_equal_channels():
    grey = random_frames(4, 1, 20, 26)
    rgb = grey.expand(4, 3, 20, 26)
    torch.testing.assert_close(feature_differences(grey), feature_differences(rgb))
    assert torch.equal(image_differences(grey), image_differences(rgb))


@pytest.mark.parametrize("differences", [image_differences, feature_differences])
def test_leading_dimensions_are_videos_of_their_own(differences):
    videos = random_frames(2, 3, 4, 3, 10, 12)
    together = differences(videos)
    assert together.shape == (2, 3, 4)
    assert together.dtype == torch.float32
    torch.testing.assert_close(together[1, 2], differences(videos[1, 2]))
    assert torch.equal(together[..., 0], torch.zeros(2, 3))


@pytest.mark.parametrize("differences", [image_differences, feature_differences])
def test_frames_that_do_not_change_have_no_motion(differences):
    frames = random_frames(1, 3, 10, 12).expand(6, 3, 10, 12)
    assert torch.equal(differences(frames), torch.zeros(6))
    assert torch.equal(differences(frames[:1]), torch.zeros(1))


def test_derivative_filters_are_eight_directions_of_zero_mean_and_unit_norm():
    filters = derivative_filters()
    assert filters.shape == FILTER_SHAPE
    assert filters.dtype == torch.float32
    flat = filters.flatten(1)
    torch.testing.assert_close(flat.norm(dim=1), torch.ones(8))
    torch.testing.assert_close(filters.mean(dim=(2, 3)), torch.zeros(8, 3), atol=1e-7, rtol=0)
    likeness = (flat @ flat.T).abs() - torch.eye(8)
    assert likeness.max() < 0.8  # no two are the same up to sign


def test_derivative_filters_answer_to_edges_and_lines_across_them():
    filters = derivative_filters().sum(dim=1)
    edge = torch.zeros(7, 7)
    edge[:, 4:] = 1  # upright
    line = torch.zeros(7, 7)
    line[:, 3] = 1
    assert ((filters * edge).sum(dim=(1, 2)).abs()[:4]).argmax() == 0
    assert ((filters * edge.T).sum(dim=(1, 2)).abs()[:4]).argmax() == 2
    assert ((filters * line).sum(dim=(1, 2)).abs()[4:]).argmax() == 0
    assert ((filters * torch.eye(7)).sum(dim=(1, 2)).abs()[4:]).argmax() == 3  # steps down to the right


def test_a_change_of_light_is_motion_to_the_image_but_not_to_the_features():
    frames = random_frames(1, 3, 40, 40).clamp(max=200).repeat(2, 1, 1, 1)
    frames[1] += 20
    assert image_differences(frames)[1] == 20
    inside = feature_differences(frames[..., :20, :20])[1]  # at the border the picture ends
    shifted = feature_differences(torch.stack([frames[0], frames[0].roll(1, dims=-1)]))[1]
    assert inside < 0.25 * shifted


def test_frames_that_are_no_pictures_are_refused():
    for wrong in (
        torch.zeros(4, 3, 8, 8),
        random_frames(3, 8, 8),
        random_frames(4, 2, 8, 8),
        random_frames(0, 3, 8, 8),
    ):
        for differences in (image_differences, feature_differences):
            with pytest.raises(ValueError, match=r"must be uint8 of shape \(\.\.\., T, 3, h, w\)"):
                differences(wrong)
    with pytest.raises(ValueError, match=r"filters \(8, 1, 7, 7\) must be of shape \(8, 3, 7, 7\)"):
        feature_differences(random_frames(4, 3, 8, 8), torch.zeros(8, 1, 7, 7))


def test_filters_are_loaded_from_a_file_of_one_tensor(tmp_path):
    filters = torch.randn(FILTER_SHAPE, dtype=torch.float64)
    save_file({"conv.weight": filters}, tmp_path / "pa.safetensors")
    torch.testing.assert_close(load_filters(tmp_path / "pa.safetensors"), filters.float())


def test_files_without_such_filters_are_named_with_what_they_hold(tmp_path):
    path = tmp_path / "wrong.safetensors"
    save_file({"weight": torch.zeros(8, 3, 5, 5)}, path)
    with pytest.raises(ValueError, match=r"wrong\.safetensors.*\(8, 3, 5, 5\).* must hold one tensor of shape"):
        load_filters(path)
    save_file({"a": torch.zeros(FILTER_SHAPE), "b": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"wrong\.safetensors.*'b': \(2,\).* must hold one tensor"):
        load_filters(path)
    path.write_text("no tensors")
    with pytest.raises(ValueError, match=r"wrong\.safetensors' must be a safetensors file"):
        load_filters(path)
    with pytest.raises(FileNotFoundError, match="missing"):
        load_filters(tmp_path / "missing.safetensors")


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


def test_filters_of_the_curve_see_colours(tmp_path):
    path = tmp_path / "red_then_blue.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv444p"
        for number, colour in enumerate([(0, 0, 0), (200, 0, 0), (200, 0, 200)]):
            picture = np.full((64, 64, 3), colour, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
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


@pytest.mark.parametrize("rotation", [None, QUARTER_TURN])
def test_motion_outside_the_crop_does_not_count(tmp_path, rotation):
    pictures = np.full((6, 64, 128), 60, dtype=np.uint8)
    pictures[3:, 28:36, 4:12] = 200  # middle row, far left, which a quarter turn brings to the top
    pictures[5:, 28:36, 60:68] = 200  # the centre
    path = write_grey(tmp_path / "corners.mp4", pictures, rotation=rotation)
    upright = (64, 128) if rotation is None else (128, 64)
    whole = motion_curve(path, size=FrameSize(upright, upright))
    centre = motion_curve(path, size=FrameSize(64, (32, 32)))
    along = motion_curve(path, size=FrameSize(64, (32, 64) if rotation is None else (64, 32)))
    assert (whole > 0).tolist() == [False, False, False, True, False, True]
    assert (centre > 0).tolist() == (along > 0).tolist() == [False] * 5 + [True]


def test_a_still_video_is_sampled_uniformly(tmp_path):
    path = write_grey(tmp_path / "still.mp4", np.full((20, 64, 64), 90, dtype=np.uint8))
    curve = motion_curve(path)
    assert torch.equal(curve, torch.zeros(20))
    assert torch.equal(motion_guided_frames(curve, 8), segment_frames(20, 8))


def test_a_video_of_one_frame_has_a_curve_of_one_zero(tmp_path):
    path = write_grey(tmp_path / "one.mp4", np.full((1, 64, 64), 90, dtype=np.uint8))
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
