"""Similarity guided sampling as its authors' code has it: centred magnitudes, the epsilon, the similarity network."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from torch import Tensor, nn

from vidselect_classifiers import WeightsError, make_classifier, save_weights, weights_sha256
from vidselect_classifiers.sgs import SimilarityGuidedSampling, with_sgs
from vidselect_classifiers.sgs_bins import EPSILON, bin_weights, centred, magnitude
from vidselect_classifiers.sgs_identity import (
    DISTANCES,
    EPSILONS,
    KERNELS,
    ORDERS,
    SIMILARITIES,
    SamplingIdentity,
)


def layer_of(embedding: list[list[float]], **options) -> tuple[SimilarityGuidedSampling, Tensor]:
    """A layer, and maps (1, L, T, 1, 1) that are their own Z (T, L)."""
    z = torch.tensor(embedding, dtype=torch.float64)
    layer = SimilarityGuidedSampling(z.shape[1], embedding_dim=z.shape[1], **options).double().eval()
    layer.embed = nn.Identity()
    return layer, z.t()[None, :, :, None, None].contiguous()


def offset_embedding(noise: float, *, num_clips: int = 50) -> Tensor:
    """Z (B, 32, 8) of an offset of length 1 that all maps share, and noise of their own."""
    generator = torch.Generator().manual_seed(0)
    own = noise * torch.randn(num_clips, 32, 8, generator=generator)
    return own + torch.tensor([1.0, *[0.0] * 7])


def maps_kept(embedding: Tensor, **options) -> float:
    """Mean number of maps that clips of this Z keep in as many bins as maps."""
    layer = SimilarityGuidedSampling(8, **options).eval()
    layer.embed = nn.Identity()
    return layer(embedding.transpose(1, 2)[:, :, :, None, None]).lengths.float().mean().item()


def test_an_offset_that_maps_share_puts_all_magnitudes_into_one_bin_and_centred_ones_into_half():
    for noise in (0.001, 0.01, 0.1):
        assert 13 < maps_kept(offset_embedding(noise), distance="centred") < 19
    # Magnitudes of Eq. 1 lie within 3 % of the largest, where a bin is 1 / 32 wide: one bin, or its neighbour.
    assert maps_kept(offset_embedding(0.001)) == 1
    assert maps_kept(offset_embedding(0.01)) < 2.5


def test_centred_magnitudes_by_hand():
    # Mean (2, 0): what is left is 2, 0, 1 and 1 long. max 2, B = 4, gamma = 1/4: places 8, 0, 4, 4. All lie on edges.
    embedding = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [3.0, 0.0], [3.0, 0.0]]])
    assert magnitude(centred(embedding)).flatten().tolist() == [2, 0, 1, 1]
    # In 3 bins gamma is 1/3, and 1 is the centre of the second: weight 1 for the maps 3 and 4, of which it is the sum.
    layer, maps = layer_of([[0.0, 0.0], [2.0, 0.0], [3.0, 0.0], [3.0, 0.0]], num_bins=3, distance="centred")
    torch.testing.assert_close(layer(maps).joined().flatten(2)[0].tolist(), [[6.0], [0.0]])
    # The same magnitudes of Eq. 1: 0, 2, 3, 3 of at most 3: the second on an edge, the last two lost.
    layer.distance = "magnitude"
    assert layer(maps).lengths.tolist() == [1]
    torch.testing.assert_close(layer(maps).joined().flatten().tolist(), [2.0, 0.0])  # no map in a bin: the mean


def test_centred_sampling_does_not_see_what_is_added_to_all_maps_of_a_clip():
    layer = SimilarityGuidedSampling(8, distance="centred").double()
    embedding = torch.randn(3, 16, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = layer.weights(embedding)
    torch.testing.assert_close(layer.weights(embedding + 7), weights)
    layer.distance = "magnitude"
    assert not torch.allclose(layer.weights(embedding + 7), layer.weights(embedding))


def test_the_epsilon_keeps_the_map_of_largest_magnitude():
    value = torch.tensor([[1.0, 8.0, 4.6]], dtype=torch.float64)
    without, with_it = (bin_weights(value, num_bins=4, kernel="linear", epsilon=each)[0] for each in (0.0, EPSILON))
    assert without[3].tolist() == [0, 0, 0]
    torch.testing.assert_close(with_it[3], torch.tensor([0, EPSILON, 0], dtype=torch.float64))
    torch.testing.assert_close(with_it[:3], without[:3])  # but for the epsilon itself
    maps = [[1.0], [8.0], [4.6]]
    kept = [layer_of(maps, num_bins=4, epsilon=epsilon) for epsilon in (False, True)]
    assert [layer(clip).lengths.item() for layer, clip in kept] == [2, 3]


def test_the_epsilon_is_there_in_single_precision_too():
    value = torch.rand(64, 32, generator=torch.Generator().manual_seed(0))
    for num_bins in (1, 7, 32, 256):
        weights = bin_weights(value, num_bins=num_bins, kernel="linear", epsilon=EPSILON)
        of_largest = weights[torch.arange(64), num_bins - 1, value.argmax(1)]
        assert (of_largest > 0).all()
        assert (of_largest < 2 * EPSILON).all()


@pytest.mark.parametrize("epsilon", [False, True])
def test_a_clip_of_equal_magnitudes_keeps_its_mean_and_comes_back_by_the_epsilon(epsilon):
    # Three Z of length 5 in different directions: all lie on the edge of the last bin.
    layer, maps = layer_of([[3.0, 4.0], [4.0, 3.0], [5.0, 0.0]], epsilon=epsilon)
    out = layer(maps)
    assert out.lengths.tolist() == [1]
    torch.testing.assert_close(out.joined().flatten(), maps.mean(2).flatten())
    embedding = layer.embedding(maps).requires_grad_()
    weights = layer._never_empty(layer.weights(embedding))
    loss = (weights.sum(1) * torch.tensor([1.0, 2.0, 6.0])).sum()
    if not epsilon:
        assert not weights.requires_grad or torch.autograd.grad(loss, embedding)[0].abs().sum() == 0
        return
    # w_t falls by 1 a half-width (gamma = 5 / 6), and the bins move with the largest, a third of it each:
    # -6/5 (I_s - mean I), along Z_s / 5.
    [gradient] = torch.autograd.grad(loss, embedding)
    pulls = -6 / 5 * (torch.tensor([1.0, 2.0, 6.0]) - 3)
    expected = pulls[:, None] * embedding.detach()[0] / 5
    torch.testing.assert_close(gradient[0], expected.double())


def test_detached_sampling_has_the_same_result_and_sends_nothing_through_z():
    torch.manual_seed(0)
    layer = SimilarityGuidedSampling(3, distance="centred").double().eval()
    maps = torch.randn(2, 3, 6, 2, 2, dtype=torch.float64)
    gradients = {}
    for detach in (False, True):
        layer.detach = detach
        leaf = maps.clone().requires_grad_()
        out = layer(leaf)
        sum(group.square().sum() for group in out.groups).backward()
        gradients[detach] = leaf.grad
        assert layer.embed[2].weight.grad.abs().sum() > 0  # the similarity network learns either way
        layer.zero_grad()
    # Detached, only Eq. 7 is left: a map's gradient is the weights' times the merged maps'.
    weights = layer._never_empty(layer.weights(layer.embedding(maps))).detach()
    leaf = maps.clone().requires_grad_()
    (weights[:, None] @ leaf.flatten(3)).square().sum().backward()
    torch.testing.assert_close(gradients[True], leaf.grad)
    assert not torch.allclose(gradients[False], gradients[True])


def test_the_similarity_network_of_the_paper_and_of_its_authors():
    torch.manual_seed(0)
    paper, authors = (SimilarityGuidedSampling(512, network=kind).embed for kind in ("paper", "authors"))
    assert [paper[0].out_channels, authors[0].out_channels] == [512, 256]  # C of section 4.1, C / 2
    assert paper[2].out_channels == authors[2].out_channels == 8
    for convolution in (authors[0], authors[2]):
        assert convolution.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert not convolution.bias.any()
    assert paper[0].bias.any()


@pytest.mark.parametrize("embedding_dim", [1, 4, 8, 16])
def test_the_similarity_space_has_the_dimensions_asked_for(embedding_dim):
    layer = SimilarityGuidedSampling(6, embedding_dim=embedding_dim)  # Table 3
    assert layer.embedding(torch.zeros(2, 6, 5, 1, 1)).shape == (2, 5, embedding_dim)
    with pytest.raises(ValueError, match=re.escape("embedding_dim (-1)")):
        SimilarityGuidedSampling(6, embedding_dim=-1)


def test_magnitudes_are_not_rounded_by_mixed_precision():
    torch.manual_seed(0)
    layer = SimilarityGuidedSampling(8, distance="centred").eval()
    maps = torch.randn(2, 8, 6, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        embedding = layer.embedding(maps)
    assert torch.equal(embedding, layer.embedding(maps))


def test_unknown_names_are_named():
    for options, message in (
        ({"distance": "cosine"}, r"distance \('cosine'\) must be one of magnitude, centred"),
        ({"network": "mine"}, r"network \('mine'\) must be one of paper, authors"),
        ({"order": "space"}, r"order \('space'\) must be one of bins, time"),
    ):
        with pytest.raises(ValueError, match=message):
            SimilarityGuidedSampling(4, **options)


def saved(tmp_path, **options):
    torch.manual_seed(0)
    path = tmp_path / "weights.safetensors"
    save_weights(with_sgs(make_classifier("tiny_r3d"), after="layer2", **options), path)
    return path


def test_saved_weights_say_how_their_sampling_was_made(tmp_path):
    path = saved(tmp_path, distance="centred", epsilon=True)
    clips = torch.randint(0, 256, (3, 8, 3, 32, 32), dtype=torch.uint8)
    same = make_classifier(
        "tiny_r3d", weights=path, sgs={"after": "layer2", "distance": "centred", "epsilon": True, "detach": True}
    )
    assert same(clips).num_bins.shape == (3,)  # to be detached is no other sampling
    found = r"sampling \(after stage 2, linear kernel, magnitude, centred, with epsilon\) must be the network's"
    for options in ({}, {"distance": "centred"}, {"epsilon": True}):
        with pytest.raises(WeightsError, match=found) as error:
            make_classifier("tiny_r3d", weights=path, sgs={"after": "layer2", **options})
        assert "\n" not in str(error.value)


def test_weights_from_before_there_was_a_distance_are_those_of_equation_1(tmp_path):
    torch.manual_seed(0)
    adaptive = with_sgs(make_classifier("tiny_r3d"), after="layer2", kernel="kronecker", num_bins=7)
    assert adaptive.network.sgs.get_extra_state().tolist() == [2, 1, 0, 7]  # stage, kernel, similarity, bins: as then
    path = saved(tmp_path, kernel="kronecker", num_bins=7)
    again = make_classifier("tiny_r3d", weights=path, sgs={"after": "layer2", "kernel": "kronecker"})
    assert weights_sha256(again) == weights_sha256(adaptive)
    sgs = {"after": "layer2", "kernel": "kronecker", "distance": "centred"}
    with pytest.raises(WeightsError, match=r"must be the network's \(after stage 2, kronecker kernel, .*centred\)"):
        make_classifier("tiny_r3d", weights=path, sgs=sgs)


def test_every_identity_is_told_apart_by_its_numbers():
    names = {"kernel": KERNELS, "similarity": SIMILARITIES, "distance": DISTANCES, "epsilon": EPSILONS, "order": ORDERS}
    identities = [
        SamplingIdentity(stage=1, **dict(zip(names, each, strict=True))) for each in itertools.product(*names.values())
    ]
    numbers = [tuple(identity.numbers()) for identity in identities]
    assert len(set(numbers)) == len(identities) == 48
    assert [SamplingIdentity.of_numbers(*each) for each in numbers] == identities
    assert len({str(identity) for identity in identities}) == 48


def test_sampling_of_a_version_to_come_is_refused():
    layer = SimilarityGuidedSampling(4)
    for numbers in ([-1, 0, 24, 0], [-1, 2, 0, 0]):
        with pytest.raises(WeightsError, match=re.escape(f"({', '.join(map(str, numbers[:3]))}) is none that this")):
            layer.set_extra_state(torch.tensor(numbers))


def test_maps_are_kept_in_the_order_of_their_bins_or_in_time():
    # max 8, B = 4: centres 1, 3, 5, 7, so that each of the first three maps is alone in its bin with weight 1.
    layer, maps = layer_of([[7.0], [3.0], [1.0], [8.0]], num_bins=4, order="time")
    torch.testing.assert_close(layer(maps).joined().flatten().tolist(), [7.0, 3.0, 1.0])
    layer.order = "bins"
    torch.testing.assert_close(layer(maps).joined().flatten().tolist(), [1.0, 3.0, 7.0])
    # What is merged stands at its weighted mean time: 3 and half of 3.5 at (0 + 0.5 * 3) / 1.5 = 1, before 1 at 2.
    layer, maps = layer_of([[3.0], [8.0], [1.0], [3.5]], num_bins=4, order="time")
    torch.testing.assert_close(layer(maps).joined().flatten().tolist(), [3 + 0.5 * 3.5, 1.0])


def test_in_times_order_sampling_that_keeps_every_map_changes_nothing():
    layer, maps = layer_of([[7.0], [1.0], [5.0], [3.0]], kernel="kronecker", order="time")
    torch.testing.assert_close(layer(maps).joined(), maps)
    layer.order = "bins"
    assert not torch.allclose(layer(maps).joined(), maps)


def test_the_number_of_bins_is_the_weights_own_unless_another_is_asked_for(tmp_path):
    path = saved(tmp_path, num_bins=3)
    found = {
        wanted: make_classifier("tiny_r3d", weights=path, sgs={"after": "layer2", "num_bins": wanted}).network.sgs
        for wanted in (None, 2, 64)
    }
    assert {wanted: sampling.num_bins for wanted, sampling in found.items()} == {None: 3, 2: 2, 64: 64}
    assert found[None].most_bins(4) == 3
    assert found[64].most_bins(4) == 4  # Table A.4: other bins in testing


def test_a_similarity_network_of_another_size_is_refused_by_name(tmp_path):
    path = saved(tmp_path)
    for options in ({"network": "authors"}, {"embedding_dim": 4}):
        with pytest.raises(WeightsError, match="another size, by its `network`, `embedding_dim` or `per_step`"):
            make_classifier("tiny_r3d", weights=path, sgs={"after": "layer2", **options})


def test_every_way_of_sampling_has_a_hash_of_its_own():
    hashes = set()
    for options in ({}, {"distance": "centred"}, {"epsilon": True}, {"order": "time"}):
        torch.manual_seed(1)
        hashes.add(weights_sha256(with_sgs(make_classifier("tiny_r3d"), **options)))
    assert len(hashes) == 4


@pytest.mark.parametrize("options", [{"distance": "centred"}, {"distance": "centred", "epsilon": True}])
def test_a_clip_is_judged_alone_and_batches_of_any_lengths_come_back_in_order(options):
    torch.manual_seed(0)
    classifier = with_sgs(make_classifier("tiny_r3d", num_frames=16), after="layer1", **options)
    clips = torch.randint(0, 256, (6, *classifier.input_shape), dtype=torch.uint8)
    clips[0] = clips[0, :1]  # a still
    clips[1, 4:] = clips[1, 3]
    with torch.inference_mode():
        together = classifier(clips)
        alone = [classifier(clip[None]) for clip in clips]
    assert together.num_bins.tolist() == [out.num_bins.item() for out in alone]
    assert len(together.num_bins.unique()) > 1
    torch.testing.assert_close(together.logits, torch.cat([out.logits for out in alone]), atol=1e-4, rtol=1e-4)
