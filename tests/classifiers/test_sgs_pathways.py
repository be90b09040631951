"""Sampling in blocks of time, and in each pathway of SlowFast (ATFR, appendix A)."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from vidselect_classifiers import ClipClassifier, WeightsError, make_classifier, save_weights
from vidselect_classifiers.resnet3d import ResNet3D
from vidselect_classifiers.sgs import SimilarityGuidedSampling, gmacs_before_sgs, gmacs_by_bins
from vidselect_classifiers.sgs_groups import grouped, of_blocks
from vidselect_classifiers.sgs_pathways import counts_by_total
from vidselect_classifiers.slowfast import SlowFast, Stage, joined


def test_blocks_are_sampled_as_clips_of_their_own():
    torch.manual_seed(0)
    layer = SimilarityGuidedSampling(3, block=4).eval()
    alone = SimilarityGuidedSampling(3).eval()
    alone.embed = layer.embed
    maps = torch.randn(5, 3, 8, 2, 2)
    found = layer(maps)
    halves = [alone(part) for part in maps.split(4, dim=2)]
    assert torch.equal(found.lengths, sum(half.lengths for half in halves))
    for clip in range(5):
        [whole] = [group[(rows == clip).nonzero()[0, 0]] for group, rows in clips_of(found) if clip in rows]
        parts = [
            group[(rows == clip).nonzero()[0, 0]] for half in halves for group, rows in clips_of(half) if clip in rows
        ]
        torch.testing.assert_close(whole, torch.cat(parts, dim=1))


def clips_of(ragged) -> list[tuple[Tensor, Tensor]]:
    rows = ragged.order.split([len(group) for group in ragged.groups])
    return list(zip(ragged.groups, rows, strict=True))


def test_weights_of_blocks_by_hand():
    weights = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]], [[7.0, 8.0]]])
    whole = of_blocks(weights, num_blocks=2)
    assert whole.tolist() == [[[1, 2, 0, 0], [0, 0, 3, 4]], [[5, 6, 0, 0], [0, 0, 7, 8]]]


def test_blocks_divide_the_maps_or_are_refused():
    layer = SimilarityGuidedSampling(3, block=4)
    assert (layer.most_bins(8), layer.num_blocks(8)) == (8, 2)
    assert SimilarityGuidedSampling(3, block=4, num_bins=3).most_bins(8) == 6
    with pytest.raises(ValueError, match=r"block \(4\) of the sampling must divide the clip's 6 maps"):
        layer(torch.zeros(1, 3, 6, 2, 2))
    with pytest.raises(ValueError, match=r"block \(1\) must be at least 2 maps, or 0 for all"):
        SimilarityGuidedSampling(3, block=1)
    with pytest.raises(ValueError, match=r"block \(2, 8\) must be one number for each of 1 pathways"):
        make_classifier("tiny_r3d", sgs={"after": "layer2", "block": (2, 8)})


def test_saved_sampling_in_blocks_says_so(tmp_path):
    made = {"after": "layer1", "block": 4, "distance": "centred", "order": "time"}
    save_weights(make_classifier("tiny_r3d", sgs=made), tmp_path / "a.safetensors")
    again = make_classifier("tiny_r3d", weights=tmp_path / "a.safetensors", sgs=made)
    assert again.network.sgs.block == 4
    with pytest.raises(WeightsError, match="in time's order, in blocks of 4"):
        make_classifier("tiny_r3d", weights=tmp_path / "a.safetensors", sgs=made | {"block": 2})


def test_clips_of_a_group_keep_as_many_maps_in_every_pathway():
    # Of three clips the slow pathway keeps 1, 2, 1 maps, and the fast one 2, 2, 1.
    slow = torch.tensor([[[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]]])
    fast = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]]])
    maps = torch.arange(1.0, 7).view(3, 1, 2, 1, 1)
    found = grouped([maps, 10 * maps], [slow, fast], order="bins")
    assert all(own.order.tolist() == [2, 0, 1] and own.lengths.tolist() == [3, 4, 2] for own in found)
    assert [group.flatten(1).tolist() for group in found[0].groups] == [[[11.0]], [[3.0]], [[3.0, 4.0]]]
    assert [group.flatten(1).tolist() for group in found[1].groups] == [[[110.0]], [[20.0, 10.0]], [[30.0, 40.0]]]


def test_what_is_shorter_stands_between_zeros():
    slow, fused = torch.ones(1, 2, 5, 1, 1), 2 * torch.ones(1, 1, 2, 1, 1)
    for one, other, expected in (
        (slow, fused, [[1] * 5, [1] * 5, [0, 2, 2, 0, 0]]),
        (fused, slow, [[0, 2, 2, 0, 0], [1] * 5, [1] * 5]),
    ):
        assert joined(one, other).flatten(2).tolist() == [expected]


def small_slowfast(**sgs) -> ClipClassifier:
    """SlowFast of one block a stage on 16 frames, 4 of them slow, of 32 x 32 pixels."""
    torch.manual_seed(0)
    like = make_classifier("slowfast_8x8_r18", num_classes=3, num_frames=16, resize=(32, 32), crop=(32, 32))
    network = SlowFast(num_blocks=(1, 1, 1, 1), alpha=4, fusion_kernel=7, num_classes=3)
    for module in network.modules():  # blocks that do something, of statistics that are no identity
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
    made = ClipClassifier(
        network, head="fc", stages=like.stages, pool=SlowFast.pool, geometry=like.geometry, name="small"
    )
    if not sgs:
        return made.eval()
    from vidselect_classifiers.sgs import with_sgs

    return with_sgs(made.eval(), after="layer1", **sgs)


@pytest.fixture
def clips() -> Tensor:
    """Clips from still to restless, so that they keep different numbers of maps."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(6, 16, 3, 32, 32, generator=generator)
    still = torch.rand(6, 1, 3, 32, 32, generator=generator)
    share = torch.linspace(0, 1, 6).view(6, 1, 1, 1, 1)
    return (255 * (share * noise + (1 - share) * still)).to(torch.uint8)


def test_each_pathway_is_sampled_in_its_own_blocks_and_clips_are_judged_alone(clips):
    classifier = small_slowfast(block=(2, 8), order="time", distance="centred")
    assert classifier.stages == ("stem", "layer1", "sgs", "layer2", "layer3", "layer4")
    sampling = classifier.network.sgs
    assert (sampling.slow.block, sampling.fast.block) == (2, 8)
    with torch.inference_mode():
        together = classifier(clips)
        alone = [classifier(clips[[row]]) for row in range(len(clips))]
    assert together.num_bins.tolist() == [each.num_bins.item() for each in alone]
    assert len(together.num_bins.unique()) > 1
    assert together.num_bins.min() >= 4  # one of each block
    torch.testing.assert_close(together.logits, torch.cat([each.logits for each in alone]), atol=1e-5, rtol=1e-4)


def test_sampling_that_keeps_every_map_in_its_place_changes_nothing(clips):
    plain, sampled = small_slowfast(), small_slowfast(kernel="kronecker", order="time", num_bins=10**6)
    with torch.inference_mode():
        expected, found = plain(clips[3:]), sampled(clips[3:])
    assert found.num_bins.tolist() == [4 + 16] * 3
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-5, rtol=1e-4)


def test_gradients_reach_both_similarity_networks(clips):
    classifier = small_slowfast(block=(2, 8)).train()
    classifier(clips).logits.square().sum().backward()
    for own in classifier.network.sgs.samplings:
        assert own.embed[0].weight.grad.abs().sum() > 0


def test_a_total_is_charged_with_the_most_that_it_can_cost():
    samplings = [SimilarityGuidedSampling(1, block=2), SimilarityGuidedSampling(1, block=4)]
    maps = [torch.empty(1, 1, 4, 1, 1), torch.empty(1, 1, 8, 1, 1)]
    found = counts_by_total(samplings, maps)
    assert found[:7] == [(2, 2)] * 4 + [(3, 2), (4, 2), (4, 3)]
    assert (len(found), found[-1]) == (12, (4, 8))

    classifier = small_slowfast(block=(2, 8))
    costs = gmacs_by_bins(classifier)
    assert len(costs) == 4 + 16
    assert list(costs) == sorted(costs)
    assert costs[0] == costs[3] > gmacs_before_sgs(classifier)
    assert costs[-1] == pytest.approx(classifier.gmacs_per_clip())
    # The sampling itself costs next to nothing: the whole is the plain network's.
    assert costs[-1] == pytest.approx(small_slowfast().gmacs_per_clip(), rel=0.01)


@pytest.mark.parametrize(
    ("name", "gmacs", "parameters"),
    [
        # At 256 x 256, ATFR's Tables 7 and 8; parameters as PyTorchVideo's SLOWFAST_8x8_R50 has them.
        ("slowfast_4x16_r50", 36.1, None),
        ("slowfast_8x8_r50", 65.7, 34.57),
        ("slowfast_8x8_r18", 40.4, None),
    ],
)
def test_multiply_adds_are_the_published_ones(name, gmacs, parameters):
    with torch.device("meta"):
        classifier = make_classifier(name, crop=(256, 256))
    assert classifier.gmacs_per_clip() == pytest.approx(gmacs, abs=0.05)
    if parameters is not None:
        count = sum(parameter.numel() for parameter in classifier.network.parameters())
        assert count / 1e6 == pytest.approx(parameters, abs=0.005)


def test_frames_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"num_frames \(30\) of slowfast_8x8_r50 must be a multiple of 4"):
        make_classifier("slowfast_8x8_r50", num_frames=30)


def test_the_slow_pathway_sees_frames_from_the_first_to_the_last():
    classifier = small_slowfast()
    seen = []
    stem = classifier.network.stem
    stem.slow.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    frames = torch.arange(16.0).view(1, 1, 16, 1, 1).expand(1, 3, 16, 32, 32)
    stem(frames)
    assert seen[0][0, 0, :, 0, 0].tolist() == [0, 5, 10, 15]


def test_networks_of_one_pathway_are_as_they_were():
    assert isinstance(make_classifier("resnet3d_18_modified").network, ResNet3D)
    assert dataclasses.is_dataclass(small_slowfast().geometry)
    assert isinstance(small_slowfast().network.layer1, Stage)
