"""Claims of video reading on real files that break naive readers, against a plain decode of everything."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from vidselect_env.video.decode import FrameSize, read_frames
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import index_video

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of shared videos is not there")

SIZE = FrameSize((30, 44), (28, 33))

# name: frames, upright (width, height), clockwise degrees, codec, sound. Checked by decoding all of it, and
# the rotated ones by eye.
ODD_VIDEOS = {
    "SOX5yA1l24A.mp4": (332, (340, 256), 0, "h264", True),
    "WUzgd7C1pWA.mp4": (327, (340, 256), 0, "h264", True),
    "decord_flipping_a_pancake.mkv": (310, (426, 240), 0, "h264", True),
    "decord_unordered.mov": (4, (50, 50), 0, "h264", False),
    "decord_video_0.mov": (3, (568, 320), 0, "h264", False),
    "decord_video_90.mov": (3, (320, 568), 90, "h264", False),
    "decord_video_180.mov": (3, (568, 320), 180, "h264", False),
    "decord_video_270.mov": (3, (320, 568), 270, "h264", False),
    # 84 packets: the last of them only ends a packet that held two frames.
    "hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi": (83, (320, 240), 0, "mpeg4", False),
    "mmaction2_demo_arm_wrestling.mp4": (280, (340, 256), 0, "h264", False),
    "torchcodec_av1_video.mkv": (125, (640, 360), 0, "av1", False),
    "torchcodec_bt709_full_range.mp4": (30, (1280, 720), 0, "h264", False),
    "torchcodec_h264_10bits.mp4": (30, (200, 200), 0, "h264", False),
    "torchcodec_h265_10bits.mp4": (30, (200, 200), 0, "hevc", False),
    "torchcodec_h265_video.mp4": (10, (128, 128), 0, "hevc", False),
    # Two video streams: 320 x 180 and, the one that players choose, this.
    "torchcodec_nasa_13013.mp4": (390, (480, 270), 0, "h264", True),
    "v_SoccerJuggling_g23_c01.avi": (240, (320, 240), 0, "mpeg4", False),
}
SURVEILLANCE = ["fight/fi001.mp4", "fight/fi079.mp4", "noFight/nofi005.mp4", "noFight/nofi090.mp4"]


def decode_everything(path, quarter_turns):
    """All frames at SIZE as the decoder gives them, turned clockwise: (num_frames, 3, 28, 33) uint8."""
    height, width = (44, 30) if quarter_turns % 2 else (30, 44)
    frames = []
    with av.open(str(path), metadata_errors="replace") as container:
        for frame in container.decode(container.streams.best("video")):
            small = frame.reformat(width=width, height=height, format="gbrp", interpolation="AREA", threads=1)
            frames.append(np.rot90(small.to_ndarray(), -quarter_turns)[1:29, 6:39])
    # A centre crop of 33 from 44 begins at 5.5, which torchvision rounds to the even 6.
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", ODD_VIDEOS)
def test_odd_video_is_what_it_is_known_to_be(name):
    num_frames, (width, height), rotation, codec, has_audio = ODD_VIDEOS[name]
    info = index_video(DATA / "odd_videos" / name).info
    assert info.num_frames == num_frames
    assert (info.width, info.height, info.rotation) == (width, height, rotation)
    assert (info.codec, info.has_audio) == (codec, has_audio)


@pytest.mark.parametrize(
    "name", [f"odd_videos/{name}" for name in ODD_VIDEOS] + [f"surv_fight/{name}" for name in SURVEILLANCE]
)
def test_frames_equal_those_of_a_plain_decode(name):
    path = DATA / name
    index = index_video(path)
    num_frames = index.info.num_frames
    truth = decode_everything(path, index.info.rotation // 90)
    assert len(truth) == num_frames

    (everything,) = read_frames(path, range(num_frames), sizes=[SIZE], index=index)
    assert torch.equal(everything, truth)
    generator = torch.Generator().manual_seed(0)
    for num_wanted in (1, 1, 2, 5):
        wanted = torch.randint(num_frames, (num_wanted,), generator=generator)
        (frames,) = read_frames(path, wanted, sizes=[SIZE], index=index)
        assert torch.equal(frames, truth[wanted])


def test_corrupted_video_raises_one_error_with_its_name_and_reason():
    path = DATA / "odd_videos" / "decord_corrupted.mp4"
    with pytest.raises(VideoError, match=r"decord_corrupted\.mp4.*Invalid data"):
        read_frames(path, range(50), sizes=[SIZE])


def test_every_odd_video_is_in_the_table():
    present = {path.name for path in (DATA / "odd_videos").iterdir()}
    assert present == {*ODD_VIDEOS, "decord_corrupted.mp4"}
