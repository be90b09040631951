"""Claims of compressed-domain signals, mostly on pans: a texture that moves by whole pixels a frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from vidselect_env.video import compressed
from vidselect_env.video.compressed import CompressedWatcher, accumulate
from vidselect_env.video.decode import FrameSize, read_frames, read_sets
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import index_video
from vidselect_env.video.stream import stream_frames

HEIGHT, WIDTH = 128, 160
SETTINGS = {"preset": "medium", "fps": 25}
read_compressed: Any = compressed.read_compressed  # tests know which signals they asked for
WHOLE = FrameSize((HEIGHT, WIDTH), (HEIGHT, WIDTH))


MPEG = {"bit_rate": 5_000_000, "gop_size": 12}
KINDS: dict[str, dict[str, Any]] = {
    "default.mp4": {},
    "no_b_frames.mp4": {"x264": "bframes=0"},
    "one_b_frame.mp4": {"x264": "bframes=1:b-adapt=0"},
    # Of two B-frames between anchors x264 makes the first a reference of the second: only the packets tell.
    "two_b_frames.mp4": {"x264": "bframes=2:b-adapt=0"},
    "pyramid.mp4": {"x264": "bframes=3:b-adapt=0"},
    "pyramid.ts": {"x264": "bframes=3:b-adapt=0"},
    "pyramid.mkv": {"x264": "bframes=5:b-adapt=0:keyint=12"},
    "flat.mkv": {"x264": "bframes=3:b-adapt=0:b-pyramid=none"},
    "one_reference.mp4": {"x264": "ref=1:bframes=3:b-adapt=0"},
    "open_gop.mkv": {"x264": "keyint=10:open-gop=1:bframes=3:b-adapt=0:scenecut=0"},
    "no_timestamps.h264": {"x264": "bframes=3:b-adapt=0:b-pyramid=none"},
    "mpeg4.avi": {"codec": "mpeg4", **MPEG},
    "mpeg4_b_frames.mp4": {"codec": "mpeg4", "max_b_frames": 2, **MPEG},
    "mpeg2.ts": {"codec": "mpeg2video", "max_b_frames": 2, **MPEG},
    "wmv2.avi": {"codec": "wmv2", **MPEG},
}
VELOCITIES = [(2, 0), (0, -2), (-2, 1)]


@pytest.mark.parametrize("velocity", VELOCITIES)
@pytest.mark.parametrize("kind", KINDS)
def test_displacement_of_a_pan_is_the_pan(tmp_path, write_frames, pan, kind, velocity):
    path = write_frames(tmp_path / kind, pan(velocity, 30), **SETTINGS | KINDS[kind])
    signals = read_compressed(path, range(30))
    assert signals.displacement.shape == (30, 2, HEIGHT // 16, WIDTH // 16)
    is_i_frame = signals.last_intra == torch.arange(30)
    assert (signals.displacement[is_i_frame] == 0).all()

    inner = signals.displacement[~is_i_frame][:, :, 1:-1, 1:-1]
    is_right = (inner - torch.tensor(velocity).view(1, 2, 1, 1)).abs().amax(1) < 0.2
    # FFmpeg exports no vectors of MPEG-4's B-frames; those before an I-frame have none to be derived from.
    assert is_right.float().mean() > (0.7 if kind == "mpeg4_b_frames.mp4" else 0.95)


@pytest.fixture(scope="module")
def pans(tmp_path_factory, write_frames, pan):
    """Every kind of video, 60 frames that move right and down: name -> path."""
    folder = tmp_path_factory.mktemp("pans")
    return {name: write_frames(folder / name, pan((2, 1), 60), **SETTINGS | own) for name, own in KINDS.items()}


@pytest.fixture(scope="module")
def video(pans):
    return pans["pyramid.mkv"]


@pytest.mark.parametrize("kind", KINDS)
def test_frames_read_sparsely_have_the_signals_of_a_reading_of_everything(pans, kind):
    index = index_video(pans[kind])
    sizes = {"residual_size": FrameSize(64, (60, 64)), "intra_size": FrameSize(32, (32, 32))}
    everything = read_compressed(pans[kind], range(60), index=index, **sizes)
    for wanted in ([3], [10, 40, 59], [14], [23, 58], [47, 2, 47], [11, 12, 35]):
        some = read_compressed(pans[kind], wanted, index=index, **sizes)
        for name in ("displacement", "residual", "intra", "last_intra"):
            assert torch.equal(getattr(some, name), getattr(everything, name)[wanted]), (name, wanted)


def test_last_intra_is_the_i_frame_at_or_before(video):
    size = FrameSize(64, (64, 64))
    signals = read_compressed(video, range(60), intra_size=size)
    assert signals.last_intra.tolist() == [number // 12 * 12 for number in range(60)]
    (frames,) = read_frames(video, signals.last_intra, sizes=[size])
    assert torch.equal(signals.intra, frames)


def test_signals_that_are_not_asked_for_are_none(video):
    signals = read_compressed(video, [5, 6])
    assert signals.residual is None
    assert signals.intra is None
    assert read_compressed(video, []).displacement.shape == (0, 2, HEIGHT // 16, WIDTH // 16)


def test_grid_averages_the_cells(video):
    cells = read_compressed(video, [5, 40]).displacement
    coarse = read_compressed(video, [5, 40], grid=(2, 5)).displacement
    assert torch.allclose(coarse, cells.view(2, 2, 2, 4, 5, 2).mean(dim=(3, 5)), atol=1e-6)


def test_watcher_makes_the_same_signals_in_a_pass_that_others_read_in(video):
    index = index_video(video)
    wanted = np.array([7, 30, 31])
    watcher = CompressedWatcher(index, wanted, residual_size=WHOLE)
    (frames,) = read_sets(video, [(torch.tensor([[50, 2]]), WHOLE)], index=index, watchers=[watcher])
    assert torch.equal(frames[0], read_frames(video, [50, 2], sizes=[WHOLE])[0])
    alone = read_compressed(video, wanted, residual_size=WHOLE)
    signals: Any = watcher.signals()
    assert torch.equal(signals.displacement, alone.displacement)
    assert torch.equal(signals.residual, alone.residual)


def test_watcher_holds_a_few_frames_however_long_the_video(pans):
    for kind, path in pans.items():
        index = index_video(path)
        watcher = CompressedWatcher(index, np.arange(60))
        for number, frame in stream_frames(path, np.arange(60), index=index, export_vectors=True):
            watcher.see(number, frame)
            assert len(watcher._past) + len(watcher._pending) <= 7, kind


def test_watcher_that_missed_a_wanted_frame_says_so(video):
    watcher = CompressedWatcher(index_video(video), np.array([3, 9]))
    with pytest.raises(ValueError, match="frame 3 is wanted"):
        watcher.signals()


@pytest.mark.parametrize(("rotation", "velocity"), [(90, (1, 3)), (180, (-3, 1)), (270, (-1, -3))])
def test_signals_of_a_turned_video_are_upright(tmp_path, write_frames, pan, rotation, velocity):
    # Stored as moving right by 3 and up by 1; turned clockwise by 90 degrees, right is down and up is right.
    turned = write_frames(tmp_path / "turned.mp4", pan((3, -1), 8), rotation=rotation, **SETTINGS)
    straight = write_frames(tmp_path / "straight.mp4", pan((3, -1), 8), **SETTINGS)
    upright = WHOLE if rotation == 180 else FrameSize((WIDTH, HEIGHT), (WIDTH, HEIGHT))
    signals = read_compressed(turned, [4], residual_size=upright, intra_size=upright)
    stored = read_compressed(straight, [4], residual_size=WHOLE, intra_size=WHOLE)
    inner = signals.displacement[0, :, 2:-2, 2:-2]
    assert torch.allclose(inner.mean(dim=(1, 2)), torch.tensor(velocity).float(), atol=0.1)
    for name in ("residual", "intra"):
        straightened = torch.rot90(getattr(signals, name), rotation // 90, dims=(2, 3))
        assert torch.equal(straightened, getattr(stored, name))


def test_accumulated_displacement_of_a_pan_grows_from_the_i_frame_on():
    displacement = torch.tensor([3.0, -1.0]).view(1, 2, 1, 1).repeat(6, 1, 4, 5)
    last_intra = torch.tensor([0, 0, 0, 3, 3, 3])
    displacement[[0, 3]] = 0
    total = accumulate(displacement, last_intra)
    assert total[:, 0, 2, 2].tolist() == pytest.approx([0, 3, 6, 0, 3, 6])
    assert total[:, 1, 1, 3].tolist() == pytest.approx([0, -1, -2, 0, -1, -2])


def test_accumulated_displacement_follows_what_moves():
    displacement = torch.zeros(3, 2, 1, 4)
    displacement[1, 0, 0, 0] = 16  # what was in the first cell
    displacement[2, 0, 0, 1] = 16  # is in the second now, and moves on
    total = accumulate(displacement, torch.zeros(3, dtype=torch.int64))
    assert total[2, 0, 0].tolist() == pytest.approx([16, 32, 0, 0])


@pytest.mark.parametrize(
    ("name", "codec"), [("torchcodec_av1_video.mkv", "av1"), ("torchcodec_h265_video.mp4", "hevc")]
)
def test_codec_without_vectors_is_named(shared, name, codec):
    with pytest.raises(VideoError, match=rf"{name}.*codec '{codec}' exports no motion vectors"):
        read_compressed(shared / "data" / "odd_videos" / name, [0])


def test_codec_without_motion_is_named(tmp_path, write_frames, pan):
    path = write_frames(tmp_path / "pictures.avi", pan((1, 0), 3), codec="mjpeg", pix_fmt="yuvj420p")
    with pytest.raises(VideoError, match=r"codec 'mjpeg' exports no motion vectors: re-encode as H\.264"):
        read_compressed(path, [0])


REAL = [
    "odd_videos/SOX5yA1l24A.mp4",
    "odd_videos/WUzgd7C1pWA.mp4",
    "odd_videos/decord_flipping_a_pancake.mkv",
    "odd_videos/decord_unordered.mov",
    "odd_videos/decord_video_0.mov",
    "odd_videos/decord_video_90.mov",
    "odd_videos/decord_video_180.mov",
    "odd_videos/decord_video_270.mov",
    "odd_videos/hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi",
    "odd_videos/mmaction2_demo_arm_wrestling.mp4",
    "odd_videos/torchcodec_bt709_full_range.mp4",
    "odd_videos/torchcodec_h264_10bits.mp4",
    "odd_videos/torchcodec_nasa_13013.mp4",
    "odd_videos/v_SoccerJuggling_g23_c01.avi",
    "surv_fight/fight/fi001.mp4",
    "surv_fight/fight/fi005.mp4",
    "surv_fight/fight/fi079.mp4",
    "surv_fight/noFight/nofi005.mp4",
    "surv_fight/noFight/nofi090.mp4",
]


STILL = ["odd_videos/decord_unordered.mov"]


@pytest.mark.parametrize("name", REAL)
def test_real_files_have_finite_signals_that_do_not_depend_on_how_they_are_read(shared, name):
    path = shared / "data" / name
    index = index_video(path)
    info, sizes = index.info, {"residual_size": FrameSize(40, (32, 40)), "intra_size": FrameSize(24, (24, 24))}
    signals = read_compressed(path, range(info.num_frames), index=index, **sizes)
    assert signals.displacement.shape == (info.num_frames, 2, -(-info.height // 16), -(-info.width // 16))
    assert signals.residual.shape == (info.num_frames, 3, 32, 40)
    assert signals.intra.shape == (info.num_frames, 3, 24, 24)
    assert signals.displacement.isfinite().all()
    assert signals.displacement.abs().max() < max(info.height, info.width)
    assert signals.displacement.any() or name in STILL
    assert signals.residual.abs().float().mean() < 20
    assert (signals.last_intra <= torch.arange(info.num_frames)).all()

    wanted = torch.linspace(0, info.num_frames - 1, 4).long().tolist()
    some = read_compressed(path, wanted, index=index, **sizes)
    for field in ("displacement", "residual", "intra", "last_intra"):
        assert torch.equal(getattr(some, field), getattr(signals, field)[wanted]), field
