"""A file that was indexed is read from what indexing kept, and gives the same frames."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from vidselect_env.video import opening
from vidselect_env.video.decode import FrameSize, read_clips
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import index_video
from vidselect_env.video.stream import stream_frames

SIZE = FrameSize((64, 80), (48, 48))


@pytest.fixture
def video(tmp_path, write_frames, pan):
    """40 frames with B-frames and a keyframe in ten."""
    return write_frames(tmp_path / "v.mp4", list(pan((2, 1), 40)), x264="keyint=10:bframes=2", audio=True)


@pytest.fixture
def openings(monkeypatch):
    """Counts how often a file is opened."""
    opened = []
    really = opening.av.open

    def counted(*args, **kwargs):
        opened.append(args)
        return really(*args, **kwargs)

    monkeypatch.setattr(opening.av, "open", counted)
    return opened


@pytest.mark.parametrize("frames", [[[0, 1, 2]], [[31, 32, 33], [4, 5, 39]], [[39]], [[7, 7, 3]]])
@pytest.mark.parametrize("segment", [(None, None), (0.5, 2.3)])
def test_kept_packets_give_the_frames_of_the_file(video, frames, segment):
    start_s, end_s = segment
    index = index_video(video, start_s=start_s, end_s=end_s)
    wanted = torch.tensor(frames).clamp(max=index.info.num_frames - 1)
    [expected] = read_clips(video, wanted, sizes=[SIZE], index=index)
    kept = index_video(video, start_s=start_s, end_s=end_s, keep_packets=True)
    for _ in range(2):  # the second time from the file
        assert torch.equal(read_clips(video, wanted, sizes=[SIZE], index=kept)[0], expected)


def test_a_file_is_opened_once_to_index_and_read_it(video, openings):
    index = index_video(video, keep_packets=True)
    read_clips(video, torch.tensor([[0, 39]]), sizes=[SIZE], index=index)
    assert len(openings) == 1
    read_clips(video, torch.tensor([[0, 39]]), sizes=[SIZE], index=index)
    assert len(openings) == 2


def test_of_a_long_file_no_packets_are_kept(video, openings, monkeypatch):
    monkeypatch.setattr(opening, "KEPT_BYTES", video.stat().st_size // 2)
    index = index_video(video, keep_packets=True)
    read_clips(video, torch.tensor([[0, 39]]), sizes=[SIZE], index=index)
    assert len(openings) == 2


def test_an_index_that_is_dropped_unread_closes_its_file(video):
    index = index_video(video, keep_packets=True)
    container = index.kept._stream.container
    del index
    gc.collect()
    with pytest.raises(AssertionError, match="not open"):
        container.seek(0)


def test_damage_in_kept_packets_is_an_error(tmp_path, video):
    content = bytearray(video.read_bytes())
    start = content.find(b"mdat") + 200
    for place in range(start, len(content) - 3000, 97):
        content[place] ^= 0x55
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(content)
    index = index_video(broken, keep_packets=True)
    with pytest.raises(VideoError, match=r"is damaged|cannot decode"):
        read_clips(broken, torch.arange(40)[None], sizes=[SIZE], index=index)


def test_frames_that_nobody_wants_or_refers_to_are_not_decoded(tmp_path, write_frames, pan):
    """Of I b B b P, with B a reference, a reader of frame 8 decodes 0, 2, 4, 6 and 8, and of frame 7 that one too."""
    path = write_frames(
        tmp_path / "b.mp4", list(pan((2, 1), 25)), x264="keyint=30:bframes=3:b-adapt=0:b-pyramid=normal:scenecut=0"
    )
    index = index_video(path)

    def decoded(*wanted):
        frames = stream_frames(path, np.array(wanted), index=index)
        return [number for number, _ in frames]

    assert decoded(8) == [0, 2, 4, 6, 8]
    assert decoded(7, 8) == [0, 2, 4, 6, 7, 8]
    every = decoded(*range(25))
    assert every == list(range(25))
    [alone] = read_clips(path, torch.tensor([[7]]), sizes=[SIZE], index=index)
    [among] = read_clips(path, torch.arange(25)[None], sizes=[SIZE], index=index)
    assert torch.equal(alone[0, 0], among[0, 7])
