"""Claims of reading H.264's headers: a frame that is missing is noticed, and none where none is."""

from __future__ import annotations

import time
import tracemalloc
from types import SimpleNamespace

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidselect_env.video.h264 import FrameNumbers, nal_length_size, nal_units

AVCC_HEAD = bytes([1, 100, 0, 10, 0xFF])  # four bytes of length


def ue(value):
    """Exp-Golomb: n zeros, then the n + 1 bits of value + 1."""
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def nal(head, bits):
    """A NAL unit of bits, with the stop bit."""
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    return bytes([head]) + int(bits, 2).to_bytes(len(bits) // 8, "big")


def sps(*, num_bits=4, gaps=0, only_frames=1, profile=66):
    chroma = ue(1) + ue(0) + ue(0) + "0" + "0" if profile == 100 else ""
    sizes = ue(3) + ue(3)
    return nal(0x67, f"{profile:08b}{0:016b}{ue(0)}{chroma}{ue(num_bits - 4)}{ue(2)}{ue(4)}{gaps}{sizes}{only_frames}")


PPS = nal(0x68, ue(0) + ue(0) + "00")


def frame(number, *, num_bits=4, is_reference=True, idr=False, field=""):
    kind = 5 if idr else 1
    return nal(
        (0x60 if is_reference else 0) | kind, ue(0) + ue(0) + ue(0) + f"{number:0{num_bits}b}" + field + "0" * 64
    )


def packet(*units, length_size=0):
    content = b"".join((len(unit).to_bytes(length_size, "big") if length_size else b"\0\0\1") + unit for unit in units)
    return FakePacket(content)


class FakePacket(SimpleNamespace):
    def __init__(self, content, extradata_changes=False):
        super().__init__(content=content, extradata_changes=extradata_changes)

    def __bytes__(self):
        return self.content

    def has_sidedata(self, name):
        return name == "new_extradata" and self.extradata_changes


def faults(frames, **options):
    """Which of the frames are said to come after a missing one."""
    numbers = FrameNumbers(b"\0\0\1" + sps(**options) + b"\0\0\1" + PPS)
    return [place for place, each in enumerate(frames) if numbers.misses_one(packet(each))]


def test_numbers_that_go_up_by_one_after_each_reference_miss_nothing():
    # I P b b P b b: a frame that is no reference has the number of the reference that follows.
    frames = [frame(0, idr=True), frame(1), frame(2, is_reference=False), frame(2, is_reference=False), frame(2)]
    assert faults([*frames, frame(3, is_reference=False), frame(3)]) == []


def test_numbers_begin_anew_after_the_largest_and_at_each_idr_picture():
    assert faults([frame(0, idr=True), *(frame(number % 16) for number in range(1, 40))]) == []
    assert faults([frame(0, idr=True), frame(1), frame(2), frame(0, idr=True), frame(1)]) == []


def test_a_reference_that_is_missing_is_noticed_at_the_next_frame():
    assert faults([frame(0, idr=True), frame(1), frame(3), frame(4)]) == [2]


def test_a_reference_that_comes_twice_is_noticed():
    assert faults([frame(0, idr=True), frame(1), frame(1), frame(2)]) == [2]


def test_a_missing_frame_that_is_no_reference_is_not_missed():
    assert faults([frame(0, idr=True), frame(1), frame(2)]) == []


def test_two_fields_share_a_number():
    fields = [frame(0, idr=True, field="10"), frame(0, field="11"), frame(1, field="10"), frame(1, field="11")]
    assert faults(fields, only_frames=0) == []
    assert faults([*fields, frame(3, field="10")], only_frames=0) == [4]


def test_gaps_that_the_stream_allows_are_none():
    assert faults([frame(0, idr=True), frame(1), frame(5)], gaps=1) == []


def test_reading_may_begin_at_any_number():
    assert faults([frame(7), frame(8), frame(10)]) == [2]


@pytest.mark.parametrize("num_bits", [4, 9, 16])
@pytest.mark.parametrize("profile", [66, 100])
def test_parameters_are_read_from_the_head_of_an_mp4_and_from_packets(num_bits, profile):
    parameters = sps(num_bits=num_bits, profile=profile)
    sizes = [len(unit).to_bytes(2, "big") for unit in (parameters, PPS)]
    head = AVCC_HEAD + b"\xe1" + sizes[0] + parameters + b"\x01" + sizes[1] + PPS
    numbers = FrameNumbers(head)
    in_band = FrameNumbers(AVCC_HEAD + b"\xe0\x00")
    for place, number in enumerate([0, 1, 2, 4, 5]):
        slice_ = frame(number, num_bits=num_bits, idr=number == 0)
        assert numbers.misses_one(packet(slice_, length_size=4)) == (place == 3)
        assert in_band.misses_one(packet(parameters, PPS, slice_, length_size=4)) == (place == 3)


def test_numbers_are_not_followed_beyond_a_change_of_the_head():
    numbers = FrameNumbers(b"\0\0\1" + sps() + b"\0\0\1" + PPS)
    assert not numbers.misses_one(packet(frame(0, idr=True)))
    assert not numbers.misses_one(FakePacket(b"\0\0\1" + frame(9), extradata_changes=True))
    assert not numbers.misses_one(packet(frame(12)))


def test_units_are_found_by_their_lengths_and_by_start_codes():
    assert list(nal_units(b"\0\2ab\0\1c", 2)) == [(2, 4), (6, 7)]
    assert [start for start, _ in nal_units(b"\0\0\0\1ab\0\0\1c", 0)] == [4, 9]
    assert nal_length_size(AVCC_HEAD) == 4
    assert nal_length_size(b"\0\0\0\1\x67") == 0


@settings(deadline=None)
@given(st.binary(max_size=80), st.lists(st.binary(max_size=60), max_size=4))
def test_no_bytes_make_it_fail(extradata, contents):
    for head in (extradata, AVCC_HEAD + extradata, b"\0\0\1" + sps() + b"\0\0\1" + PPS):
        numbers = FrameNumbers(head)
        for content in contents:
            for packed in (content, b"\0\0\1\x67" + content, b"\0\0\0\x09\x61" + content, b"\0\0\1\x41" + content):
                assert numbers.misses_one(FakePacket(packed)) in (True, False)


def test_a_number_of_impossible_length_takes_no_memory():
    """A header of 20 bytes that says that frames' numbers have 2^32 bits."""
    hostile = nal(0x67, f"{66:08b}{0:016b}{ue(0)}{ue(2**32 - 2)}{ue(2)}{ue(4)}0{ue(3)}{ue(3)}1")
    numbers = FrameNumbers(b"\0\0\1" + hostile + b"\0\0\1" + PPS)
    tracemalloc.start()
    assert not numbers.misses_one(packet(frame(0, idr=True)))
    assert not numbers.misses_one(packet(frame(9)))
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_many_long_parameter_sets_in_a_packet_take_little_time():
    hostile = packet(*[sps() + b"\x55" * 2000] * 2000, frame(0, idr=True))
    numbers = FrameNumbers(b"\0\0\1" + sps() + b"\0\0\1" + PPS)
    start_s = time.process_time()
    for _ in range(10):
        numbers.misses_one(hostile)
    assert time.process_time() - start_s < 2


@pytest.mark.parametrize(
    "x264",
    [
        "keyint=12:bframes=7:b-adapt=0:b-pyramid=normal:ref=8:scenecut=0",
        "keyint=12:bframes=3:open-gop=1:b-pyramid=strict",
        "keyint=12:bframes=0:intra-refresh=1",
        "keyint=12:bframes=3:interlaced=1:weightp=0",
        "keyint=12:bframes=3:cabac=0:slices=4:aud=1",
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".h264"])
def test_no_frame_of_a_whole_video_is_said_to_be_missing(tmp_path, write_frames, pan, x264, suffix):
    path = write_frames(tmp_path / f"x{suffix}", pan((1, 0), 50, height=64, width=64), x264=x264)
    assert misses(path) == []


def misses(path):
    with av.open(str(path), metadata_errors="replace") as container:
        video = container.streams.best("video")
        numbers = FrameNumbers(video.codec_context.extradata or b"")
        return [each.pts for each in container.demux(video) if each.size and numbers.misses_one(each)]


def test_no_frame_of_real_videos_is_said_to_be_missing(shared):
    paths = [*(shared / "data" / "surv_fight").rglob("*.mp4"), *(shared / "data" / "grid_s1" / "videos").glob("b*.mp4")]
    assert len(paths) > 200
    assert [path.name for path in paths if misses(path)] == []
