"""A stream is cut into windows as it comes, and recognised as its file would be; what is late is dropped, and told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from vidselect_env.experiment.config import ProblemConfig
from vidselect_env.experiment.ledger import Dense, Ledger, compared, dense_problem
from vidselect_env.experiment.streams import Heard, recognise_stream
from vidselect_env.experiment.windows import Decision, recognise_windows, window_bounds
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import index_video
from vidselect_env.video.live import LiveWindows, is_stream

# Writes a film's packets to standard output, each when it is due at so many times real time (0: at once).
WRITER = """
import sys, time, av
path, kind, speed = sys.argv[1], sys.argv[2], float(sys.argv[3])
with av.open(path) as film, av.open(sys.stdout.buffer, "w", format=kind) as made:
    stream = film.streams.video[0]
    raw = kind == "yuv4mpegpipe"
    output = made.add_stream("wrapped_avframe", rate=10) if raw else made.add_stream_from_template(stream)
    if raw:
        output.width, output.height, output.pix_fmt = stream.width, stream.height, "yuv420p"
    began = time.monotonic()
    for packet in film.demux(stream):
        if packet.dts is None and not raw:
            continue
        due = began + float((packet.dts or 0) * packet.time_base) / speed if speed else began
        time.sleep(max(due - time.monotonic(), 0))
        if raw:
            for frame in packet.decode():
                made.mux(output.encode(frame))
        else:
            packet.stream = output
            made.mux(packet)
"""


@pytest.fixture(scope="module")
def film(tmp_path_factory, colours) -> Path:
    """6 seconds at 10 frames/s: red, green and blue for 2 s each; B-frames, a keyframe every 1.5 s."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "15", "bf": "2", "sc_threshold": "0"})
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number in range(60):
            picture = np.full((32, 32, 3), colours.shades[number // 20], dtype=np.uint8)
            picture[:, number % 32] = 128  # something moves
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def heard_of(film, colours) -> Callable[..., list[Heard]]:
    """What is heard of the film as a stream."""

    def hear(*, kind="mpegts", speed=0.0, window_s=2.0, every_s=1.0, drop=False, seconds=0.0) -> list[Heard]:
        command = [sys.executable, "-c", WRITER, str(film), kind, str(speed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer, torch.inference_mode():
            assert writer.stdout is not None
            windows = LiveWindows(f"pipe:{writer.stdout.fileno()}", window_s=window_s, every_s=every_s, drop=drop)
            heard = []
            for each in recognise_stream(windows, colours.selector(seconds=seconds), **colours.of_problem()):
                assert each.index is None or Path(each.index.info.path).exists()
                heard.append(each)
            assert not any(Path(each.index.info.path).exists() for each in heard if each.index)
        return heard

    return hear


@pytest.fixture
def of_file(film, colours) -> Callable[..., list[Decision]]:
    """The decisions about the same film as a file."""

    def decide(**options: Any) -> list[Decision]:
        options = {"selector": colours.selector(), "window_s": 2.0, "every_s": 1.0} | colours.of_problem() | options
        with torch.inference_mode():
            return list(recognise_windows(index_video(film), options.pop("selector"), **options))

    return decide


@pytest.mark.parametrize("kind", ["mpegts", "matroska", "nut", "yuv4mpegpipe"])
def test_a_stream_gives_the_decisions_of_its_file(heard_of, of_file, kind):
    """Whatever it comes in: windows begin between keyframes, and the last is cut short by the end."""
    heard = heard_of(kind=kind, window_s=2.4, every_s=1.6)
    file = of_file(window_s=2.4, every_s=1.6)
    assert len(heard) == len(file) == 4
    for stream, wanted in zip(heard, file, strict=True):
        decision = stream.decision
        assert decision.found is not None, decision.reason
        assert (decision.start_s, decision.end_s) == pytest.approx((wanted.start_s, wanted.end_s), abs=2e-3)
        assert decision.label == wanted.label
        assert decision.found.num_candidates == wanted.found.num_candidates
        torch.testing.assert_close(decision.found.start_s, wanted.found.start_s, atol=2e-3, rtol=0)


def test_a_process_that_writes_in_real_time_is_kept_up_with(heard_of):
    began_s = time.monotonic()
    heard = heard_of(speed=1.0, window_s=2.0, every_s=2.0, drop=True)
    assert time.monotonic() - began_s > 5  # it did come in real time
    assert [each.decision.start_s for each in heard] == [0, 2, 4]
    told = [each for each in heard if not each.is_dropped]
    assert [each.decision.label for each in told] == [round(each.decision.start_s / 2) for each in told]
    assert told


def test_who_is_too_slow_drops_windows_and_says_which(heard_of):
    """A second of work for half a second of stream would end six seconds late."""
    heard = heard_of(speed=1.0, window_s=0.5, every_s=0.5, drop=True, seconds=1.0)
    bounds = window_bounds(6.0, window_s=0.5, every_s=0.5)
    assert [each.decision.start_s for each in heard] == pytest.approx([start_s for start_s, _ in bounds])
    dropped = [each for each in heard if each.is_dropped]
    assert 3 <= len(dropped) < len(heard)
    assert all(each.decision.found is None and "dropped" in each.decision.reason for each in dropped)
    assert max(each.lag_s for each in heard if not each.is_dropped) < 4.5


def test_a_file_through_a_pipe_waits_as_long_as_the_clock_allows(heard_of):
    """It is there at once, and the work is quicker than real time: nothing is dropped."""
    heard = heard_of(window_s=1.0, every_s=1.0, drop=True, seconds=0.2)
    assert [each.is_dropped for each in heard] == [False] * 6


def test_what_is_no_video_or_leads_elsewhere_is_refused(tmp_path):
    for content in (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", b"nothing"):
        reading, writing = os.pipe()
        os.write(writing, content)
        os.close(writing)
        with pytest.raises(VideoError, match="cannot"):
            list(LiveWindows(f"pipe:{reading}", window_s=1.0, every_s=1.0))
        os.close(reading)
    with pytest.raises(ValueError, match=r"every_s \(2\) must be at most window_s \(1\)"):
        LiveWindows("-", window_s=1, every_s=2)
    assert [is_stream(name) for name in ("-", "rtsp://camera/1", "/dev/null", str(tmp_path), "a.mp4")] == [
        *(True, True, True),
        *(False, False),
    ]


def test_the_ledger_counts_what_was_looked_at_and_classified_and_what_dense_would_take(of_file, colours):
    chosen = of_file(every_s=2.0)
    ledger = Ledger.of(chosen)
    assert (ledger.num_candidates, ledger.num_classified) == (12, 6)
    assert (ledger.looking_gmacs, ledger.classifying_gmacs, ledger.dense_gmacs) == (1.5, 12.0, 24.0)
    assert "6 of 12 clips classified" in str(ledger)
    assert "0.56 of its cost" in str(ledger)
    problem = dense_problem(ProblemConfig(sections=2, clips=2), colours.selector.needs)
    dense = of_file(every_s=2.0, selector=Dense(), problem=problem)
    assert Ledger.of(dense).num_classified == 12
    assert Ledger.of(dense).looking_gmacs == 0
    assert "the same class in 3 of 3" in compared(chosen, dense)
