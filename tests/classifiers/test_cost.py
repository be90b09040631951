"""Multiply-adds against the published figures."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidselect_classifiers import gmacs, make_classifier


def test_r3d_18_on_8_frames_costs_what_the_dsn_paper_says() -> None:
    assert make_classifier("r3d_18", num_frames=8).gmacs_per_clip() == pytest.approx(20.36, rel=0.002)


def test_r2plus1d_34_on_32_frames_costs_what_the_dsn_paper_says() -> None:
    assert make_classifier("r2plus1d_34", num_frames=32).gmacs_per_clip() == pytest.approx(152.88, rel=0.006)


@pytest.mark.parametrize(
    ("name", "published", "num_frames"),
    [("s3d", 17.979, 16), ("mvit_v2_s", 64.224, 16), ("swin3d_t", 43.882, 16), ("r3d_18", 40.697, 16)],
)
def test_cost_is_what_torchvision_publishes(name: str, published: float, num_frames: int) -> None:
    assert make_classifier(name, num_frames=num_frames).gmacs_per_clip() == pytest.approx(published, abs=1e-3)


def test_a_convolution_costs_its_kernel_at_each_output() -> None:
    convolution = nn.Conv2d(3, 5, kernel_size=2, stride=2)
    # 4 x 4 outputs, each 5 planes of 3 x 2 x 2 products; two images.
    assert gmacs(convolution, (2, 3, 8, 8)) == pytest.approx(2 * 4 * 4 * 5 * 3 * 2 * 2 / 1e9)


def test_counting_leaves_the_classifier_as_it_was() -> None:
    classifier = make_classifier("tiny_r3d").train()
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    classifier.gmacs_per_clip()
    assert classifier.training
    for key, value in classifier.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, before[key])
