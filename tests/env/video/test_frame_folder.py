"""Folders of pictures, read as videos are."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch

from vidselect_env.video.audio import mel_spectrograms
from vidselect_env.video.compressed import read_compressed
from vidselect_env.video.decode import FrameSize, read_frames
from vidselect_env.video.errors import VideoError
from vidselect_env.video.frame_folder import frame_pattern
from vidselect_env.video.index import index_video
from vidselect_env.video.motion import motion_curve


def write_pictures(folder, pictures, *, name="{:05d}.jpg", first=1, codec="mjpeg", pixels="yuvj444p"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures, first):
        with av.open(folder / name.format(number), "w", format="image2", options={"update": "1"}) as container:
            stream = container.add_stream(codec, rate=1)
            stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], pixels
            if codec == "mjpeg":
                stream.codec_context.qmin = stream.codec_context.qmax = 1
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
    return folder


def shades(count, *, height=36, width=48):
    """Picture i is of the shade (8 i, 255 - 8 i, 4 i), darker in its left half."""
    pictures = np.zeros((count, height, width, 3), np.uint8)
    for number in range(count):
        pictures[number] = (8 * number, 255 - 8 * number, 4 * number)
    pictures[:, :, : width // 2] //= 2
    return pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """30 pictures 00001.jpg to 00030.jpg, in a folder whose name FFmpeg could take for a pattern."""
    return write_pictures(tmp_path_factory.mktemp("frames") / "100% [a*b]" / "12", shades(30))


def test_pictures_are_indexed_as_frames(folder):
    index = index_video(folder)
    assert (index.info.num_frames, index.info.height, index.info.width) == (30, 36, 48)
    assert index.info.fps == 12  # that of Something-Something V1 and Jester
    assert index.info.duration_s == pytest.approx(2.5)
    assert index.info.codec == "mjpeg"
    assert not index.info.has_audio
    assert index.is_key.all()
    assert index.has_timestamps


@pytest.mark.parametrize("wanted", [[0, 1, 2], [29], [3, 28, 15, 3], list(range(30))])
def test_frame_i_is_the_ith_picture(folder, wanted):
    [frames] = read_frames(folder, wanted, sizes=[FrameSize((36, 48), (36, 48))])
    truth = torch.from_numpy(shades(30)[wanted]).permute(0, 3, 1, 2)
    assert (frames.int() - truth.int()).abs().max() <= 6  # JPEG's rounding


def test_pictures_are_resized_and_cropped_as_frames_are(folder):
    [frames] = read_frames(folder, [10], sizes=[FrameSize(18, (18, 18))])
    assert frames.shape == (1, 3, 18, 18)
    assert frames[0, 1, 9, 2] == pytest.approx(175 / 2, abs=3)
    assert frames[0, 1, 9, 15] == pytest.approx(175, abs=3)


@pytest.mark.parametrize(
    ("name", "first", "codec", "pixels"),
    [
        ("img_{:06d}.png", 0, "png", "rgb24"),
        ("{}.jpg", 8, "mjpeg", "yuvj444p"),
        ("50%d-{:03d}.JPG", 120, "mjpeg", "yuvj444p"),
    ],
)
def test_other_names_and_first_numbers(tmp_path, name, first, codec, pixels):
    write_pictures(tmp_path / "v", shades(5), name=name, first=first, codec=codec, pixels=pixels)
    (tmp_path / "v" / "Thumbs.db").touch()
    [frames] = read_frames(tmp_path / "v", [0, 4], sizes=[FrameSize((36, 48), (36, 48))])
    assert frames[:, 0, 0, 40].tolist() == pytest.approx([0, 32], abs=3)
    assert index_video(tmp_path / "v").info.num_frames == 5


def test_a_missing_picture_is_named(tmp_path):
    write_pictures(tmp_path / "v", shades(6))
    (tmp_path / "v" / "00003.jpg").unlink()
    with pytest.raises(VideoError, match=r"picture '00003.jpg' is missing: it has 5 pictures"):
        index_video(tmp_path / "v")
    with pytest.raises(VideoError, match="Is a directory, and not one of numbered pictures"):
        index_video(tmp_path)


def test_a_picture_that_is_none_is_an_error_where_it_is_wanted(tmp_path):
    write_pictures(tmp_path / "v", shades(6))
    (tmp_path / "v" / "00004.jpg").write_bytes(b"no picture")
    size = FrameSize((36, 48), (36, 48))
    with pytest.raises(VideoError):
        read_frames(tmp_path / "v", [3], sizes=[size])


def test_the_pattern_of_padded_names(tmp_path):
    for number in range(8, 12):
        (tmp_path / f"f{number:04d}.png").touch()
    assert frame_pattern(tmp_path) == ("f", 4, ".png", 8, 4)


def test_signals_of_pixels_are_there_and_those_of_the_codec_are_not(folder):
    curve = motion_curve(folder)
    assert len(curve) in (29, 30)
    assert (curve[1:] > 0).all()
    assert mel_spectrograms(folder, torch.tensor([1.0]), window_s=1.0) is None
    with pytest.raises(VideoError, match="codec 'mjpeg' exports no motion vectors: re-encode"):
        read_compressed(folder, [0, 1])
