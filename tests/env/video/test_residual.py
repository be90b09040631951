"""Claims of residuals: a frame is its motion-compensated reference and its residual."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch

from vidselect_env.video import compressed, residual, vectors
from vidselect_env.video.decode import FrameSize
from vidselect_env.video.index import index_video
from vidselect_env.video.stream import stream_frames

HEIGHT, WIDTH = 128, 160
read_compressed: Any = compressed.read_compressed  # tests know which signals they asked for
WHOLE = FrameSize((HEIGHT, WIDTH), (HEIGHT, WIDTH))


def test_residual_of_a_pan_is_small_and_that_of_a_cut_is_not(tmp_path, write_frames, pan):
    pictures = [*pan((2, 0), 10, seed=0), *pan((2, 0), 10, seed=1)]
    path = write_frames(tmp_path / "cut.mp4", pictures, x264="scenecut=0:bframes=0")
    signals = read_compressed(path, range(20), residual_size=WHOLE)
    assert signals.last_intra.tolist() == [0] * 20
    size = signals.residual[:, :, 16:-16, 16:-16].abs().float().mean(dim=(1, 2, 3))
    assert size[10] > 20
    assert (size[1:10] < 1).all()
    assert (size[11:] < 3).all()


def decoded_rgb(path, *, with_vectors=False):
    index = index_video(path)
    for _, frame in stream_frames(path, np.arange(index.info.num_frames), index=index, export_vectors=with_vectors):
        rgb = frame.reformat(format="rgb24", interpolation="AREA", threads=1).to_ndarray()
        yield frame, torch.from_numpy(rgb).permute(2, 0, 1)


def test_residual_and_reference_make_up_the_decoded_frame_exactly(shared, monkeypatch):
    path = shared / "data" / "surv_fight" / "fight" / "fi001.mp4"
    info = index_video(path).info
    made = []
    predict = residual._predict

    def recorded(*args):
        made.append(predict(*args))
        return made[-1]

    monkeypatch.setattr(residual, "_predict", recorded)
    whole = FrameSize((info.height, info.width), (info.height, info.width))
    signals = read_compressed(path, range(info.num_frames), residual_size=whole)
    references = iter(made)
    kinds = set()
    for number, (frame, rgb) in enumerate(decoded_rgb(path)):
        kinds.add(int(frame.pict_type))
        if signals.last_intra[number] != number:
            rgba = next(references).view(np.uint8).reshape(-1, made[0].shape[1], 4)[: info.height, : info.width]
            reference = torch.from_numpy(rgba[..., :3].copy()).permute(2, 0, 1)
            assert torch.equal(signals.residual[number] + reference, rgb.to(torch.int16)), number
    assert kinds == {1, 2, 3}  # the file has I-, P- and B-frames
    assert next(references, None) is None


def test_prediction_of_a_p_frame_is_the_block_that_its_vector_points_at(tmp_path, write_frames, pan):
    path = write_frames(tmp_path / "p.mp4", pan((3, -2), 4), x264="bframes=0:ref=1")
    frames = list(decoded_rgb(path, with_vectors=True))
    residual = read_compressed(path, [2], residual_size=WHOLE).residual[0]
    before, now = frames[1][1].int(), frames[2][1].int()
    checked = 0
    for vector in frames[2][0].side_data.get("MOTION_VECTORS"):
        rows, columns = np.arange(vector.h) - vector.h // 2, np.arange(vector.w) - vector.w // 2
        from_y = np.floor(vector.motion_y / vector.motion_scale + 0.5) + vector.dst_y + rows
        from_x = np.floor(vector.motion_x / vector.motion_scale + 0.5) + vector.dst_x + columns
        origin = np.ix_(range(3), from_y.clip(0, HEIGHT - 1).astype(int), from_x.clip(0, WIDTH - 1).astype(int))
        block = np.ix_(range(3), vector.dst_y + rows, vector.dst_x + columns)
        assert torch.equal(now[block] - before[origin], residual[block].int())
        checked += vector.w * vector.h
    assert checked > HEIGHT * WIDTH / 2


def test_prediction_from_both_sides_is_the_mean_rounded_up_and_edges_are_drawn_out():
    rng = np.random.default_rng(0)
    high, wide, reach = 4, 6, 60
    pictures = rng.integers(0, 256, (2, 8 * high, 8 * wide, 4), dtype=np.uint8)
    motion = rng.integers(-reach, reach, (2, high, wide, 2)).astype(np.float32)
    present = rng.random((2, high, wide)) < 0.6
    assert {tuple(pair) for pair in present.reshape(2, -1).T.tolist()} == set(product([True, False], repeat=2))
    bordered = [np.pad(p.view(np.uint32)[..., 0], vectors.BLOCK, mode="edge") for p in pictures]
    packed = residual._predict(bordered, vectors.Vectors(motion, present))
    predicted = packed.view(np.uint8).reshape(8 * high, 8 * wide, 4)
    for y, x in product(range(8 * high), range(8 * wide)):
        sides = [side for side in (0, 1) if present[side, y // 8, x // 8]]
        origins = []
        for side in sides:
            right, down = motion[side, y // 8, x // 8].astype(int)
            at = np.clip(y + down, 0, 8 * high - 1), np.clip(x + right, 0, 8 * wide - 1)
            origins.append(pictures[side][at].astype(int))
        expected = (sum(origins) + len(sides) // 2) // len(sides) if sides else pictures[0, y, x]
        assert (predicted[y, x] == expected).all()
