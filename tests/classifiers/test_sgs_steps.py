"""Sampling that compares maps with what is usual at their places in time."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from vidselect_classifiers import WeightsError, make_classifier, save_weights
from vidselect_classifiers.sgs import SimilarityGuidedSampling, with_sgs
from vidselect_classifiers.sgs_network import StepNetwork


def still_clips_between_zeros() -> Tensor:
    """Maps (64, 32, 4, 2, 2) that are the same at all four steps, but for zeros that halve the first and the last."""
    torch.manual_seed(0)
    colours = 1000 * (1 + torch.rand(64, 32, 1, 1, 1))
    return colours.expand(-1, -1, 4, 2, 2) * torch.tensor([0.5, 1, 1, 0.5])[:, None, None]


def norm_of(embedding_dim: int, num_steps: int) -> StepNetwork:
    return StepNetwork(nn.BatchNorm1d(embedding_dim * num_steps), num_steps=num_steps)


def kept(layer: SimilarityGuidedSampling, maps: Tensor) -> list[int]:
    return sorted(layer(maps).lengths.unique().tolist())


def test_every_step_has_mean_0_and_deviation_1_of_its_own():
    embedding = torch.tensor([[[1.0, 10.0]], [[3.0, 30.0]]])  # two clips, L = 1, T = 2
    torch.testing.assert_close(norm_of(1, 2)(embedding), torch.tensor([[[-1.0, -1.0]], [[1.0, 1.0]]]))
    together = nn.BatchNorm1d(1)(embedding)
    assert together[0, 0, 0] < together[1, 0, 0] < together[0, 0, 1] < 0 < together[1, 0, 1]


def test_a_still_clip_is_merged_into_one_map_a_pair_although_zeros_stand_around_it():
    maps = still_clips_between_zeros()
    torch.manual_seed(1)
    pairs = {"kernel": "kronecker", "num_bins": 8, "block": 2, "network": "authors"}  # without biases: of half is half
    assert max(kept(SimilarityGuidedSampling(32, **pairs), maps)) == 4
    by_step = SimilarityGuidedSampling(32, num_steps=4, **pairs)
    by_step.embed[3].momentum = 1.0  # the running statistics are this batch's
    assert kept(by_step, maps) == [2]
    maps[0, :, 1] *= 3  # one that is not as others are there
    assert by_step.eval()(maps).lengths.tolist() == [3] + [2] * 63


def test_one_clip_is_normalised_by_the_running_statistics_in_training_too():
    torch.manual_seed(0)
    norm = norm_of(2, 3)
    norm(torch.randn(16, 2, 3))
    clip = torch.randn(1, 2, 3)
    in_training, running = norm(clip), norm[0].running_mean.clone()
    torch.testing.assert_close(in_training, norm.eval()(clip))
    assert torch.equal(norm[0].running_mean, running)


def test_clips_of_another_length_are_refused_by_both_numbers():
    layer = SimilarityGuidedSampling(3, num_steps=4)
    with pytest.raises(ValueError, match="takes the 4 maps that it was made for, and not 8"):
        layer(torch.randn(2, 3, 8, 1, 1))


def test_saved_weights_are_of_sampling_by_step_or_not(tmp_path):
    torch.manual_seed(0)
    made = with_sgs(make_classifier("tiny_r3d"), after="layer2", per_step=True)
    maps = made.network.sgs.embed.num_steps
    path = tmp_path / "weights.safetensors"
    save_weights(made, path)
    again = make_classifier("tiny_r3d", weights=path, sgs={"after": "layer2", "per_step": True}).network.sgs
    assert torch.equal(again.embed[3].running_mean, made.network.sgs.embed[3].running_mean)
    sizes = f"sgs.embed.3.weight ({8 * maps},) must be (8,)"
    with pytest.raises(WeightsError, match=re.escape(sizes)):
        make_classifier("tiny_r3d", weights=path, sgs={"after": "layer2"})


def test_a_clip_is_judged_alone():
    torch.manual_seed(0)
    classifier = with_sgs(make_classifier("tiny_r3d", num_frames=16), after="layer1", per_step=True)
    clips = torch.randint(0, 256, (6, *classifier.input_shape), dtype=torch.uint8)
    classifier.train()(clips)  # statistics of each step
    classifier.eval()
    with torch.inference_mode():
        together, alone = classifier(clips), [classifier(clip[None]) for clip in clips]
    assert together.num_bins.tolist() == [out.num_bins.item() for out in alone]
    torch.testing.assert_close(together.logits, torch.cat([out.logits for out in alone]), atol=1e-4, rtol=1e-4)
