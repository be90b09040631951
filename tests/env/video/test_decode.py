"""Claims of video reading, on videos made here: every frame shows its number as black and white bars.

Truth is what the frames show, whatever order, timestamps and keyframes the file stores them with.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import av
import numpy as np
import pytest
import torch

from vidselect_env.video import decode
from vidselect_env.video.decode import FrameSize, read_clips, read_frames
from vidselect_env.video.index import index_video
from vidselect_env.video.stream import _plan

HEIGHT, WIDTH, NUM_BITS, FPS = 48, 64, 8, 15
WHOLE = FrameSize((HEIGHT, WIDTH), (HEIGHT, WIDTH))


def numbered_frames(num_frames):
    """RGB pictures (H, W, 3)."""
    bar = WIDTH // NUM_BITS
    for number in range(num_frames):
        bits = [255 * (number >> bit & 1) for bit in range(NUM_BITS)]
        row = np.repeat(np.array(bits, dtype=np.uint8), bar)
        yield np.tile(row[:, None], (HEIGHT, 1, 3))


def shown_numbers(frames):
    """(K, 3, H, W) frames -> the numbers that they show, a list of K."""
    bar = frames.shape[-1] // NUM_BITS
    bits = frames[:, 1, frames.shape[-2] // 2, bar // 2 :: bar] > 127
    return (bits.long() << torch.arange(NUM_BITS)).sum(dim=1).tolist()


KINDS: dict[str, dict[str, Any]] = {
    "b_frames.mp4": {"x264": "keyint=12:bframes=3:b-adapt=0:scenecut=0"},
    "one_keyframe.mp4": {"x264": "keyint=250:bframes=2"},
    "tiny_gop.mp4": {"x264": "keyint=2:bframes=2"},
    "dense_keyframes.mp4": {"x264": "keyint=5:min-keyint=5:bframes=4:b-adapt=0:b-pyramid=normal"},
    "only_keyframes.mp4": {"x264": "keyint=1"},
    "open_gop.mkv": {"x264": "keyint=10:open-gop=1:bframes=3:b-adapt=0:scenecut=0"},
    "open_gop.ts": {"x264": "keyint=10:open-gop=1:bframes=3:b-adapt=0:scenecut=0"},
    # Marked as keyframes are points from which the picture heals within some frames.
    "intra_refresh.mp4": {"x264": "keyint=10:intra-refresh=1:bframes=0:scenecut=0"},
    "with_audio.mp4": {"x264": "keyint=10", "audio": True},
    "no_timestamps.h264": {"x264": "keyint=12:bframes=3:b-adapt=0"},
    "no_presentation_times.avi": {"x264": "keyint=12:bframes=3:b-adapt=0"},
    "mpeg4.avi": {"codec": "mpeg4", "gop_size": 10, "max_b_frames": 2, "bit_rate": 2_000_000},
    "mpeg2.mpg": {"codec": "mpeg2video", "fps": 25, "gop_size": 10, "max_b_frames": 2},
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory, write_frames):
    """Every kind of video, 60 numbered frames each: name -> path."""
    folder = tmp_path_factory.mktemp("videos")
    return {name: write_frames(folder / name, numbered_frames(60), **settings) for name, settings in KINDS.items()}


@pytest.fixture(scope="module")
def video(videos):
    return videos["b_frames.mp4"]


@pytest.mark.parametrize("kind", KINDS)
def test_index_has_every_frame_once_in_order(videos, kind):
    index = index_video(videos[kind])
    fps = KINDS[kind].get("fps", FPS)
    assert index.info.num_frames == len(index.pts) == len(index.is_key) == 60
    assert (np.diff(index.pts) > 0).all()
    assert index.info.fps == fps
    assert index.info.duration_s == pytest.approx(60 / fps, abs=0.01)
    assert (index.info.width, index.info.height, index.info.rotation) == (WIDTH, HEIGHT, 0)
    assert index.info.has_audio == (kind == "with_audio.mp4")


@pytest.mark.parametrize("kind", KINDS)
def test_all_frames_are_read_in_order(videos, kind):
    (frames,) = read_frames(videos[kind], range(60), sizes=[WHOLE])
    assert frames.shape == (60, 3, HEIGHT, WIDTH)
    assert frames.dtype == torch.uint8
    assert shown_numbers(frames) == list(range(60))


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_read_alone_equals_the_one_read_in_passing(videos, kind):
    index = index_video(videos[kind])
    (passing,) = read_frames(videos[kind], range(60), sizes=[WHOLE], index=index)
    for number in range(60):
        (alone,) = read_frames(videos[kind], [number], sizes=[WHOLE], index=index)
        assert torch.equal(alone[0], passing[number]), f"frame {number}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_threads", [1, 3])
def test_scattered_frames_come_in_the_order_asked_for(videos, kind, num_threads):
    index = index_video(videos[kind])
    generator = torch.Generator().manual_seed(num_threads)
    for _ in range(8):
        wanted = torch.randint(60, (6,), generator=generator)
        (frames,) = read_frames(videos[kind], wanted, sizes=[WHOLE], index=index, num_threads=num_threads)
        assert shown_numbers(frames) == wanted.tolist()


@pytest.mark.parametrize("kind", ["no_timestamps.h264", "no_presentation_times.avi"])
def test_frames_without_usable_timestamps_are_counted(videos, kind):
    index = index_video(videos[kind])
    assert not index.has_timestamps
    assert index.pts.tolist() == list(range(60))


def test_clips_may_overlap_and_repeat_frames(video):
    clips = torch.tensor([[0, 2, 4], [40, 42, 44], [2, 4, 6], [59, 59, 59]])
    large, small = read_clips(video, clips, sizes=[WHOLE, FrameSize((24, 32), (24, 32))])
    assert large.shape == (4, 3, 3, HEIGHT, WIDTH)
    assert small.shape == (4, 3, 3, 24, 32)
    for frames in (large, small):
        assert frames.is_contiguous()
        assert shown_numbers(frames.flatten(0, 1)) == clips.flatten().tolist()


def test_each_distinct_frame_is_converted_once(video, monkeypatch):
    rows = []
    write = decode.FrameOutput.write

    def counted(self, row, frame):
        rows.append(row)
        write(self, row, frame)

    monkeypatch.setattr(decode.FrameOutput, "write", counted)
    read_clips(video, torch.tensor([[5, 6], [6, 7], [5, 5]]), sizes=[WHOLE])
    assert sorted(rows) == [0, 1, 3]  # the first place of each


def test_a_run_begins_at_a_keyframe_where_jumping_there_beats_decoding_on(video):
    index = index_video(video)
    assert np.flatnonzero(index.is_key).tolist() == [0, 12, 24, 36, 48]
    # 25 is decoded on from 22; from 26 to the keyframe 36 is a jump, and so is from the start to 12.
    runs = _plan(index, np.array([14, 22, 25, 40, 41]))
    assert runs == [(12, 0, 3), (36, 3, 5)]
    assert _plan(index, np.array([3, 11])) == [(0, 0, 2)]


def test_wrong_keyframes_in_the_index_cost_time_but_no_wrong_frame(videos):
    for kind in ("b_frames.mp4", "one_keyframe.mp4", "open_gop.ts"):
        index = index_video(videos[kind])
        wrong = dataclasses.replace(index, is_key=np.ones(60, dtype=np.bool_))
        (frames,) = read_frames(videos[kind], [7, 31, 55], sizes=[WHOLE], index=wrong)
        assert shown_numbers(frames) == [7, 31, 55]


def test_frames_hidden_by_an_edit_list_are_not_counted(video, tmp_path):
    path = tmp_path / "trimmed.mp4"
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                one_frame = int(1 / FPS / packet.time_base)
                packet.pts, packet.dts = packet.pts - 20 * one_frame, packet.dts - 20 * one_frame
                packet.stream = stream
                target.mux(packet)
    index = index_video(path)
    assert index.info.num_frames == 40
    (frames,) = read_frames(path, [0, 1, 30, 39], sizes=[WHOLE], index=index)
    assert shown_numbers(frames) == [20, 21, 50, 59]


def test_frames_before_the_first_keyframe_are_not_counted(videos, tmp_path):
    path = tmp_path / "joined_late.mkv"
    with av.open(str(videos["b_frames.mp4"])) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.dts is not None and number >= 5:
                packet.stream = stream
                target.mux(packet)
    assert index_video(path).info.num_frames == 48
    (frames,) = read_frames(path, [0, 47], sizes=[WHOLE])
    assert shown_numbers(frames) == [12, 59]


@pytest.mark.parametrize("number", [60, -1])
def test_index_outside_the_video_is_named(video, number):
    with pytest.raises(ValueError, match=rf"frame {number} must be one of the 60 frames of .*b_frames.mp4"):
        read_frames(video, [0, number], sizes=[WHOLE])


def test_arguments_that_make_no_sense_are_refused(video):
    with pytest.raises(ValueError, match="num_threads"):
        read_frames(video, [0], sizes=[WHOLE], num_threads=0)
    with pytest.raises(ValueError, match="integers"):
        read_frames(video, torch.tensor([0.5]), sizes=[WHOLE])
    with pytest.raises(ValueError, match=r"shape \(L, T\)"):
        read_clips(video, torch.tensor([1, 2]), sizes=[WHOLE])


def test_no_frames_asked_for_are_none_read(video):
    (frames,) = read_frames(video, [], sizes=[FrameSize(24, (24, 24))])
    assert frames.shape == (0, 3, 24, 24)


def test_frames_of_a_program_stream_are_found_by_counting(tmp_path, write_frames, pan):
    """FFmpeg guesses most of its timestamps, and guesses otherwise after a jump."""
    path = write_frames(tmp_path / "x.mpg", pan((3, 2), 70), codec="mpeg1video", fps=25, gop_size=10, max_b_frames=2)
    index = index_video(path)
    size = FrameSize(32, (32, 32))
    (everything,) = read_frames(path, range(70), sizes=[size], index=index)
    for number in range(30, 60, 4):
        (alone,) = read_frames(path, [number], sizes=[size], index=index)
        assert torch.equal(alone[0], everything[number]), number
