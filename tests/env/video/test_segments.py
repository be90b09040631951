"""Claims of segments, on videos whose frames show their number as brightness: frame i is 4 i bright."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from vidselect_env.video.audio import mel_spectrograms
from vidselect_env.video.compressed import read_compressed
from vidselect_env.video.decode import FrameSize, read_frames
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import index_video
from vidselect_env.video.motion import motion_curve
from vidselect_env.video.segment import frames_shown
from vidselect_env.video.stream import stream_frames

FPS, STEP, SIDE = 25, 4, 32
WHOLE = FrameSize((SIDE, SIDE), (SIDE, SIDE))
KINDS = {
    "b_frames.mp4": {"x264": "keyint=12:bframes=3:b-adapt=0:scenecut=0"},
    "one_keyframe.mp4": {"x264": "keyint=250:bframes=2"},
    "open_gop.mkv": {"x264": "keyint=10:open-gop=1:bframes=3:b-adapt=0:scenecut=0"},
    "open_gop.ts": {"x264": "keyint=10:open-gop=1:bframes=3:b-adapt=0:scenecut=0"},
    "intra_refresh.mp4": {"x264": "keyint=10:intra-refresh=1:bframes=0:scenecut=0"},
    "no_timestamps.h264": {"x264": "keyint=12:bframes=3:b-adapt=0"},
    "mpeg4.avi": {"codec": "mpeg4", "gop_size": 10, "max_b_frames": 2, "bit_rate": 2_000_000},
    "mpeg2.mpg": {"codec": "mpeg2video", "gop_size": 10, "max_b_frames": 2, "bit_rate": 4_000_000},
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory, write_frames):
    """Every kind of video, 60 frames each: name -> path."""
    folder = tmp_path_factory.mktemp("segments")
    pictures = [np.full((SIDE, SIDE), STEP * number, np.uint8) for number in range(60)]
    return {name: write_frames(folder / name, pictures, fps=FPS, **settings) for name, settings in KINDS.items()}


@pytest.fixture(scope="module")
def panned(tmp_path_factory, write_frames, pan):
    """40 frames in which all moves, with B-frames, so that signals look ahead and back; and with a (silent) track."""
    path = tmp_path_factory.mktemp("panned") / "pan.mp4"
    return write_frames(path, pan((3, 1), 40), fps=FPS, x264="keyint=12:bframes=3:b-adapt=0", audio=True)


def shown(path, index, frame_indices):
    """The numbers that frames of a segment show."""
    (frames,) = read_frames(path, frame_indices, sizes=[WHOLE], index=index)
    return (frames.float().mean(dim=(1, 2, 3)) / STEP).round().int().tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_segment_is_exactly_the_frames_shown_in_it(videos, kind):
    index = index_video(videos[kind], start_s=1.2, end_s=2.0)
    assert index.info.num_frames == 20
    assert index.first == 30
    assert shown(videos[kind], index, range(20)) == list(range(30, 50))
    assert shown(videos[kind], index, [19, 0]) == [49, 30]
    assert index.info.duration_s == pytest.approx(0.8)
    assert index.shown_s.tolist() == pytest.approx([1.2 + 0.04 * number for number in range(20)])


def test_an_open_end_is_the_files_own(videos):
    path = videos["b_frames.mp4"]
    assert shown(path, index_video(path, end_s=0.1), range(3)) == [0, 1, 2]
    assert shown(path, index_video(path, start_s=2.3), range(2)) == [58, 59]
    assert index_video(path, start_s=0.0, end_s=2.4).info.num_frames == 60


def test_seconds_that_are_a_rounding_off_mean_the_frame():
    pts = np.arange(100, 110)
    tenths = Fraction(1, 10)
    assert frames_shown(pts, time_base=tenths, start_s=0.1 + 0.2, end_s=0.6) == slice(3, 6)  # 0.30000000000000004
    assert frames_shown(pts, time_base=tenths, start_s=0.7 - 0.1, end_s=None) == slice(6, 10)  # 0.6 less a little
    assert frames_shown(pts, time_base=tenths, start_s=0.31, end_s=0.31) == slice(4, 4)


def test_frames_outside_of_a_segment_cannot_be_asked_for(videos):
    path = videos["b_frames.mp4"]
    index = index_video(path, start_s=1.2, end_s=2.0)
    for number in (-1, 20):
        with pytest.raises(ValueError, match=f"frame {number} must be one of the 20 frames"):
            read_frames(path, [number], sizes=[WHOLE], index=index)


def test_the_beginning_of_a_long_file_is_not_decoded(tmp_path, write_frames):
    pictures = [np.full((SIDE, SIDE), number % 64 * STEP, np.uint8) for number in range(600)]
    path = write_frames(tmp_path / "long.mp4", pictures, fps=FPS, x264="keyint=12:bframes=2:scenecut=0")
    index = index_video(path, start_s=23.0, end_s=23.4)
    decoded = [number for number, _ in stream_frames(path, np.arange(10), index=index)]
    assert decoded[-10:] == list(range(10))
    assert len(decoded) <= 10 + 12
    assert shown(path, index, range(10)) == [number % 64 for number in range(575, 585)]


def test_vectors_and_residuals_are_those_of_the_same_frames_of_the_file(panned):
    size = FrameSize((128, 160), (128, 160))
    whole = read_compressed(panned, range(40), residual_size=size, intra_size=size)
    for start_s, end_s, first, count in ((0.6, 1.0, 15, 10), (0.12, 0.52, 3, 10), (1.4, 1.6, 35, 5)):
        index = index_video(panned, start_s=start_s, end_s=end_s)
        part = read_compressed(panned, range(count), residual_size=size, intra_size=size, index=index)
        cut = slice(first, first + count)
        assert torch.equal(part.displacement, whole.displacement[cut])
        assert torch.equal(part.residual, whole.residual[cut])
        assert torch.equal(part.intra, whole.intra[cut])
        assert (part.last_intra + first).tolist() == whole.last_intra[cut].tolist()
    assert whole.displacement[15:25, 0].mean() > 1  # it does move


def test_a_motion_curve_of_a_segment_begins_with_it(panned):
    whole = motion_curve(panned)
    part = motion_curve(panned, index=index_video(panned, start_s=0.6, end_s=1.0))
    assert part[0] == 0
    assert torch.equal(part[1:], whole[16:25])


def test_the_sound_of_a_segment_is_that_of_the_file_at_the_same_seconds(shared):
    path = shared / "data" / "grid_s1" / "videos" / "bbaf3s.mp4"
    centres = torch.tensor([0.5, 1.3, 2.2])
    index = index_video(path, start_s=0.36, end_s=2.36)
    whole = mel_spectrograms(path, centres, window_s=0.8)
    part = mel_spectrograms(path, centres, window_s=0.8, index=index)
    assert torch.equal(part, whole)
    assert whole.std() > 1  # something is said


@pytest.mark.parametrize(
    ("start_s", "end_s", "rule"),
    [(2.5, None, r"segment \[2.5, 2.4\) s is outside the file, which lasts 2.400 s"),
     (2.5, 3.0, r"segment \[2.5, 3\) s is outside the file"),
     (1.0, 2.5, r"segment \[1, 2.5\) s is outside the file"),
     (1.01, 1.03, r"segment \[1.01, 1.03\) s has no frame: at 25 frames/s it lies between two")],
)  # fmt: skip
def test_a_segment_that_the_file_has_not_is_a_video_error(videos, start_s, end_s, rule):
    with pytest.raises(VideoError, match=rule) as caught:
        index_video(videos["b_frames.mp4"], start_s=start_s, end_s=end_s)
    assert caught.value.path.endswith("b_frames.mp4")


def test_an_end_less_than_a_frame_after_the_file_is_its_end(videos):
    assert index_video(videos["b_frames.mp4"], start_s=2.0, end_s=2.43).info.num_frames == 10


@pytest.mark.parametrize(
    ("start_s", "end_s", "rule"),
    [(2.0, 1.0, r"end_s \(1\) must be after start_s \(2\)"), (1.0, 1.0, "must be after"), (None, 0.0, "must be after"),
     (-0.5, None, r"start_s \(-0.5\) must be a number of seconds, at least 0"), (float("nan"), 1.0, "must be a number"),
     (0.0, float("inf"), "must be a number")],
)  # fmt: skip
def test_a_segment_that_no_file_has_is_refused_before_reading(start_s, end_s, rule):
    with pytest.raises(ValueError, match=rule):
        index_video("missing.mp4", start_s=start_s, end_s=end_s)
