"""X3D: published parameter names, sizes and costs; pooling by hand; time of any size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vidselect_classifiers import make_classifier
from vidselect_classifiers.x3d import ProjectedPool, Stage, round_width

NAMES = ("x3d_xs", "x3d_s", "x3d_m", "x3d_l", "x3d_xl")

# Of PyTorchVideo's X3D_S.pyth.
PUBLISHED_SHAPES = {
    "blocks.0.conv.conv_t.weight": (24, 3, 1, 3, 3),
    "blocks.0.conv.conv_xy.weight": (24, 1, 5, 1, 1),
    "blocks.0.norm.weight": (24,),
    "blocks.0.norm.num_batches_tracked": (),
    "blocks.1.res_blocks.0.branch1_conv.weight": (24, 24, 1, 1, 1),
    "blocks.1.res_blocks.0.branch2.conv_a.weight": (54, 24, 1, 1, 1),
    "blocks.1.res_blocks.0.branch2.norm_a.weight": (54,),
    "blocks.1.res_blocks.0.branch2.conv_b.weight": (54, 1, 3, 3, 3),
    "blocks.1.res_blocks.0.branch2.norm_b.0.weight": (54,),
    "blocks.1.res_blocks.0.branch2.norm_b.1.block.0.weight": (8, 54, 1, 1, 1),
    "blocks.1.res_blocks.0.branch2.norm_b.1.block.0.bias": (8,),
    "blocks.1.res_blocks.0.branch2.norm_b.1.block.2.weight": (54, 8, 1, 1, 1),
    "blocks.1.res_blocks.0.branch2.norm_b.1.block.2.bias": (54,),
    "blocks.1.res_blocks.0.branch2.conv_c.weight": (24, 54, 1, 1, 1),
    "blocks.1.res_blocks.0.branch2.norm_c.running_var": (24,),
    "blocks.1.res_blocks.2.branch2.conv_a.weight": (54, 24, 1, 1, 1),
    "blocks.2.res_blocks.0.branch1_conv.weight": (48, 24, 1, 1, 1),
    "blocks.2.res_blocks.0.branch1_norm.running_mean": (48,),
    "blocks.2.res_blocks.4.branch2.conv_b.weight": (108, 1, 3, 3, 3),
    "blocks.3.res_blocks.10.branch2.norm_b.1.block.0.weight": (16, 216, 1, 1, 1),
    "blocks.4.res_blocks.6.branch2.conv_c.weight": (192, 432, 1, 1, 1),
    "blocks.5.pool.pre_conv.weight": (432, 192, 1, 1, 1),
    "blocks.5.pool.pre_norm.weight": (432,),
    "blocks.5.pool.post_conv.weight": (2048, 432, 1, 1, 1),
    "blocks.5.proj.weight": (400, 2048),
    "blocks.5.proj.bias": (400,),
}
ABSENT = (
    "blocks.0.conv.conv_t.bias",
    "blocks.1.res_blocks.0.branch1_norm.weight",  # as many planes in as out
    "blocks.1.res_blocks.1.branch1_conv.weight",
    "blocks.1.res_blocks.1.branch2.norm_b.1.block.0.weight",  # every other block squeezes
    "blocks.1.res_blocks.3.branch2.conv_a.weight",
    "blocks.5.pool.post_norm.weight",
    "blocks.6.proj.weight",
)


def test_parameter_names_and_shapes_are_those_of_the_published_checkpoints() -> None:
    with torch.device("meta"):
        state = make_classifier("x3d_s").network.state_dict()
    assert {key: tuple(state[key].shape) for key in PUBLISHED_SHAPES} == PUBLISHED_SHAPES
    assert [key for key in ABSENT if key in state] == []
    assert {key.split(".")[0] for key in state} == {"blocks"}


@pytest.mark.parametrize(
    ("width", "rounded"),
    [(12 * 2.0, 24), (12 * 2.9, 32), (24 * 2.9, 72), (48 * 2.9, 136), (96 * 2.9, 280), (54 / 16, 8), (11, 16)],
)
def test_widths_are_rounded_to_multiples_of_8(width: float, rounded: int) -> None:
    # 11 -> 16: 8 would take more than a tenth off.
    assert round_width(width) == rounded


@pytest.mark.parametrize(
    ("name", "num_blocks", "planes"),
    [
        ("x3d_xs", (3, 5, 11, 7), (24, 24, 48, 96, 192)),
        ("x3d_m", (3, 5, 11, 7), (24, 24, 48, 96, 192)),
        ("x3d_l", (5, 10, 25, 15), (24, 24, 48, 96, 192)),
        ("x3d_xl", (5, 10, 25, 15), (32, 32, 72, 136, 280)),
    ],
)
def test_depth_and_width_of_the_stages(name: str, num_blocks: tuple[int, ...], planes: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = make_classifier(name).network
    stages = [network.get_submodule(f"blocks.{i}") for i in (1, 2, 3, 4)]
    assert tuple(len(stage.res_blocks) for stage in stages if isinstance(stage, Stage)) == num_blocks
    norms = ["blocks.0.norm", *(f"blocks.{i}.res_blocks.0.branch2.norm_c" for i in (1, 2, 3, 4))]
    assert tuple(network.get_parameter(f"{norm}.weight").shape[0] for norm in norms) == planes


# Millions of parameters and GMACs, by the ATFR paper's Table 8 (S, L, XL) and PySlowFast's and PyTorchVideo's tables.
@pytest.mark.parametrize(
    ("name", "parameters", "gmacs"),
    [
        ("x3d_xs", 3.79, 0.60),
        ("x3d_s", 3.79, 1.96),
        ("x3d_m", 3.79, 4.73),
        ("x3d_l", 6.15, 18.37),
        ("x3d_xl", 11.09, 35.84),
    ],
)
def test_size_and_cost_are_the_published_ones(name: str, parameters: float, gmacs: float) -> None:
    with torch.device("meta"):
        classifier = make_classifier(name, num_classes=400)
    assert sum(p.numel() for p in classifier.network.parameters()) / 1e6 == pytest.approx(parameters, abs=0.01)
    assert classifier.gmacs_per_clip() == pytest.approx(gmacs, abs=0.01)


@pytest.mark.parametrize(("name", "gmacs"), [("x3d_m", 6.2), ("x3d_l", 24.8), ("x3d_xl", 48.4)])
def test_cost_on_crops_as_high_as_the_frame_is_the_published_one(name: str, gmacs: float) -> None:
    with torch.device("meta"):
        height = {"x3d_m": 256}.get(name, 356)
        classifier = make_classifier(name, crop=(height, height))
    assert classifier.gmacs_per_clip() == pytest.approx(gmacs, abs=0.05)


def test_every_stage_halves_space_and_keeps_time() -> None:
    with torch.device("meta"):
        classifier = make_classifier("x3d_s")
        maps = torch.empty(1, 3, 13, 160, 160)
    shapes = []
    for stage in classifier.stages:
        maps = classifier.network.get_submodule(stage)(maps)
        shapes.append(tuple(maps.shape[1:]))
    assert classifier.stages == ("blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4")
    assert shapes == [(24, 13, 80, 80), (24, 13, 40, 40), (48, 13, 20, 20), (96, 13, 10, 10), (192, 13, 5, 5)]


def test_time_may_shrink_to_one_after_any_stage() -> None:
    torch.manual_seed(0)
    classifier = make_classifier("x3d_xs", num_classes=3)
    maps = torch.randn(1, 3, 3, 32, 32)
    with torch.inference_mode():
        for i, stage in enumerate(classifier.stages):
            maps = classifier.network.get_submodule(stage)(maps)
            shrunk = maps[:, :, :1]
            for later in classifier.stages[i + 1 :]:
                shrunk = classifier.network.get_submodule(later)(shrunk)
            logits = classifier.classify_features(classifier.pool(classifier.network, shrunk))
            assert logits.shape == (1, 3)
            assert logits.isfinite().all()


@pytest.mark.parametrize("name", ["x3d_xs", "x3d_xl"])
def test_logits_of_a_tiny_clip_are_those_of_the_networks_own_forward(name: str) -> None:
    classifier = make_classifier(name, num_classes=3, num_frames=2, crop=(40, 32))
    clips = torch.randint(0, 256, (2, *classifier.input_shape), dtype=torch.uint8)
    with torch.inference_mode():
        output = classifier(clips)
        own = classifier.network(classifier.preprocess(clips))
    assert output.logits.isfinite().all()
    torch.testing.assert_close(output.logits, own, atol=1e-4, rtol=1e-4)


def test_pool_rectifies_averages_widens_and_rectifies() -> None:
    pool = ProjectedPool(8).eval()
    for convolution in (pool.pre_conv, pool.post_conv):
        nn.init.constant_(convolution.weight, 1 / convolution.in_channels)
    with torch.no_grad():
        pool.post_conv.weight[1].neg_()
        maps = torch.ones(1, 8, 2, 3, 3)
        maps[:, :, 1] = -3
        features = pool(maps)
    # 1 and -3 are rectified to 1 and 0, whose mean is a half; the mean of 1 and -3 would give nothing.
    assert features.shape == (1, 2048)
    torch.testing.assert_close(features[0, :3], torch.tensor([0.5, 0.0, 0.5]), atol=1e-4, rtol=0)


def test_pool_takes_the_mean_over_whatever_size() -> None:
    pool = ProjectedPool(8).eval()
    with torch.inference_mode():
        small = pool(torch.ones(1, 8, 1, 1, 1))
        torch.testing.assert_close(pool(torch.ones(1, 8, 3, 11, 6)), small)


def test_features_are_dropped_in_training_only() -> None:
    torch.manual_seed(0)
    classifier = make_classifier("x3d_xs", num_classes=3)
    maps = torch.rand(2, 192, 1, 2, 2)
    network = classifier.network
    assert torch.equal(classifier.pool(network, maps), classifier.pool(network, maps))
    network.train()
    assert not torch.equal(classifier.pool(network, maps), classifier.pool(network, maps))


@pytest.mark.parametrize(
    ("name", "span"), [("x3d_xs", 3 * 12 + 1), ("x3d_s", 12 * 6 + 1), ("x3d_m", 15 * 5 + 1), ("x3d_xl", 15 * 5 + 1)]
)
def test_span_of_the_published_clips(name: str, span: int) -> None:
    with torch.device("meta"):
        geometry = make_classifier(name).geometry
    assert geometry.span == span
    assert (geometry.mean, geometry.std) == ((0.45,) * 3, (0.225,) * 3)


def test_geometry_fields_can_be_changed_by_keyword() -> None:
    with torch.device("meta"):
        classifier = make_classifier("x3d_s", num_frames=8, crop=(96, 128))
    assert classifier.input_shape == (8, 3, 96, 128)
    assert classifier.geometry.frame_stride == 6


def test_400_classes_carry_the_names_of_kinetics() -> None:
    with torch.device("meta"):
        named, nameless = make_classifier("x3d_s"), make_classifier("x3d_s", num_classes=7)
    assert named.class_names is not None
    assert named.class_names[5] == "archery"
    assert nameless.class_names is None
