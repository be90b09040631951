"""Claims of how a decoded frame becomes a picture: upright, in its own colours, of the size asked for."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional

from vidselect_env.video.decode import FrameSize, read_frames
from vidselect_env.video.index import probe

HEIGHT, WIDTH = 48, 64
WHOLE = FrameSize((HEIGHT, WIDTH), (HEIGHT, WIDTH))


@pytest.mark.parametrize(("rotation", "bright_side"), [(90, "top"), (180, "right"), (270, "bottom")])
def test_frames_with_a_rotation_stand_upright(tmp_path, write_frames, rotation, bright_side):
    picture = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    picture[:, : WIDTH // 2] = 255  # the stored left half is bright; turned clockwise by 90 that is the top
    path = write_frames(tmp_path / "turned.mp4", [picture] * 3, rotation=rotation)
    info = probe(path)
    upright = (WIDTH, HEIGHT) if rotation == 180 else (HEIGHT, WIDTH)
    assert (info.rotation, info.width, info.height) == (rotation, *upright)

    (frames,) = read_frames(path, [1], sizes=[FrameSize(24, (24, 24))])
    image = frames[0].float()
    sides = {"top": image[:, :8], "bottom": image[:, -8:], "left": image[:, :, :8], "right": image[:, :, -8:]}
    assert max(sides, key=lambda side: float(sides[side].mean())) == bright_side


@pytest.mark.parametrize(("matrix", "kr", "kb"), [(1, 0.2126, 0.0722), (6, 0.299, 0.114), (2, 0.299, 0.114)])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
def test_colours_follow_the_matrix_and_range_that_the_frame_states(
    tmp_path, write_frames, matrix, kr, kb, full_range, bits
):
    values = (110, 100, 160)
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p" if bits == 8 else "yuv420p10le")
    for plane, value in zip(frame.planes, values, strict=True):
        samples = np.frombuffer(memoryview(plane), np.uint8 if bits == 8 else np.uint16)
        samples[:] = value << (bits - 8)
    settings = {"colorspace": matrix, "color_range": 2 if full_range else 1}
    frame.colorspace, frame.color_range = settings["colorspace"], settings["color_range"]
    path = write_frames(tmp_path / "colour.mp4", [frame] * 2, x264="qp=0", **settings)

    # ITU-T H.273, equations of the matrix coefficients.
    black, luma, chroma = (0, 255, 255) if full_range else (16, 219, 224)
    y, cb, cr = (values[0] - black) / luma, (values[1] - 128) / chroma, (values[2] - 128) / chroma
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)

    (frames,) = read_frames(path, [0], sizes=[FrameSize(24, (20, 20))])
    expected = torch.tensor([red, green, blue])[:, None, None] * 255
    assert (frames[0] - expected).abs().max() <= 1.5


@given(height=st.integers(1, 500), width=st.integers(1, 500), resize=st.integers(1, 300))
def test_resized_sides_are_those_of_torchvision(height, width, resize):
    resized = functional.resize(torch.zeros(1, height, width, dtype=torch.uint8), [resize], antialias=False)
    assert FrameSize(resize, (1, 1)).resized(height, width) == tuple(resized.shape[-2:])


@pytest.mark.parametrize("crop", [(48, 64), (47, 61), (10, 11), (1, 1), (33, 2)])
def test_crop_is_the_centre_that_torchvision_keeps(tmp_path, write_frames, pan, crop):
    video = write_frames(tmp_path / "x.mp4", pan((1, 0), 3, height=HEIGHT, width=WIDTH))
    whole, centre = read_frames(video, [2], sizes=[WHOLE, FrameSize((HEIGHT, WIDTH), crop)])
    assert torch.equal(centre, functional.center_crop(whole, list(crop)))


def test_frame_size_refuses_a_crop_that_does_not_fit():
    with pytest.raises(ValueError, match=r"crop \(40, 20\) must fit"):
        FrameSize(32, (40, 20))
    with pytest.raises(ValueError, match="at least 1 pixel"):
        FrameSize((32, 0), (1, 1))
