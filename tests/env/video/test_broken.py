"""Claims of files that cannot be read, or not to the end: one error, which names the file and the reason."""

from __future__ import annotations

import pickle

import av
import pytest

from vidselect_env.video.decode import FrameSize, read_frames
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import index_video, probe

SIZE = FrameSize(24, (24, 24))


@pytest.fixture(scope="module")
def video(tmp_path_factory, write_frames, pan):
    folder = tmp_path_factory.mktemp("videos")
    return write_frames(folder / "x.mp4", pan((1, 0), 60, height=48, width=64), x264="keyint=12:bframes=3:b-adapt=0")


def broken_files(folder, video, write_silence):
    """Write a file of every kind that cannot be read."""
    folder.joinpath("text.txt").write_text("no video\n" * 50)
    folder.joinpath("text.mp4").write_text("no video\n" * 50)
    folder.joinpath("empty.mp4").touch()
    folder.joinpath("directory.mp4").mkdir()
    with av.open(str(folder / "sound.mp4"), "w") as container:
        write_silence(container, seconds=1)
    content = video.read_bytes()
    folder.joinpath("cut_header_lost.mp4").write_bytes(content[: len(content) // 2])
    with (
        av.open(str(video)) as source,
        av.open(str(folder / "whole.mp4"), "w", options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    content = folder.joinpath("whole.mp4").read_bytes()
    folder.joinpath("cut_header_kept.mp4").write_bytes(content[: len(content) * 2 // 3])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.mp4", "No such file"),
        ("text.txt", "it is text"),
        ("text.mp4", "Invalid data"),
        ("empty.mp4", "Invalid data"),
        ("directory.mp4", "Is a directory"),
        ("sound.mp4", "no video stream"),
        ("cut_header_lost.mp4", "Invalid data"),
        ("cut_header_kept.mp4", "of 60 frames"),
    ],
)
def test_unreadable_file_raises_one_error_with_its_name_and_reason(video, tmp_path, write_silence, name, reason):
    broken_files(tmp_path, video, write_silence)
    for read in (index_video, probe, lambda path: read_frames(path, [0], sizes=[SIZE])):
        with pytest.raises(VideoError) as caught:
            read(tmp_path / name)
        assert caught.value.path == str(tmp_path / name)
        assert reason in caught.value.reason
        assert name in str(caught.value)


def test_frame_that_is_indexed_but_does_not_decode_is_named(tmp_path, write_frames, pan):
    whole = write_frames(tmp_path / "whole.mkv", pan((1, 0), 60, height=48, width=64))
    content = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(content[: len(content) // 2])
    index = index_video(whole)
    with pytest.raises(VideoError, match="frame 58 of 60 does not decode"):
        read_frames(cut, [0, 58], sizes=[SIZE], index=index)


def test_damaged_frame_data_raises_one_error(video, tmp_path):
    content = bytearray(video.read_bytes())
    middle = len(content) // 3
    content[middle : middle + 600] = bytes(600)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    with pytest.raises(VideoError, match=r"damaged\.mp4.*frame \d+ of 60 is damaged"):
        read_frames(damaged, range(60), sizes=[SIZE])


def test_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(VideoError("a.mp4", "it is empty")))
    assert (error.path, error.reason) == ("a.mp4", "it is empty")
