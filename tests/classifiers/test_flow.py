"""Classifiers of optical flow: first convolutions averaged from those of colours, and TSN's stacks."""

from __future__ import annotations

import pytest
import torch

from vidselect_classifiers import WeightsError, make_classifier, save_weights
from vidselect_classifiers.flow import averaged, first_convolution
from vidselect_classifiers.tsn import stacked


def test_kernels_are_the_mean_over_colours():
    weight = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])[:, :, None, None]
    assert averaged(weight, 2).flatten(1).tolist() == [[3, 3], [1, 1]]
    assert averaged(weight, 10).shape == (2, 10, 1, 1)


def test_a_stack_is_x_and_y_of_one_field_after_another():
    clips = torch.tensor([[[1, 2, 3], [10, 20, 30]]])[..., None, None]  # x and y of three fields
    assert stacked(clips).flatten().tolist() == [1, 10, 2, 20, 3, 30]


@pytest.mark.parametrize("name", ["tiny_r3d", "r2plus1d_18", "i3d", "x3d_xs", "s3d"])
def test_a_3d_network_of_flow_takes_two_channels(name):
    classifier = make_classifier(name, num_classes=3, modality="flow")
    convolution = first_convolution(classifier.network)[1]
    assert convolution.in_channels == 2
    assert classifier.gmacs_per_clip() < make_classifier(name, num_classes=3).gmacs_per_clip()


def test_weights_of_colours_are_averaged_and_weights_of_flow_kept(tmp_path):
    colours = make_classifier("tiny_r3d", weights="default")
    flow = make_classifier("tiny_r3d", weights="default", modality="flow")
    mean = colours.network.stem[0].weight.mean(1)
    assert torch.allclose(flow.network.stem[0].weight, torch.stack([mean, mean], dim=1))
    assert torch.equal(flow.network.fc.weight, colours.network.fc.weight)
    with torch.no_grad():
        flow.network.stem[0].weight[:, 1] += 1
    save_weights(flow, tmp_path / "flow.safetensors")
    again = make_classifier("tiny_r3d", weights=tmp_path / "flow.safetensors", modality="flow")
    assert torch.equal(again.network.stem[0].weight, flow.network.stem[0].weight)
    with pytest.raises(WeightsError, match=r"stem.0.weight \(8, 2, 3, 7, 7\) must be \(8, 3, 3, 7, 7\)"):
        make_classifier("tiny_r3d", weights=tmp_path / "flow.safetensors")


def test_the_blue_of_flow_says_nothing_and_128_is_nought():
    classifier = make_classifier("tiny_r3d", weights="default", modality="flow")
    clips = torch.randint(256, (2, 8, 3, 32, 32), dtype=torch.uint8)
    other = clips.clone()
    other[:, :, 2] = 7
    assert torch.equal(classifier(clips).logits, classifier(other).logits)
    assert classifier.preprocess(torch.full((1, 8, 3, 32, 32), 128, dtype=torch.uint8)).abs().max() < 1e-6


@pytest.mark.parametrize("name", ["tsn_resnet18", "tsn_bn_inception"])
def test_tsn_sees_one_frame_or_a_stack_of_ten_channels(name):
    colours = make_classifier(name, num_classes=4, crop=(64, 64))
    assert colours.input_shape == (1, 3, 64, 64)
    flow = make_classifier(name, num_classes=4, crop=(64, 64), modality="flow")
    assert flow.input_shape == (5, 3, 64, 64)
    assert first_convolution(flow.network)[1].in_channels == 10
    clips = torch.randint(256, (2, 5, 3, 64, 64), dtype=torch.uint8)
    assert flow(clips).logits.shape == (2, 4)
    with pytest.raises(ValueError, match=r"num_frames \(5\) of tsn_.* must be 1"):
        make_classifier(name, num_frames=5)


def test_bn_inception_has_as_many_parameters_as_published():
    """11 295 240 with a head of 1000 classes, of the checkpoint that TSN starts from."""
    network = make_classifier("tsn_bn_inception").network
    assert sum(value.numel() for value in network.parameters()) == 11_295_240
    state = network.state_dict()
    assert state["inception_4e_double_3x3_2.weight"].shape == (256, 256, 3, 3)
    assert state["inception_5a_1x1.weight"].shape == (352, 1056, 1, 1)
    assert network.eval().features(torch.zeros(1, 3, 224, 224)).shape == (1, 1024)


def test_a_modality_must_be_known():
    with pytest.raises(ValueError, match=r"modality \('depth'\) must be one of rgb, flow"):
        make_classifier("tiny_r3d", modality="depth")
