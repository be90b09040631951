"""The I3D port: padding by hand, pooling, and known answers on real videos."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.functional import center_crop, resize

from vidselect_classifiers import ClipClassifier, make_classifier
from vidselect_classifiers.i3d import I3D, pad_same

SHARED = Path(__file__).resolve().parents[3] / "shared"
WEIGHTS = SHARED / "weights" / "i3d_rgb_kinetics400.safetensors"
VIDEOS = SHARED / "data" / "odd_videos"

needs_shared = pytest.mark.skipif(
    not (WEIGHTS.is_file() and VIDEOS.is_dir()),
    reason="the I3D weights and the videos lie in a folder 'shared' beside the repository, absent here",
)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "after"),
    [
        (8, 3, 1, 1, 1),
        (8, 3, 2, 0, 1),  # 4 outputs need 9 inputs
        (7, 3, 2, 1, 1),  # 4 outputs need 9 inputs
        (224, 7, 2, 2, 3),  # 112 outputs need 229 inputs
        (9, 7, 2, 3, 3),  # 5 outputs need 15 inputs
        (4, 2, 2, 0, 0),
        (5, 1, 1, 0, 0),
    ],
)
def test_same_padding_puts_the_odd_zero_at_the_end(
    size: int, kernel: int, stride: int, before: int, after: int
) -> None:
    ones = torch.ones(1, 1, size, 1, 1)
    padded = pad_same(ones, kernel=(kernel, 1, 1), stride=(stride, 1, 1)).flatten()
    assert padded.tolist() == [0.0] * before + [1.0] * size + [0.0] * after


def test_same_padding_keeps_the_axes_apart() -> None:
    padded = pad_same(torch.ones(1, 1, 8, 4, 7), kernel=(7, 2, 3), stride=(2, 2, 1))
    assert padded.shape == (1, 1, 13, 4, 9)


@pytest.mark.parametrize("num_frames", [8, 9, 13, 33])
def test_any_number_of_frames_from_8_on_is_taken(num_frames: int) -> None:
    classifier = make_classifier("i3d", num_classes=3, num_frames=num_frames, crop=(32, 32))
    with torch.inference_mode():
        output = classifier(torch.zeros(1, *classifier.input_shape, dtype=torch.uint8))
    assert output.logits.shape == (1, 3)


def test_logits_are_averaged_over_time() -> None:
    # 24 frames give maps of 3 times, 2 pooled windows: logits at each, then the mean of the two.
    torch.manual_seed(0)
    network = I3D(num_classes=5).eval()
    maps: list[Tensor] = []
    network.get_submodule("Mixed_5c").register_forward_hook(lambda _, __, out: maps.append(out))
    with torch.inference_mode():
        logits = network(torch.randn(1, 3, 24, 32, 32))
        windows = functional.avg_pool3d(maps[0], (2, 1, 1), stride=1)
        each_time = network.logits(windows)
    assert each_time.shape == (1, 5, 2, 1, 1)
    torch.testing.assert_close(logits, each_time.mean(dim=(2, 3, 4)))


@needs_shared
def test_kinetics_weights_come_with_the_kinetics_names_in_the_published_order() -> None:
    names = (SHARED / "weights" / "kinetics400_label_map.txt").read_text().splitlines()
    assert make_classifier("i3d", weights=WEIGHTS).class_names == tuple(names)


def first_frames(path: Path, num_frames: int) -> Tensor:
    """(T, 3, 224, 224) uint8: the first frames, or all there are, short side 256, centre crop."""
    frames = []
    with av.open(str(path), metadata_errors="replace") as container:
        for frame in container.decode(video=0):
            frames.append(torch.from_numpy(frame.to_ndarray(format="rgb24")))
            if len(frames) == num_frames:
                break
    return center_crop(resize(torch.stack(frames).permute(0, 3, 1, 2), [256]), [224, 224])


@pytest.fixture(scope="module")
def pretrained() -> ClipClassifier:
    return make_classifier("i3d", weights=WEIGHTS)


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize(
    ("video", "action"),
    [
        ("mmaction2_demo_arm_wrestling.mp4", "arm wrestling"),
        ("decord_flipping_a_pancake.mkv", "flipping pancake"),
        ("v_SoccerJuggling_g23_c01.avi", "juggling soccer ball"),
        ("hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi", "cartwheeling"),
    ],
)
def test_pretrained_i3d_knows_the_action(pretrained: ClipClassifier, video: str, action: str) -> None:
    with torch.inference_mode():
        logits = pretrained(first_frames(VIDEOS / video, 64)[None]).logits
    assert pretrained.class_names is not None
    assert pretrained.class_names[int(logits.argmax())] == action
