"""Similarity guided sampling: its equations by hand, its gradients, and that a clip is judged alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from vidselect_classifiers import WeightsError, make_classifier, save_weights, weights_sha256
from vidselect_classifiers.ragged import RaggedMaps
from vidselect_classifiers.sgs import SimilarityGuidedSampling, gmacs_before_sgs, gmacs_by_bins, with_sgs
from vidselect_classifiers.sgs_bins import angles, bin_weights, magnitude, merge

SMALL = {"crop": (32, 32), "resize": (32, 32), "num_frames": 8}
BACKBONES = [
    ("tiny_r3d", "layer1", {}),
    ("r3d_18", "stem", SMALL),
    ("mc3_18", "layer1", SMALL),
    ("r2plus1d_18", "layer1", SMALL),
    ("i3d", "MaxPool3d_3a_3x3", {"crop": (64, 64), "resize": (64, 64), "num_frames": 8}),
    ("x3d_xs", "blocks.1", {"crop": (32, 32), "resize": (32, 32), "num_frames": 8}),
    ("resnet3d_18_modified", "layer1", SMALL),
]


def shaken(name: str, **options):
    """A classifier whose batch norms are not the identity, so that a map of zeros does not stay one."""
    torch.manual_seed(0)
    classifier = make_classifier(name, num_classes=5, **options)
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, 0, 0.2)
    return classifier


def sampling_of(magnitudes: list[float], **options) -> tuple[SimilarityGuidedSampling, Tensor]:
    """A layer, and maps (1, 1, T, 1, 1) that are their own magnitudes."""
    layer = SimilarityGuidedSampling(1, embedding_dim=1, **options).double().eval()
    layer.embed = nn.Identity()
    return layer, torch.tensor(magnitudes, dtype=torch.float64).view(1, 1, -1, 1, 1)


def test_four_maps_by_hand_with_the_linear_kernel():
    # max 8, B = 4: gamma = 1, centres 1, 3, 5, 7. 1.0 and 1.5 fall into the first bin with 1 and 0.5, 4.6 into the
    # third with 0.6; 8 lies on the edge of the last, with 0.
    layer, maps = sampling_of([1.0, 8.0, 1.5, 4.6])
    out = layer(maps)
    assert out.lengths.tolist() == [2]
    torch.testing.assert_close(out.joined().flatten().tolist(), [1.0 * 1 + 1.5 * 0.5, 4.6 * 0.6])


def test_four_maps_by_hand_with_the_kronecker_kernel():
    layer, maps = sampling_of([1.0, 8.0, 1.5, 4.6], kernel="kronecker")
    torch.testing.assert_close(layer(maps).joined().flatten().tolist(), [1.25, 4.6, 8.0])


def test_gradients_are_equations_7_and_8():
    value = torch.tensor([[1.5, 0.5, 8.0]], dtype=torch.float64, requires_grad=True)
    weights = bin_weights(value, num_bins=4, kernel="linear")  # gamma = 1, centres 1, 3, 5, 7
    torch.testing.assert_close(weights[0, 0].tolist(), [0.5, 0.5, 0.0])
    [of_first] = torch.autograd.grad(weights[0, 0, 0], value, retain_graph=True)
    [of_second] = torch.autograd.grad(weights[0, 0, 1], value)
    assert of_first[0, 0] == -1  # beyond the centre: -1 / gamma
    assert of_second[0, 1] == 1  # before it: 1 / gamma
    maps = torch.ones(1, 1, 3, 1, 1, dtype=torch.float64, requires_grad=True)
    [of_maps] = torch.autograd.grad(merge(maps, weights.detach())[0, 0, 0].sum(), maps)
    torch.testing.assert_close(of_maps.flatten().tolist(), [0.5, 0.5, 0.0])


@pytest.mark.parametrize("kernel", ["linear", "kronecker"])
def test_gradcheck(kernel):
    layer = SimilarityGuidedSampling(3, kernel=kernel).double().eval()
    torch.manual_seed(1)
    maps = torch.randn(2, 3, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: tuple(layer(x).groups), maps)


@pytest.mark.parametrize("similarity", ["angular", "spherical"])
def test_gradcheck_of_coordinates(similarity):
    layer = SimilarityGuidedSampling(3, similarity=similarity).double().eval()
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: tuple(layer(x).groups), maps)


def test_angles_by_hand():
    points = torch.tensor([[[1.0, 0, 0], [0, 2, 0], [0, 0, 3], [0, -1, 0], [-1, 0, 0], [0, 0, 0]]])
    pi = math.pi
    expected = [[0, 0], [pi / 2, 0], [pi / 2, pi / 2], [pi / 2, pi], [pi, 0], [0, 0]]
    torch.testing.assert_close(angles(points)[0], torch.tensor(expected))
    assert magnitude(points).flatten().tolist() == [1, 2, 3, 1, 1, 0]


def test_bins_of_several_coordinates_are_products():
    layer = SimilarityGuidedSampling(2, similarity="spherical", num_bins=(2, 2), embedding_dim=2, kernel="kronecker")
    # Radii 1, 4, 4 (bins 0, 1, 1) and angles 90, 90, 180 degrees, of at most 180 (bins 1, 1, 1): two bins.
    embedding = torch.tensor([[[0.0, 1.0], [0.0, 4.0], [-4.0, 0.0]]])
    weights = layer.weights(embedding)[0]
    assert weights.shape == (4, 3)
    assert weights[1].tolist() == [1, 0, 0]
    assert weights[3].tolist() == [0, 0.5, 0.5]


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_equal_magnitudes_give_the_mean_map_and_finite_gradients(value):
    layer = SimilarityGuidedSampling(2).eval()
    nn.init.zeros_(layer.embed[2].weight)
    nn.init.constant_(layer.embed[2].bias, value)
    maps = torch.arange(16.0).view(1, 2, 4, 1, 2).requires_grad_()
    out = layer(maps)
    assert out.lengths.tolist() == [1]
    torch.testing.assert_close(out.joined()[:, :, 0], maps.mean(2))
    out.joined().sum().backward()
    assert maps.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters())


def test_as_many_bins_as_maps_keep_every_map():
    layer, maps = sampling_of([1.0, 3.0, 5.0, 7.0, 8.0], num_bins=4)  # the maximum alone is lost, as Eq. 6 says
    torch.testing.assert_close(layer(maps).joined().flatten().tolist(), [1.0, 3.0, 5.0, 7.0])
    layer, maps = sampling_of([0.5, 1.5, 2.5, 3.9], kernel="kronecker")
    torch.testing.assert_close(layer(maps).joined().flatten().tolist(), [0.5, 1.5, 2.5, 3.9])


def test_the_number_of_bins_may_change_after_training():
    layer, maps = sampling_of([1.0, 3.0, 5.0, 8.0], kernel="kronecker")
    assert layer(maps).lengths.item() == 4
    layer.num_bins = 2
    assert layer(maps).lengths.item() == 2


@pytest.mark.parametrize(("name", "after", "options"), BACKBONES)
def test_a_clip_is_judged_alone(name, after, options):
    classifier = with_sgs(shaken(name, **options), after=after, num_bins=200)  # so narrow that many maps stay alone
    clips = torch.randint(0, 256, (6, *classifier.input_shape), dtype=torch.uint8)
    clips[0] = clips[0, :1]  # a still
    clips[1, 4:] = clips[1, :4].flip(0)
    with torch.inference_mode():
        together = classifier(clips)
        alone = [classifier(clip[None]) for clip in clips]
    torch.testing.assert_close(together.logits, torch.cat([out.logits for out in alone]), atol=1e-5, rtol=1e-4)
    assert together.num_bins.tolist() == [out.num_bins.item() for out in alone]
    assert len(together.num_bins.unique()) > 1


@pytest.mark.parametrize(("name", "after", "options"), BACKBONES)
def test_every_parameter_is_trained(name, after, options):
    classifier = with_sgs(shaken(name, **options), after=after).train()
    clips = torch.randint(0, 256, (4, *classifier.input_shape), dtype=torch.uint8)
    classifier(clips).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in classifier.parameters())


def test_batch_norm_in_training_is_that_of_all_clips_together():
    torch.manual_seed(0)
    maps = torch.randn(5, 3, 4, 2, 2)
    norms = [nn.BatchNorm3d(3), nn.BatchNorm3d(3)]
    whole = norms[0](maps)
    ragged = norms[1](RaggedMaps([maps[[3, 0]], maps[[1, 2, 4]]], order=torch.tensor([3, 0, 1, 2, 4]), lengths=None))
    torch.testing.assert_close(ragged.joined(), whole)
    torch.testing.assert_close(norms[1].running_var, norms[0].running_var)


def test_maps_of_different_lengths_have_no_common_shape():
    ragged = RaggedMaps([torch.zeros(1, 2, 3)], order=torch.tensor([0]), lengths=torch.tensor([3]))
    with pytest.raises(AttributeError, match="no common 'shape'"):
        _ = ragged.shape


def test_cost_grows_with_the_maps_kept_up_to_the_whole():
    plain = make_classifier("r3d_18", **SMALL)
    costs = gmacs_by_bins(with_sgs(plain, after="stem"))
    assert len(costs) == 8
    assert list(costs) == sorted(costs)
    # All maps kept cost what the plain network does, and the layer itself.
    assert plain.gmacs_per_clip() < costs[-1] < 1.01 * plain.gmacs_per_clip()
    assert with_sgs(plain, after="stem").gmacs_per_clip() == costs[-1]
    assert costs[0] < 0.35 * costs[-1]
    assert gmacs_by_bins(plain) == ()


def test_what_comes_before_sampling_is_paid_by_every_clip():
    plain = make_classifier("tiny_r3d")
    # The stem: 8 planes of 3 x 3 x 7 x 7 weights on 8 x 16 x 16 places.
    assert gmacs_before_sgs(with_sgs(plain, after="stem")) == pytest.approx(8 * 3 * 3 * 49 * 8 * 256 / 1e9)
    assert 0 < gmacs_before_sgs(with_sgs(plain, after="layer1")) < gmacs_by_bins(with_sgs(plain, after="layer1"))[0]
    with pytest.raises(ValueError, match="'tiny_r3d' has no similarity guided sampling"):
        gmacs_before_sgs(plain)


def test_bad_settings_name_the_value_and_the_rule():
    plain = make_classifier("tiny_r3d")
    for options, message in (
        ({"after": "layer9"}, "after 'layer9' of 'tiny_r3d' must be after one of stem, layer1"),
        ({"kernel": "cubic"}, r"kernel \('cubic'\) must be one of linear"),
        ({"num_bins": 0}, r"num_bins \(0\) must be at least 1"),
        ({"num_bins": (2, 2)}, "must be one number"),
        ({"similarity": "angular", "embedding_dim": 5}, r"embedding_dim \(5\) of bins \(4, 8\) must be 3"),
    ):
        with pytest.raises(ValueError, match=message):
            with_sgs(plain, **options)
    with pytest.raises(ValueError, match="already"):
        with_sgs(with_sgs(plain))
    with pytest.raises(ValueError, match="no chain of stages"):
        with_sgs(make_classifier("frame_resnet18"))


def test_weights_with_and_without_sampling_load(tmp_path):
    torch.manual_seed(0)
    plain, adaptive = make_classifier("tiny_r3d"), with_sgs(make_classifier("tiny_r3d"))
    save_weights(plain, tmp_path / "plain.safetensors")
    save_weights(adaptive, tmp_path / "adaptive.safetensors")
    clips = torch.randint(0, 256, (3, *plain.input_shape), dtype=torch.uint8)
    again = make_classifier("tiny_r3d", weights=tmp_path / "adaptive.safetensors", sgs={"after": "layer1"})
    torch.testing.assert_close(again(clips).logits, adaptive.eval()(clips).logits)
    converted = make_classifier("tiny_r3d", weights=tmp_path / "plain.safetensors", sgs={"after": "layer2"})
    assert torch.equal(converted.network.fc.weight, plain.network.fc.weight)
    with pytest.raises(WeightsError, match="similarity guided sampling: say after which stage"):
        make_classifier("tiny_r3d", weights=tmp_path / "adaptive.safetensors")


def test_weights_of_sampling_elsewhere_or_otherwise_are_refused(tmp_path):
    save_weights(with_sgs(make_classifier("tiny_r3d"), after="stem"), tmp_path / "stem.safetensors")
    for options in ({"after": "layer1"}, {"after": "stem", "kernel": "kronecker"}):
        with pytest.raises(WeightsError, match=r"sampling \(after stage 0, linear kernel, magnitude\) must be"):
            make_classifier("tiny_r3d", weights=tmp_path / "stem.safetensors", sgs=options)
    fewer = make_classifier("tiny_r3d", weights=tmp_path / "stem.safetensors", sgs={"after": "stem", "num_bins": 4})
    assert fewer.network.sgs.num_bins == 4


def test_what_decides_the_result_is_in_the_hash():
    torch.manual_seed(0)
    plain = make_classifier("tiny_r3d")
    hashes = set()
    for options in ({}, {"kernel": "kronecker"}, {"num_bins": 64}, {"num_bins": 256}, {"after": "stem"}):
        torch.manual_seed(1)
        hashes.add(weights_sha256(with_sgs(plain, **options)))
    assert len(hashes) == 5


def test_export_takes_the_plain_classifier_and_not_the_adaptive_one():
    plain = make_classifier("tiny_r3d")
    clips = torch.zeros(2, *plain.input_shape, dtype=torch.uint8)
    exported = torch.export.export(plain, (clips,)).module()(clips)
    torch.testing.assert_close(exported.logits, plain(clips).logits)
    # How often the rest of the network runs depends on the values of a clip: there is no one graph of it.
    with pytest.raises(Exception, match=r"(?i)data-dependent|unbacked|unsupported|tolist"):
        torch.export.export(with_sgs(plain), (clips,))
