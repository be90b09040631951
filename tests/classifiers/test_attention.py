"""Temporal attention, which similarity guided sampling is compared with: weights by hand, cost, saving."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidselect_classifiers import WeightsError, make_classifier, save_weights, weights_sha256
from vidselect_classifiers.attention import TemporalAttention, with_attention
from vidselect_env.fitting.options import ClassifierOptions


def test_attention_by_hand():
    # Four channels, of which one is gathered. Two moments, whose means are (1, 0, 0, 0) and (3, 0, 0, 0).
    layer = TemporalAttention(4, stage=1)
    for module in (layer.gather, layer.attend, layer.distribute, layer.widen):
        nn.init.zeros_(module.weight)
        nn.init.zeros_(module.bias)
    with torch.no_grad():
        layer.gather.weight[0, 0] = 1  # A = (1, 3)
        layer.attend.weight[0, 0] = 0.5 * torch.log(torch.tensor(3.0))  # softmax of (0.55, 1.65) over time: 1/4, 3/4
        layer.widen.weight[:, 0, 0] = torch.tensor([2.0, 1.0, 0.0, 0.0])
    maps = torch.zeros(1, 4, 2, 1, 2)
    maps[0, 0, 0], maps[0, 0, 1] = torch.tensor([[0.0, 2.0]]), torch.tensor([[3.0, 3.0]])
    found = layer(maps)
    # Gathered 1/4 * 1 + 3/4 * 3 = 2.5; one channel is given back to each moment whole; widened 5 for the first plane.
    assert found[0, 0].flatten(1).tolist() == [pytest.approx([0, 10]), pytest.approx([15, 15])]
    assert not found[0, 1:].any()


def test_it_keeps_every_map_and_so_saves_nothing():
    plain = make_classifier("x3d_s", num_frames=4, crop=(64, 64))
    attentive = with_attention(plain, after="blocks.1")
    assert attentive.stages == ("blocks.0", "blocks.1", "attention", "blocks.2", "blocks.3", "blocks.4")
    assert plain.gmacs_per_clip() < attentive.gmacs_per_clip() < 1.01 * plain.gmacs_per_clip()
    output = attentive(torch.zeros(2, 4, 3, 64, 64, dtype=torch.uint8))
    assert output.num_bins is None


def test_weights_with_and_without_it_are_taken(tmp_path):
    plain = make_classifier("tiny_r3d", weights="default")
    attentive = make_classifier("tiny_r3d", weights="default", attention="layer2")
    assert torch.equal(attentive.network.layer3[0].conv1[0].weight, plain.network.layer3[0].conv1[0].weight)
    save_weights(attentive, tmp_path / "a.safetensors")
    again = make_classifier("tiny_r3d", weights=tmp_path / "a.safetensors", attention="layer2")
    assert weights_sha256(again) == weights_sha256(attentive)
    with pytest.raises(WeightsError, match=r"attention\.gather\.weight"):
        make_classifier("tiny_r3d", weights=tmp_path / "a.safetensors")
    other = make_classifier("tiny_r3d", attention="layer1")
    with pytest.raises(WeightsError, match=r"the weights' attention is after stage \[2\], the network's \[1\]"):
        other.network.attention.set_extra_state(attentive.network.attention.get_extra_state())


def test_where_it_cannot_stand_is_said():
    with pytest.raises(ValueError, match=r"is what sgs .* is compared with: take one of them"):
        make_classifier("tiny_r3d", attention="layer2", sgs={"after": "layer2"})
    with pytest.raises(ValueError, match="attention after 'layer4' of 'tiny_r3d' must be after one of stem, layer1"):
        make_classifier("tiny_r3d", attention="layer4")
    with pytest.raises(ValueError, match="of networks of one pathway, and 'slowfast_8x8_r18' has 2"):
        make_classifier("slowfast_8x8_r18", num_frames=8, crop=(32, 32), attention="layer1")
    with pytest.raises(ValueError, match="has attention already"):
        with_attention(make_classifier("tiny_r3d", attention="layer1"), after="layer2")


def test_the_option_reaches_the_network():
    assert "attention" in ClassifierOptions(attention="layer1").make_classifier().stages
