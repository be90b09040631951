"""Optical flow against a pan whose velocity is known, and flow videos against what was written into them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidselect_env.video.decode import FrameSize, read_frames
from vidselect_env.video.flow import (
    BOUND,
    METHODS,
    FlowSpec,
    displacement,
    flow_field,
    quantised,
    source_of,
    write_flow,
)
from vidselect_env.video.index import index_video

pytest.importorskip("cv2", reason="OpenCV, of the extra flow, is not installed")
VELOCITY = (3, -2)


@pytest.fixture(params=["farneback", "tvl1", "dis"])
def method(request):
    import cv2

    if request.param == "tvl1" and not hasattr(cv2, "optflow"):
        pytest.skip("OpenCV's contributed modules, which have TV-L1, are not installed")
    return request.param


def test_every_method_finds_the_velocity_of_a_pan(method, pan):
    first, second = list(pan(VELOCITY, 2, height=96, width=128))
    field = flow_field(method)(np.ascontiguousarray(first), np.ascontiguousarray(second))
    inner = field[16:-16, 16:-16].reshape(-1, 2)
    assert field.shape == (96, 128, 2)
    assert np.median(inner, axis=0) == pytest.approx(VELOCITY, abs=0.2)
    assert np.abs(inner - np.array(VELOCITY)).mean() < 0.3


def test_displacements_are_quantised_around_128():
    steps = np.array([0, 10, -10, 20, -20, 100, -100], np.float32)
    assert quantised(steps).tolist() == [128, 192, 65, 255, 1, 255, 1]
    fine = np.linspace(-BOUND, BOUND, 1001, dtype=np.float32)
    assert np.abs(displacement(quantised(fine)) - fine).max() <= BOUND / 127 / 2 + 1e-5


def test_a_flow_video_holds_the_pan_frame_by_frame(tmp_path, method, write_frames, pan):
    source = write_frames(tmp_path / "pan.mp4", list(pan(VELOCITY, 8, height=96, width=128)), x264="qp=4", fps=15)
    write_flow(source, tmp_path / "flow.mp4", FlowSpec(method=method))
    flow, video = index_video(tmp_path / "flow.mp4"), index_video(source)
    assert (flow.info.num_frames, flow.info.width, flow.info.height) == (8, 128, 96)
    assert flow.info.fps == pytest.approx(15)
    assert flow.shown_s == pytest.approx(video.shown_s)
    [frames] = read_frames(tmp_path / "flow.mp4", range(8), sizes=[FrameSize((96, 128), (96, 128))])
    seen = displacement(frames[:, :2, 16:-16, 16:-16].numpy())
    assert np.median(seen, axis=(2, 3)) == pytest.approx(np.tile(VELOCITY, (8, 1)), abs=0.3)
    assert torch.equal(frames[7], frames[6])  # nothing comes after the last frame
    assert bool((frames[:, 2] == 128).all())


def test_flow_videos_are_written_and_read_without_loss(tmp_path, write_frames, pan, monkeypatch):
    source = write_frames(tmp_path / "v.mp4", list(pan((1, 0), 5, height=48, width=62)))
    drawn = np.random.default_rng(0).uniform(-25, 25, (4, 48, 62, 2)).astype(np.float32)
    fields = iter(drawn)
    monkeypatch.setitem(METHODS, "dis", lambda: lambda first, second: next(fields))
    write_flow(source, tmp_path / "flow.mp4", FlowSpec(method="dis"))
    [frames] = read_frames(tmp_path / "flow.mp4", range(4), sizes=[FrameSize((48, 62), (48, 62))])
    assert np.array_equal(frames[:, :2].numpy(), quantised(drawn).transpose(0, 3, 1, 2))


def test_flow_of_small_frames_is_in_small_pixels(tmp_path, write_frames, pan):
    source = write_frames(tmp_path / "pan.mp4", list(pan((8, 4), 4, height=128, width=192)), x264="qp=4")
    write_flow(source, tmp_path / "flow.mp4", FlowSpec(method="farneback", short_side=64))
    [frames] = read_frames(tmp_path / "flow.mp4", [0], sizes=[FrameSize((64, 96), (64, 96))])
    seen = displacement(frames[0, :2, 12:-12, 12:-12].numpy())
    assert np.median(seen, axis=(1, 2)) == pytest.approx([4, 2], abs=0.3)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_flow_is_upright(tmp_path, write_frames, pan, rotation):
    """The stored picture moves right; turned clockwise by 90 degrees it moves down, and so on."""
    source = write_frames(
        tmp_path / "pan.mp4", list(pan((4, 0), 3, height=96, width=128)), x264="qp=4", rotation=rotation
    )
    write_flow(source, tmp_path / "flow.mp4", FlowSpec(method="farneback"))
    info = index_video(tmp_path / "flow.mp4").info
    size = (info.height, info.width)
    assert size == ((96, 128) if rotation == 180 else (128, 96))
    [frames] = read_frames(tmp_path / "flow.mp4", [0], sizes=[FrameSize(size, size)])
    moved = {90: (0, 4), 180: (-4, 0), 270: (0, -4)}[rotation]
    seen = displacement(frames[0, :2, 20:-20, 20:-20].numpy())
    assert np.median(seen, axis=(1, 2)) == pytest.approx(moved, abs=0.3)


def test_a_flow_video_knows_its_source(tmp_path, write_frames, pan):
    source = write_frames(tmp_path / "v.mp4", list(pan((1, 0), 2, height=48, width=64)))
    write_flow(source, tmp_path / "flow.mp4", FlowSpec(method="dis"))
    assert source_of(tmp_path / "flow.mp4") == str(source)
    assert source_of(source) is None


def test_one_frame_has_no_flow(tmp_path, write_frames, pan):
    source = write_frames(tmp_path / "v.mp4", list(pan((1, 0), 1, height=48, width=64)))
    write_flow(source, tmp_path / "flow.mp4", FlowSpec(method="dis"))
    [frames] = read_frames(tmp_path / "flow.mp4", [0], sizes=[FrameSize((48, 64), (48, 64))])
    assert bool((frames == 128).all())


def test_a_method_must_be_known():
    with pytest.raises(ValueError, match=r"flow method 'brox' must be one of farneback, tvl1, dis"):
        FlowSpec(method="brox")
    with pytest.raises(ValueError, match=r"short_side \(8\) of flow must be at least 16 pixels"):
        FlowSpec(method="dis", short_side=8)
