"""Claims of files that would hang, lead elsewhere, or ask for more than there is: errors of one video, at once."""

from __future__ import annotations

import os
import signal
import socket
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from vidselect_env.video import decode
from vidselect_env.video.audio import mel_spectrograms
from vidselect_env.video.decode import FrameSize, read_frames
from vidselect_env.video.errors import VideoError, faults_of
from vidselect_env.video.index import index_video
from vidselect_env.video.limits import VideoLimits
from vidselect_env.video.motion import motion_curve

SIZE = FrameSize((24, 32), (24, 32))


@pytest.fixture(scope="module")
def video(tmp_path_factory, write_frames, pan):
    folder = tmp_path_factory.mktemp("opening")
    return write_frames(folder / "x.mp4", pan((1, 0), 30, height=48, width=64), audio=True)


@pytest.fixture
def within_5_s():
    """Interrupts a test that waits for ever."""

    def interrupt(*_):
        raise TimeoutError("it hangs")

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(5)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def test_a_pipe_called_a_video_is_refused_at_once(tmp_path, within_5_s):
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    (tmp_path / "link.mp4").symlink_to(pipe)
    for path in (pipe, tmp_path / "link.mp4"):
        with pytest.raises(VideoError, match=r"\.mp4.*it is a pipe \(FIFO\), and must be a file"):
            index_video(path)


def test_a_socket_and_a_device_are_refused(tmp_path, monkeypatch, within_5_s):
    monkeypatch.chdir(tmp_path)  # names of sockets are at most 107 bytes long
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.mp4")
        with pytest.raises(VideoError, match="it is a socket"):
            index_video("socket.mp4")
    with pytest.raises(VideoError, match="it is a device"):
        index_video("/dev/zero")


@pytest.mark.parametrize(
    "playlist",
    ["ffconcat version 1.0\nfile x.mp4\n", "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nx.mp4\n#EXT-X-ENDLIST\n"],
)
@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.ffconcat"])
def test_a_playlist_leads_to_no_other_file(video, tmp_path, playlist, name):
    (tmp_path / "x.mp4").write_bytes(video.read_bytes())
    (tmp_path / name).write_text(playlist)
    with pytest.raises(VideoError):
        index_video(tmp_path / name)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (VideoLimits(frames=29), r"frames 30: must be at most 29"),
        (VideoLimits(frame_pixels=48 * 64 - 1), r"frame_pixels 3,072: must be at most 3,071"),
    ],
)
def test_a_file_that_asks_for_more_than_the_limits_is_refused_with_value_and_rule(video, limits, message):
    with pytest.raises(VideoError, match=r"x\.mp4.*" + message):
        index_video(video, limits=limits)


def test_a_file_at_its_limits_is_read(video):
    limits = VideoLimits(frames=30, frame_pixels=48 * 64, output_bytes=30 * 3 * 24 * 32)
    index = index_video(video, limits=limits)
    assert read_frames(video, range(30), sizes=[SIZE], index=index)[0].shape == (30, 3, 24, 32)


def test_frames_that_take_more_memory_than_the_limit_are_not_read(video):
    index = index_video(video, limits=VideoLimits(output_bytes=30 * 3 * 24 * 32 - 1))
    with pytest.raises(VideoError, match=r"output_bytes 69,120: must be at most 69,119"):
        read_frames(video, range(30), sizes=[SIZE], index=index)


def test_a_narrow_picture_is_not_blown_up_beyond_the_limit(tmp_path, write_frames):
    narrow = write_frames(tmp_path / "narrow.mkv", [np.zeros((2, 2048), np.uint8)] * 3, codec="ffv1")
    index = index_video(narrow, limits=VideoLimits(frame_pixels=2**16))
    size = FrameSize(64, (64, 64))
    with pytest.raises(VideoError, match="frame_pixels 4,194,304: must be at most 65,536"):
        read_frames(narrow, [0], sizes=[size], index=index)
    with pytest.raises(VideoError, match="frame_pixels 4,194,304: must be at most 65,536"):
        motion_curve(narrow, size=size, index=index)


def test_a_picture_that_grows_beyond_the_limit_within_a_video_is_refused(tmp_path, write_frames):
    """Two H.264 streams one after the other, as a stream whose size changes."""
    parts = [
        write_frames(tmp_path / f"{side}.h264", [np.full((side, side), 90, np.uint8)] * 12).read_bytes()
        for side in (64, 128)
    ]
    growing = tmp_path / "growing.h264"
    growing.write_bytes(b"".join(parts))
    assert index_video(growing).info.num_frames == 24
    with pytest.raises(VideoError):
        index_video(growing, limits=VideoLimits(frame_pixels=64 * 64))


def far_apart(path, gap_s):
    """Two seconds of video and sound; the last frame comes `gap_s` later."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        packets = []
        for number in range(21):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32), 90, np.uint8), format="gray")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            packets += stream.encode(frame.reformat(format="yuv420p"))
        for number, packet in enumerate([*packets, *stream.encode()]):
            packet.pts = packet.dts = number if number < 20 else 20 + 10 * gap_s
            packet.time_base, packet.stream = Fraction(1, 10), stream
            container.mux(packet)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 32000), np.int16), format="s16", layout="mono")
        samples.sample_rate, samples.pts = 16000, 0
        container.mux(sound.encode(samples))
        container.mux(sound.encode())
    return path


def test_a_video_that_asks_for_days_of_sound_is_refused(tmp_path):
    path = far_apart(tmp_path / "far.mkv", gap_s=2 * 24 * 3600)
    index = index_video(path)
    assert index.info.duration_s > 2 * 24 * 3600
    with pytest.raises(VideoError, match=r"far\.mkv.*sound_s 172,80\d.*must be at most 43,200"):
        mel_spectrograms(path, torch.tensor([0.0, index.info.duration_s]), window_s=1.0, index=index)
    assert mel_spectrograms(path, torch.tensor([0.0, 1.0]), window_s=1.0, index=index).shape == (2, 40, 200)


def test_a_video_whose_clips_last_for_hours_is_refused(video):
    with pytest.raises(VideoError, match=r"x\.mp4.*window_s .*must be at most 600"):
        mel_spectrograms(video, torch.tensor([0.0]), window_s=7200.0)


@pytest.mark.parametrize("limit", ["frames", "frame_pixels", "output_bytes", "sound_s", "window_s"])
def test_a_limit_must_be_positive(limit):
    with pytest.raises(ValueError, match=rf"limit {limit} \(0\) must be positive"):
        VideoLimits(**{limit: 0})


@pytest.mark.parametrize("fault", [MemoryError("none left"), OverflowError("too large"), RuntimeError("no bytes")])
def test_what_the_libraries_raise_for_a_file_is_its_error_and_keeps_its_cause(video, monkeypatch, fault):
    def write(*_):
        raise fault

    monkeypatch.setattr(decode.FrameOutput, "write", write)
    with pytest.raises(VideoError, match=rf"x\.mp4.*{type(fault).__name__}: {fault}") as caught:
        read_frames(video, [0], sizes=[SIZE])
    assert caught.value.__cause__ is fault


@pytest.mark.parametrize("error", [TypeError, AttributeError, KeyError, AssertionError, KeyboardInterrupt, SystemExit])
def test_errors_of_the_code_and_interrupts_pass(error):
    with pytest.raises(error), faults_of("x.mp4"):
        raise error


def test_wrong_arguments_are_no_errors_of_the_file(video):
    with pytest.raises(ValueError, match="frame 30 must be one of the 30 frames"):
        read_frames(video, [30], sizes=[SIZE])
