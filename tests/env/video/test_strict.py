"""Claims of damaged frames: they, and whatever is made from them, are errors unless they are allowed; others are read.

The video has keyframes 0, 12, 24 and 36, and between them P-frames every fourth frame with B-frames made from both
neighbours: stored 0 4 2 1 3 8 6 5 7 11 9 10, 12 ...
"""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch

from vidselect_env.video import stream
from vidselect_env.video.decode import FrameSize, read_frames
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import index_video

SIZE = FrameSize((48, 64), (48, 64))
X264 = "keyint=12:bframes=3:b-adapt=0:scenecut=0:b-pyramid=normal"
NUM_FRAMES = 48


def pictures():
    """A texture that changes wholly from frame to frame: every frame has many bytes."""
    rng = np.random.default_rng(0)
    for _ in range(NUM_FRAMES):
        yield np.kron(rng.integers(0, 256, (12, 16), dtype=np.uint8), np.ones((4, 4), np.uint8))


def remux(source, target, change):
    """Write the packets again, `change(number shown, content)` telling their contents; None leaves one out."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        video = reader.streams.video[0]
        out = writer.add_stream_from_template(video)
        packets = [packet for packet in reader.demux(video) if packet.dts is not None]
        shown = sorted(packet.pts for packet in packets)
        for packet in packets:
            content = change(shown.index(packet.pts), bytes(packet))
            if content is None:
                continue
            copy = av.Packet(content)
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.is_keyframe, copy.duration, copy.stream = packet.is_keyframe, packet.duration, out
            writer.mux(copy)
    return target


def halve(frame):
    """One frame's slice ends in the middle of the picture, and says so: four bytes are its length."""

    def change(number, content):
        if number != frame:
            return content
        half = content[4 : len(content) // 2]
        return len(half).to_bytes(4, "big") + half

    return change


@pytest.fixture(scope="module")
def whole(tmp_path_factory, write_frames):
    return write_frames(tmp_path_factory.mktemp("strict") / "whole.mp4", pictures(), x264=X264)


@pytest.fixture(scope="module")
def truth(whole):
    return read_frames(whole, range(NUM_FRAMES), sizes=[SIZE])[0]


def test_a_frame_made_from_a_damaged_one_is_an_error_that_names_the_damaged_one(tmp_path, whole, truth):
    damaged = remux(whole, tmp_path / "damaged.mp4", halve(16))
    index = index_video(damaged)
    for number in (16, 17, 20, 23):
        with pytest.raises(VideoError, match=r"damaged\.mp4.*frame 16 of 48 is damaged"):
            read_frames(damaged, [number], sizes=[SIZE], index=index)
    for number in (0, 11, 12, 24, 30):
        assert torch.equal(read_frames(damaged, [number], sizes=[SIZE], index=index)[0], truth[[number]]), number


@pytest.mark.parametrize("number", [13, 14, 15])
def test_a_b_frame_is_an_error_though_it_is_shown_before_the_damaged_frame_it_is_made_from(tmp_path, whole, number):
    damaged = remux(whole, tmp_path / "damaged.mp4", halve(16))
    with pytest.raises(VideoError, match=r"frame 16 of 48 is damaged"):
        read_frames(damaged, [number], sizes=[SIZE])


def test_damage_in_a_frame_that_nothing_is_made_from_spoils_no_frame_before_it(tmp_path, whole, truth):
    damaged = remux(whole, tmp_path / "damaged.mp4", halve(15))
    assert torch.equal(read_frames(damaged, [12, 13, 14], sizes=[SIZE])[0], truth[12:15])
    with pytest.raises(VideoError, match=r"frame 15 of 48 is damaged"):
        read_frames(damaged, [15], sizes=[SIZE])


def test_corrupt_frames_are_taken_where_they_are_allowed(tmp_path, whole, truth):
    damaged = remux(whole, tmp_path / "damaged.mp4", halve(16))
    index = index_video(damaged, allow_corrupt=True)
    [frames] = read_frames(damaged, range(NUM_FRAMES), sizes=[SIZE], index=index)
    assert torch.equal(frames[:13], truth[:13])
    assert not torch.equal(frames[16], truth[16])
    assert torch.equal(frames[24:], truth[24:])


def test_for_a_frame_that_does_not_decode_the_one_before_it_is_taken_where_that_is_allowed(tmp_path, whole, truth):
    empty = remux(whole, tmp_path / "empty.mp4", lambda number, content: b"\0\0\0\1\0" if number == 15 else content)
    with pytest.raises(VideoError, match="frame 15 of 48 is damaged: it does not decode"):
        read_frames(empty, [15], sizes=[SIZE])
    index = index_video(empty, allow_corrupt=True)
    expected = torch.cat([truth[:15], truth[14:15], truth[16:]])
    assert torch.equal(read_frames(empty, range(NUM_FRAMES), sizes=[SIZE], index=index)[0], expected)
    assert torch.equal(read_frames(empty, [15], sizes=[SIZE], index=index)[0], expected[[15]])


@pytest.mark.parametrize("container", ["lost.mp4", "lost.mkv", "lost.ts"])
def test_a_lost_frame_is_an_error_of_those_made_from_it(tmp_path, whole, truth, container):
    lost = remux(whole, tmp_path / container, lambda number, content: None if number == 16 else content)
    index = index_video(lost)
    assert index.info.num_frames == NUM_FRAMES - 1
    for number in (14, 17, 22):
        with pytest.raises(VideoError, match="a frame that it is made from is missing"):
            read_frames(lost, [number], sizes=[SIZE], index=index)
    assert torch.equal(read_frames(lost, [3, 12, 23, 46], sizes=[SIZE], index=index)[0], truth[[3, 12, 24, 47]])


def test_a_lost_frame_that_nothing_is_made_from_is_no_error(tmp_path, whole, truth):
    lost = remux(whole, tmp_path / "lost.mp4", lambda number, content: None if number == 15 else content)
    [frames] = read_frames(lost, range(NUM_FRAMES - 1), sizes=[SIZE])
    assert torch.equal(frames, torch.cat([truth[:15], truth[16:]]))


def test_frames_that_only_pass_for_keyframes_are_not_sought(tmp_path, write_frames, pan):
    """An MP4 without a list of its keyframes (stss) says that all its frames are."""
    moving = pan((2, 1), NUM_FRAMES, height=48, width=64)  # from frame to frame little is new: P-frames need others
    made = write_frames(tmp_path / "made.mp4", moving, codec="mpeg4", gop_size=48)
    lying = tmp_path / "lying.mp4"
    lying.write_bytes(made.read_bytes().replace(b"stss", b"free"))
    index = index_video(lying)
    assert index.is_key.all()
    [whole] = read_frames(made, range(NUM_FRAMES), sizes=[SIZE])
    for number in (10, 20, 40):
        assert torch.equal(read_frames(lying, [number], sizes=[SIZE], index=index)[0], whole[[number]])


def test_a_video_that_begins_with_an_open_group_of_pictures_is_no_damaged_one(tmp_path, write_frames):
    """As a recorded broadcast does: the first I-frame is no IDR picture, and frames before it are referred to."""
    made = write_frames(tmp_path / "made.mp4", pictures(), x264=f"{X264}:open-gop=1")
    first = int(index_video(made).is_key.nonzero()[0][1])
    stored = []

    def from_first(number, content):
        stored.append(number)
        return content if first in stored else None

    cut = remux(made, tmp_path / "cut.mkv", from_first)
    index = index_video(cut)
    assert index.info.num_frames == NUM_FRAMES - first
    [frames] = read_frames(cut, range(index.info.num_frames), sizes=[SIZE], index=index)
    assert torch.equal(frames, read_frames(made, range(first, NUM_FRAMES), sizes=[SIZE])[0])


def test_seeking_into_an_open_group_of_pictures_needs_no_second_reading(tmp_path, write_frames, monkeypatch):
    made = write_frames(tmp_path / "made.mp4", pictures(), x264=f"{X264}:open-gop=1")
    index = index_video(made)
    [truth] = read_frames(made, range(NUM_FRAMES), sizes=[SIZE], index=index)
    opened = []
    open_video = stream.open_video
    monkeypatch.setattr(stream, "open_video", lambda *args, **options: opened.append(1) or open_video(*args, **options))
    for number in index.is_key.nonzero()[0][1:].tolist():
        for wanted in (number, number + 2):
            opened.clear()
            assert torch.equal(read_frames(made, [wanted], sizes=[SIZE], index=index)[0], truth[[wanted]])
            assert len(opened) == 1
