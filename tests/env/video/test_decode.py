"""Claims of video reading, on videos made here: every frame shows its number as black and white bars.

Truth is what the frames show, whatever order, timestamps and keyframes the file stores them with.
"""

from __future__ import annotations

import dataclasses
import pickle
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional

from vidselect_env.video import decode
from vidselect_env.video.decode import FrameSize, read_clips, read_frames
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import index_video, probe
from vidselect_env.video.stream import _plan

HEIGHT, WIDTH, NUM_BITS, FPS = 48, 64, 8, 15
WHOLE = FrameSize((HEIGHT, WIDTH), (HEIGHT, WIDTH))


def write_frames(path, frames, *, codec="libx264", x264="", rotation=None, audio=False, fps=FPS, **settings):
    """Encode `av.VideoFrame`s; `settings` are attributes of the codec context."""
    options = {"x264-params": x264, "preset": "veryfast"} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        if rotation is not None:
            stream.set_display_matrix(rotation)
        if audio:
            write_silence(container, seconds=len(frames) / fps)
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_silence(container, *, seconds):
    stream = container.add_stream("aac", rate=16000)
    for start in range(0, int(seconds * 16000), 1024):
        silence = np.zeros((1, 1024), dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def numbered_frames(num_frames):
    bar = WIDTH // NUM_BITS
    for number in range(num_frames):
        bits = [255 * (number >> bit & 1) for bit in range(NUM_BITS)]
        row = np.repeat(np.array(bits, dtype=np.uint8), bar)
        yield av.VideoFrame.from_ndarray(np.tile(row[:, None], (HEIGHT, 1, 3)), format="rgb24")


def write_numbered(path, *, num_frames=60, **settings):
    frames = [frame.reformat(format="yuv420p") for frame in numbered_frames(num_frames)]
    return write_frames(path, frames, **settings)


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
def videos(tmp_path_factory):
    """Every kind of video, 60 numbered frames each: name -> path."""
    folder = tmp_path_factory.mktemp("videos")
    return {name: write_numbered(folder / name, **settings) for name, settings in KINDS.items()}


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
    assert sorted(rows) == [0, 1, 2]


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


# Display matrices as cameras write them, in 16.16 fixed point (the last column in 2.30).
TURN = {
    90: [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30],
    180: [-(1 << 16), 0, 0, 0, -(1 << 16), 0, 0, 0, 1 << 30],
    270: [0, -(1 << 16), 0, 1 << 16, 0, 0, 0, 0, 1 << 30],
}


@pytest.mark.parametrize(("rotation", "bright_side"), [(90, "top"), (180, "right"), (270, "bottom")])
def test_frames_with_a_rotation_stand_upright(tmp_path, rotation, bright_side):
    picture = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    picture[:, : WIDTH // 2] = 255  # the stored left half is bright; turned clockwise by 90 that is the top
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    path = write_frames(tmp_path / "turned.mp4", [frame] * 3, rotation=TURN[rotation])
    info = probe(path)
    upright = (WIDTH, HEIGHT) if rotation == 180 else (HEIGHT, WIDTH)
    assert (info.rotation, info.width, info.height) == (rotation, *upright)

    (frames,) = read_frames(path, [1], sizes=[FrameSize(24, (24, 24))])
    image = frames[0].float()
    sides = {"top": image[:, :8], "bottom": image[:, -8:], "left": image[:, :, :8], "right": image[:, :, -8:]}
    assert max(sides, key=lambda side: float(sides[side].mean())) == bright_side


@pytest.mark.parametrize(("matrix", "kr", "kb"), [(1, 0.2126, 0.0722), (6, 0.299, 0.114), (2, 0.299, 0.114)])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
def test_colours_follow_the_matrix_and_range_that_the_frame_states(tmp_path, matrix, kr, kb, full_range, bits):
    values = (110, 100, 160)
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p" if bits == 8 else "yuv420p10le")
    for plane, value in zip(frame.planes, values, strict=True):
        samples = np.frombuffer(memoryview(plane), np.uint8 if bits == 8 else np.uint16)
        samples[:] = value << (bits - 8)
    settings = {"colorspace": matrix, "color_range": 2 if full_range else 1}
    frame.colorspace, frame.color_range = settings["colorspace"], settings["color_range"]
    path = write_frames(tmp_path / "colour.mp4", [frame] * 2, x264="qp=0", **settings)

    # ITU-T H.273, equations of the matrix coefficients.
    black, luma, chroma = (0, 255, 255) if full_range else (16, 219, 224)
    y, cb, cr = (values[0] - black) / luma, (values[1] - 128) / chroma, (values[2] - 128) / chroma
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)

    (frames,) = read_frames(path, [0], sizes=[FrameSize(24, (20, 20))])
    expected = torch.tensor([red, green, blue])[:, None, None] * 255
    assert (frames[0] - expected).abs().max() <= 1.5


@given(height=st.integers(1, 500), width=st.integers(1, 500), resize=st.integers(1, 300))
def test_resized_sides_are_those_of_torchvision(height, width, resize):
    resized = functional.resize(torch.zeros(1, height, width, dtype=torch.uint8), [resize], antialias=False)
    assert FrameSize(resize, (1, 1)).resized(height, width) == tuple(resized.shape[-2:])


@pytest.mark.parametrize("crop", [(48, 64), (47, 61), (10, 11), (1, 1), (33, 2)])
def test_crop_is_the_centre_that_torchvision_keeps(video, crop):
    whole, centre = read_frames(video, [30], sizes=[WHOLE, FrameSize((HEIGHT, WIDTH), crop)])
    assert torch.equal(centre, functional.center_crop(whole, list(crop)))


def test_frame_size_refuses_a_crop_that_does_not_fit():
    with pytest.raises(ValueError, match=r"crop \(40, 20\) must fit"):
        FrameSize(32, (40, 20))
    with pytest.raises(ValueError, match="at least 1 pixel"):
        FrameSize((32, 0), (1, 1))


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


def broken_files(folder, video):
    """name -> (path, words that the message must have)."""
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
def test_unreadable_file_raises_one_error_with_its_name_and_reason(video, tmp_path, name, reason):
    broken_files(tmp_path, video)
    for read in (index_video, probe, lambda path: read_frames(path, [0], sizes=[WHOLE])):
        with pytest.raises(VideoError) as caught:
            read(tmp_path / name)
        assert caught.value.path == str(tmp_path / name)
        assert reason in caught.value.reason
        assert name in str(caught.value)


def test_frame_that_is_indexed_but_does_not_decode_is_named(videos, tmp_path):
    content = videos["open_gop.mkv"].read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(content[: len(content) // 2])
    index = index_video(videos["open_gop.mkv"])
    with pytest.raises(VideoError, match="frame 58 of 60 does not decode"):
        read_frames(cut, [0, 58], sizes=[WHOLE], index=index)


def test_damaged_frame_data_raises_one_error(video, tmp_path):
    content = bytearray(video.read_bytes())
    middle = len(content) // 3
    content[middle : middle + 600] = bytes(600)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    with pytest.raises(VideoError, match=r"damaged\.mp4.*FFmpeg cannot decode it"):
        read_frames(damaged, range(60), sizes=[WHOLE])


def test_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(VideoError("a.mp4", "it is empty")))
    assert (error.path, error.reason) == ("a.mp4", "it is empty")
