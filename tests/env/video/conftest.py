"""Videos made by hand: what is written is what reading them must give back."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
import torch


def _write_frames(
    path, pictures, *, codec="libx264", x264="", preset="veryfast", fps=15, rotation=None, audio=False, **settings
):
    """Encode grey (H, W) or RGB (H, W, 3) pictures, or frames as they are.

    `rotation` is clockwise, in degrees; `settings` are attributes of the codec context.
    """
    frames = [picture if isinstance(picture, av.VideoFrame) else _frame(picture) for picture in pictures]
    options = {"x264-params": x264, "preset": preset} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        if rotation is not None:
            stream.set_display_matrix(DISPLAY_MATRICES[rotation])
        if audio:
            _write_silence(container, seconds=len(frames) / fps)
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _frame(picture):
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray" if picture.ndim == 2 else "rgb24")
    return frame.reformat(format="yuv420p")


def _write_silence(container, *, seconds):
    stream = container.add_stream("aac", rate=16000)
    for start in range(0, int(seconds * 16000), 1024):
        silence = np.zeros((1, 1024), dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


# As cameras write them, in 16.16 fixed point (the last column in 2.30).
DISPLAY_MATRICES = {
    90: [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30],
    180: [-(1 << 16), 0, 0, 0, -(1 << 16), 0, 0, 0, 1 << 30],
    270: [0, -(1 << 16), 0, 1 << 16, 0, 0, 0, 0, 1 << 30],
}


def _pan(velocity, num_frames, *, height=128, width=160, seed=0):
    """Grey pictures (H, W) in which all moves by `velocity` (right, down) pixels a frame."""
    right, down = velocity
    large = _texture(seed, height + abs(down) * num_frames, width + abs(right) * num_frames)
    for number in range(num_frames):
        left, top = max(right, 0) * num_frames - right * number, max(down, 0) * num_frames - down * number
        yield large[top : top + height, left : left + width]


def _texture(seed, height, width, smooth=9):
    """Grey blobs that a motion search can tell apart; grey, since chroma is only stored for every other pixel."""
    noise = torch.rand(1, 1, height + smooth - 1, width + smooth - 1, generator=torch.Generator().manual_seed(seed))
    blobs = torch.nn.functional.avg_pool2d(noise, smooth, stride=1)[0, 0].numpy()
    return (255 * (blobs - blobs.min()) / np.ptp(blobs)).astype(np.uint8)


@pytest.fixture(scope="session")
def write_frames():
    return _write_frames


@pytest.fixture(scope="session")
def write_silence():
    return _write_silence


@pytest.fixture(scope="session")
def pan():
    return _pan
