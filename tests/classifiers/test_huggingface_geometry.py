"""What a Hugging Face image processor's settings mean for a clip: sizes, mean, std, frames. No model is made."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from vidselect_classifiers.huggingface import clip_geometry


def settings(**changes: Any) -> dict[str, Any]:
    """Of VideoMAE's processor."""
    return {
        "do_resize": True,
        "size": {"shortest_edge": 256},
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 192},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.3, 0.4],
    } | changes


CONFIG = SimpleNamespace(model_type="videomae", num_frames=16)


def seen(changes: dict[str, Any], pixel: float) -> list[float]:
    """What the network sees of a grey pixel in 0 to 255."""
    geometry = clip_geometry(settings(**changes), CONFIG)
    return [(pixel / 255 - mean) / std for mean, std in zip(geometry.mean, geometry.std, strict=True)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [(51 / 255 - 0.5) / 0.2, (51 / 255 - 0.4) / 0.3, (51 / 255 - 0.3) / 0.4]),
        # ViViT's: to [-1, 1], and then normalised all the same.
        ({"rescale_factor": 1 / 127.5, "offset": True}, [(-0.6 - 0.5) / 0.2, (-0.6 - 0.4) / 0.3, (-0.6 - 0.3) / 0.4]),
        ({"do_normalize": False}, [0.2] * 3),
        ({"do_normalize": False, "do_rescale": False}, [51.0] * 3),
    ],
)
def test_mean_and_std_do_what_the_processor_does(changes: dict[str, Any], expected: list[float]) -> None:
    assert seen(changes, 51.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "resize", "crop"),
    [
        ({}, 256, (224, 192)),
        ({"size": {"height": 240, "width": 320}}, (240, 320), (224, 192)),
        ({"size": {"height": 240, "width": 320}, "do_center_crop": False}, (240, 320), (240, 320)),
        ({"do_resize": False}, (224, 192), (224, 192)),
        ({"size": 256, "crop_size": 224}, 256, (224, 224)),
    ],
)
def test_sizes_are_the_processors(changes: dict[str, Any], resize: Any, crop: tuple[int, int]) -> None:
    geometry = clip_geometry(settings(**changes), CONFIG)
    assert (geometry.resize, geometry.crop) == (resize, crop)


def test_frames_of_no_fixed_size_are_refused() -> None:
    with pytest.raises(ValueError, match="the processor of 'hf:x' gives frames of no fixed size"):
        clip_geometry(settings(do_center_crop=False), CONFIG, place="x")


def test_strides_are_those_of_the_published_weights_where_they_are_known() -> None:
    def stride(model_type: str, num_frames: int) -> int:
        return clip_geometry(settings(), SimpleNamespace(model_type=model_type, num_frames=num_frames)).frame_stride

    assert [stride("videomae", 16), stride("vivit", 32), stride("timesformer", 96)] == [4, 2, 4]
    assert [stride("videomae", 8), stride("newest", 16)] == [1, 1]
    assert dataclasses.replace(clip_geometry(settings(), CONFIG), frame_stride=1).span == 16


def test_a_configuration_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the configuration of 'hf:x' \(resnet\) has no num_frames"):
        clip_geometry(settings(), SimpleNamespace(model_type="resnet"), place="x")
