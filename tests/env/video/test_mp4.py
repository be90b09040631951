"""The index of a long MP4 is that of its packets, though its header alone is read."""

from __future__ import annotations

import struct

import av
import numpy as np
import pytest
import torch

from vidselect_env.video import index as index_module
from vidselect_env.video.decode import FrameSize, read_clips
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import index_video
from vidselect_env.video.mp4 import header_entries

X264 = {
    "b-frames": "keyint=10:bframes=3:b-pyramid=normal",
    "open groups": "keyint=10:bframes=2:open-gop=1",
    "no b-frames": "keyint=10:bframes=0",
}


@pytest.fixture
def video(tmp_path, write_frames, pan):
    return write_frames(tmp_path / "v.mp4", list(pan((2, 1), 60)), x264=X264["b-frames"], audio=True)


@pytest.fixture
def told(monkeypatch):
    """As if every file were long; what headers told, None where they were not believed."""
    answers = []

    def listening(*args, **kwargs):
        answers.append(header_entries(*args, **kwargs))
        return answers[-1]

    monkeypatch.setattr(index_module, "KEPT_BYTES", 0)
    monkeypatch.setattr(index_module, "header_entries", listening)
    return answers


def index_of_packets(path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "header_entries", lambda *args, **kwargs: None)
        return index_video(path)


def assert_same(first, second):
    assert first.info == second.info
    assert np.array_equal(first.pts, second.pts)
    assert np.array_equal(first.is_key, second.is_key)


@pytest.mark.parametrize("container", ["mp4", "mov"])
@pytest.mark.parametrize("kind", X264)
def test_a_header_tells_what_packets_tell(tmp_path, write_frames, pan, told, kind, container):
    path = write_frames(tmp_path / f"v.{container}", list(pan((2, 1), 60)), x264=X264[kind], audio=True)
    assert_same(index_video(path), index_of_packets(path))
    assert [len(entries) for entries in told] == [60]


def test_frames_are_read_by_a_header_as_by_packets(video, told):
    clips, sizes = torch.tensor([[0, 1], [33, 34], [58, 59]]), [FrameSize((64, 80), (48, 48))]
    [by_header] = read_clips(video, clips, sizes=sizes, index=index_video(video))
    [by_packets] = read_clips(video, clips, sizes=sizes, index=index_of_packets(video))
    assert told[0] is not None
    assert torch.equal(by_header, by_packets)


def test_only_the_first_packets_of_a_long_file_are_read(video, told, monkeypatch):
    class Counted:
        def __init__(self, container):
            self.container = container

        def __getattr__(self, name):
            return getattr(self.container, name)

        def demux(self, stream):
            for packet in self.container.demux(stream):
                read.append(packet.size)
                yield packet

    read = []
    really = index_module._index_packets
    monkeypatch.setattr(
        index_module, "_index_packets", lambda path, file, *args, **rest: really(path, Counted(file), *args, **rest)
    )
    assert index_video(video).info.num_frames == 60
    assert len(read) < 10


def test_fragments_are_gone_through(tmp_path, video, told):
    path = tmp_path / "fragments.mp4"
    with av.open(str(video)) as source, av.open(str(path), "w", options={"movflags": "frag_keyframe"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    assert_same(index_video(path), index_of_packets(path))
    assert told == [None]


@pytest.mark.parametrize("change", [1, -1])
@pytest.mark.parametrize("table", [b"stts", b"ctts"])
def test_a_table_of_another_length_is_not_believed(video, told, table, change):
    """The audio track, which is written after the video's, has `stts` too: the first is changed."""
    content = bytearray(video.read_bytes())
    count = content.index(table) + 12  # kind, version and flags, number of runs, then the first run's count
    struct.pack_into(">I", content, count, struct.unpack_from(">I", content, count)[0] + change)
    video.write_bytes(content)
    try:
        expected = index_of_packets(video)
    except VideoError as error:
        with pytest.raises(VideoError, match="^" + str(error).split(":")[0]):
            index_video(video)
    else:
        assert_same(index_video(video), expected)
    assert not any(told)


def test_a_file_that_is_cut_short_is_still_refused(tmp_path, video, told):
    content = video.read_bytes()
    place = content.index(b"mdat") - 4
    with (
        av.open(str(video)) as source,
        av.open(str(tmp_path / "whole.mp4"), "w", options={"movflags": "faststart"}) as target,
    ):  # its header in front, so that it survives
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    content = (tmp_path / "whole.mp4").read_bytes()
    place = content.index(b"mdat")
    (tmp_path / "cut.mp4").write_bytes(content[: place + (len(content) - place) // 2])
    with pytest.raises(VideoError, match="cut short"):
        index_video(tmp_path / "cut.mp4")
    assert told == [None]
