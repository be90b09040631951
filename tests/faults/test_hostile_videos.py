"""Whatever one video does, a bank is built of the others, and names it."""

from __future__ import annotations

import os
import signal
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from vidselect_classifiers import make_classifier
from vidselect_env.bank import SignalSpec, SkimSpec, bank_spec, build_bank
from vidselect_env.datasets import load_dataset

BUILD_S = 60


@pytest.fixture
def bounded():
    """A build that hangs is interrupted."""

    def interrupt(*_):
        raise TimeoutError(f"the build takes longer than {BUILD_S} s")

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(BUILD_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def sounding(path, *, last_s=2.0):
    """Two seconds of H.264 and sound; the last frame comes at `last_s`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 48
        stream.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="mono")
        packets = []
        for number in range(20):
            picture = np.full((48, 48), 10 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")
            frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, 10), av.video.frame.PictureType.I
            packets += stream.encode(frame)
        for number, packet in enumerate([*packets, *stream.encode()]):
            packet.pts = packet.dts = round(last_s * 10) if number == 19 else number
            packet.time_base, packet.stream = Fraction(1, 10), stream
            container.mux(packet)
        for start in range(0, 32000, 1024):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts = 16000, start
            container.mux(sound.encode(samples))
        container.mux(sound.encode())


def test_a_bank_is_built_of_the_good_videos_and_names_the_others(tmp_path, bounded):
    folder = tmp_path / "set" / "train" / "a"
    folder.mkdir(parents=True)
    for name in ("good_1.mp4", "good_2.mkv"):
        sounding(folder / name)
    good = (folder / "good_1.mp4").read_bytes()
    sounding(folder / "days.mkv", last_s=40 * 24 * 3600)  # 40 days of sound: 221 GB
    os.mkfifo(folder / "pipe.mp4")
    (folder / "list.mp4").write_text("ffconcat version 1.0\nfile good_1.mp4\n")
    (folder / "cut.mp4").write_bytes(good[: len(good) // 2])
    (folder / "text.mp4").write_text("no video\n" * 100)
    (folder / "empty.mp4").touch()

    dataset = load_dataset(f"folder:{tmp_path / 'set'}", split="train")
    torch.manual_seed(0)
    model = make_classifier("tiny_r3d", num_classes=1)
    spec = bank_spec(
        dataset,
        model,
        num_clips=2,
        fields=("logits", "features", "skim", "vectors", "mel"),
        skim=SkimSpec(num_frames=2, resize=(8, 8), crop=(8, 8)),
        signals=SignalSpec(num_frames=2, cells=(2, 2), resize=(8, 8), crop=(8, 8)),
    )
    bank = build_bank(tmp_path / "bank", dataset, model, spec=spec, progress=False)
    assert sorted(os.path.basename(path) for path in bank.video_paths) == ["good_1.mp4", "good_2.mkv"]
    reasons = {os.path.basename(path): reason for path, reason in bank.skipped}
    assert {*reasons} == {"days.mkv", "list.mp4", "cut.mp4", "text.mp4", "empty.mp4"}
    assert not [video for video in dataset.videos if video.path.endswith("pipe.mp4")]  # no file: left out by the reader
    assert "sound_s" in reasons["days.mkv"]
