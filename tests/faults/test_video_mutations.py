"""Damaged videos are refused by name, or read right: whole or by seeking, with as many frames as the index says.

A trial is broken where reading hangs, crashes, raises anything but a `VideoError`, takes a frame that FFmpeg marks,
gives other pixels after a seek than read whole, or counts other frames than decoding does.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

TRIAL_S = 60
NUM_FRAMES, FPS, SIDE = 36, 12, 64
X264 = "keyint=12:bframes=3:b-adapt=0:scenecut=0"
# name: codec, its options. Small files of formats that have little in common.
MADE = {
    "closed.mp4": ("libx264", {"x264-params": X264}),
    "open.mp4": ("libx264", {"x264-params": f"{X264}:open-gop=1:cabac=0"}),
    "refresh.mkv": ("libx264", {"x264-params": "keyint=12:intra-refresh=1:bframes=0"}),
    "stream.ts": ("libx264", {"x264-params": X264}),
    "part2.avi": ("mpeg4", {"g": "12"}),
    "hevc.mkv": ("libx265", {"x265-params": "keyint=12:log-level=none:pools=1:frame-threads=1"}),
}
REAL = (
    *("decord_unordered.mov", "decord_video_90.mov", "torchcodec_av1_video.mkv", "torchcodec_h264_10bits.mp4"),
    *("torchcodec_h265_10bits.mp4", "torchcodec_h265_video.mp4"),
)
LARGE = ("fight/fi034.mp4", "fight/fi075.mp4", "fight/fi076.mp4", "noFight/nofi005.mp4")
MUTATIONS = (
    *("truncated", "one bit of the media", "many bits of the media", "one bit of the header"),
    *("many bits of the header", "first bytes", "zeroed block", "zeroed header", "noise block", "swapped blocks"),
    *("deleted block", "repeated block", "inserted noise", "large number", "written twice", "noise before"),
    *("lost packets", "repeated packet", "swapped packets", "halved packet", "bits of a packet", "wrong extension"),
)
BYTES_ONLY = tuple(mutation for mutation in MUTATIONS if "packet" not in mutation)
QUICK = {
    *(("closed.mp4", mutation) for mutation in ("truncated", "one bit of the media", "large number", "lost packets")),
    *(("open.mp4", mutation) for mutation in ("many bits of the media", "halved packet")),
    *(("stream.ts", mutation) for mutation in ("deleted block", "noise before")),
    *(("part2.avi", mutation) for mutation in ("zeroed block", "wrong extension")),
    *(("hevc.mkv", mutation) for mutation in ("lost packets", "swapped blocks")),
}


def write_base(path: Path) -> None:
    """A moving texture, with noise for sound where the format takes AAC."""
    codec, options = MADE[path.name]
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), np.ones((6, 6, 1), np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options={"threads": "1", **options})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=16000) if path.suffix != ".avi" else None
        for number in range(NUM_FRAMES):
            picture = texture[2 * number :, 3 * number :][:SIDE, :SIDE]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for start in range(0, NUM_FRAMES * 16000 // FPS if sound else 0, 1024):
            noise = (rng.standard_normal((1, 1024)) * 0.1).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(sound.encode(frame))
        if sound:
            container.mux(sound.encode())


@pytest.fixture(scope="session")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for name in MADE:
        write_base(folder / name)
    return folder


def attempt(trials, count_trial, tmp_path, original, mutation, seed):
    task = {"original": str(original), "mutation": mutation, "seed": seed, "folder": str(tmp_path)}
    try:
        found = trials.run(task, timeout_s=TRIAL_S)
    except AssertionError:
        count_trial("videos", "broken")
        raise
    count_trial("videos", "broken" if found["broken"] else found["outcome"])
    assert not found["broken"], found


@pytest.mark.parametrize(
    ("name", "mutation", "seed"),
    [
        pytest.param(name, mutation, seed, marks=[] if (name, mutation) in QUICK and seed == 0 else pytest.mark.slow)
        for name in MADE
        for mutation in MUTATIONS
        for seed in range(2)
    ],
)
def test_damaged_video_is_refused_or_read_right(bases, video_trials, count_trial, tmp_path, name, mutation, seed):
    attempt(video_trials, count_trial, tmp_path, bases / name, mutation, seed)


@pytest.mark.slow
@pytest.mark.parametrize("mutation", BYTES_ONLY)
@pytest.mark.parametrize("name", [*(f"odd_videos/{name}" for name in REAL), *(f"surv_fight/{name}" for name in LARGE)])
def test_damaged_real_video_is_refused_or_read_right(shared, video_trials, count_trial, tmp_path, name, mutation):
    attempt(video_trials, count_trial, tmp_path, shared / "data" / name, mutation, 0)
