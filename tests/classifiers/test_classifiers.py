"""Every classifier of the registry on small random clips."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor

from vidselect_classifiers import CLASSIFIERS, ClipClassifier, ClipGeometry, ClipOutput, make_classifier

# The smallest clips that each network takes (tiny_r3d and mvit_v2_s: their own).
RESNETS_50 = ("resnet3d_18_modified", "resnet3d_50", "i3d_r50", "r2plus1d_50")
SLOWFAST = ("slowfast_4x16_r50", "slowfast_8x8_r50", "slowfast_8x8_r18")
X3D = ("x3d_xs", "x3d_s", "x3d_m", "x3d_l", "x3d_xl")
SMALL: dict[str, dict[str, Any]] = {
    "s3d": {"num_frames": 14, "crop": (209, 209)},
    "swin3d_t": {"num_frames": 4, "crop": (64, 64)},
    "i3d": {"num_frames": 8, "crop": (64, 64)},
    "frame_resnet18": {"crop": (64, 64)},
    "frame_resnet50": {"crop": (64, 64)},
    **{name: {"crop": (64, 64)} for name in ("tsn_resnet18", "tsn_resnet50", "tsn_resnet101", "tsn_bn_inception")},
    **{name: {"crop": (64, 64)} for name in ("tsm_resnet50", *SLOWFAST)},
    **{
        name: {"num_frames": 4, "crop": (32, 32)}
        for name in ("r3d_18", "r3d_34", "mc3_18", "r2plus1d_18", "r2plus1d_34", *RESNETS_50, *X3D)
    },
}
FEATURE_DIMS = {
    "tiny_r3d": 64,
    "lip_tcn": 128,
    "s3d": 1024,
    "i3d": 1024,
    "mvit_v2_s": 768,
    "swin3d_t": 768,
    "frame_resnet50": 2048,
    "tsn_resnet50": 2048,
    "tsn_resnet101": 2048,
    "tsn_bn_inception": 1024,
    "resnet3d_18_modified": 1024,
    "resnet3d_50": 1024,
    **dict.fromkeys(("i3d_r50", "r2plus1d_50", "tsm_resnet50", *X3D), 2048),
    **dict.fromkeys(SLOWFAST, 2304),
}
NUM_CLASSES = 7

every_classifier = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.campaign) if name == "mvit_v2_s" else name for name in CLASSIFIERS],
)


@cache
def example(name: str) -> tuple[ClipClassifier, Tensor, ClipOutput]:
    """A classifier, two random clips, and what it says about them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classifier = make_classifier(name, num_classes=NUM_CLASSES, **SMALL.get(name, {}))
        clips = torch.randint(0, 256, (2, *classifier.input_shape), dtype=torch.uint8)
    with torch.inference_mode():
        return classifier, clips, classifier(clips)


@every_classifier
def test_two_clips_give_two_rows_of_logits_and_features(name: str) -> None:
    classifier, _, output = example(name)
    features = FEATURE_DIMS.get(name, 512)
    assert output.logits.shape == (2, NUM_CLASSES)
    assert output.features.shape == (2, features)
    assert (classifier.num_classes, classifier.feature_dim) == (NUM_CLASSES, features)
    assert output.logits.isfinite().all()


@every_classifier
def test_head_on_the_features_gives_the_logits(name: str) -> None:
    classifier, _, output = example(name)
    with torch.inference_mode():
        torch.testing.assert_close(classifier.classify_features(output.features), output.logits)


@every_classifier
def test_logits_are_those_of_the_networks_own_forward(name: str) -> None:
    classifier, clips, output = example(name)
    inputs = classifier.preprocess(clips[:1])
    if name.startswith(("frame_", "tsn_")):
        inputs = inputs.squeeze(2)
    if name.startswith("tsm_"):  # its forward takes the frames of a clip as so many pictures
        inputs = inputs.transpose(1, 2).flatten(0, 1)
    with torch.inference_mode():
        logits = classifier.network(inputs).mean(0, keepdim=True)
    torch.testing.assert_close(logits, output.logits[:1], atol=1e-4, rtol=1e-4)


@every_classifier
def test_a_clip_alone_gives_the_logits_it_has_in_a_batch(name: str) -> None:
    classifier, clips, output = example(name)
    with torch.inference_mode():
        torch.testing.assert_close(classifier(clips[1:]).logits, output.logits[1:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "torchvision_name"),
    [(name, name) for name in ("r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v2_s", "swin3d_t")]
    + [("frame_resnet18", "resnet18"), ("frame_resnet50", "resnet50")],
)
def test_parameter_names_and_shapes_are_those_of_torchvision(name: str, torchvision_name: str) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(torchvision_name).state_dict()
        ours = make_classifier(name).network.state_dict()
    assert {key: value.shape for key, value in ours.items()} == {k: v.shape for k, v in theirs.items()}


def test_r2plus1d_34_takes_middle_planes_from_each_convolution() -> None:
    with torch.device("meta"):
        network = make_classifier("r2plus1d_34").network
    state = network.state_dict()
    assert [state[f"layer{i}.0.conv1.0.0.weight"].shape[0] for i in (1, 2, 3, 4)] == [144, 230, 460, 921]
    assert [state[f"layer{i}.0.conv2.0.0.weight"].shape[0] for i in (1, 2, 3, 4)] == [144, 288, 576, 1152]
    assert sum(p.numel() for p in network.parameters()) == 63_697_175


def test_34_layer_networks_have_3_4_6_3_blocks() -> None:
    with torch.device("meta"):
        network = make_classifier("r3d_34").network
    assert [len(network.get_submodule(f"layer{i}")) for i in (1, 2, 3, 4)] == [3, 4, 6, 3]  # type: ignore[arg-type]


def test_without_a_number_of_classes_the_head_is_that_of_the_usual_data_set() -> None:
    with torch.device("meta"):
        made = {name: make_classifier(name).num_classes for name in ("tiny_r3d", "r3d_18", "frame_resnet18")}
    assert made == {"tiny_r3d": 8, "r3d_18": 400, "frame_resnet18": 1000}


def test_default_geometry_of_the_video_resnets() -> None:
    geometry = example("r3d_18")[0].geometry
    assert (geometry.resize, geometry.mean) == ((128, 171), (0.43216, 0.394666, 0.37645))
    with torch.device("meta"):
        assert make_classifier("r3d_18").input_shape == (16, 3, 112, 112)


def test_geometry_fields_can_be_changed_by_keyword() -> None:
    classifier = make_classifier("tiny_r3d", num_frames=4, frame_stride=3, crop=(24, 32), width=4)
    assert classifier.input_shape == (4, 3, 24, 32)
    assert classifier.geometry.span == 10
    assert classifier.feature_dim == 32


def test_a_crop_larger_than_the_frame_is_refused() -> None:
    with pytest.raises(ValueError, match=r"crop \(40, 32\) must fit into the resized frame \(32, 32\)"):
        make_classifier("tiny_r3d", crop=(40, 32))


def test_mvit_refuses_clips_that_its_position_tables_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"num_frames \(8\) .* of mvit_v2_s must be 16"):
        make_classifier("mvit_v2_s", num_frames=8)


def test_a_frame_classifier_refuses_clips_of_more_frames() -> None:
    with pytest.raises(ValueError, match=r"num_frames \(2\) of frame_resnet18 must be 1"):
        make_classifier("frame_resnet18", num_frames=2)


def test_classifiers_come_in_evaluation_mode() -> None:
    assert not any(module.training for module in make_classifier("tiny_r3d").modules())


def test_an_unknown_classifier_gets_a_hint() -> None:
    with pytest.raises(ValueError, match="unknown classifier 'r3d18': did you mean 'r3d_18'"):
        make_classifier("r3d18")


def test_a_builder_elsewhere_is_named_by_module_and_attribute() -> None:
    classifier = make_classifier("vidselect_classifiers.tiny_r3d:tiny_r3d", num_classes=3)
    assert classifier.num_classes == 3


def test_preprocessing_scales_normalises_and_puts_time_behind_the_channels() -> None:
    classifier = make_classifier("tiny_r3d", mean=(0.5, 0.0, 1.0), std=(0.5, 1.0, 2.0))
    clips = torch.zeros(1, 2, 3, 1, 1, dtype=torch.uint8)
    clips[0, 1] = 255
    expected = torch.tensor([[-1.0, 1.0], [0.0, 1.0], [-0.5, 0.0]]).view(1, 3, 2, 1, 1)
    torch.testing.assert_close(classifier.preprocess(clips), expected)


@pytest.mark.parametrize("clips", [torch.zeros(1, 8, 3, 32, 32), torch.zeros(8, 3, 32, 32, dtype=torch.uint8)])
def test_clips_that_are_not_uint8_of_five_dimensions_are_refused(clips: Tensor) -> None:
    with pytest.raises(ValueError, match="must be uint8 of shape"):
        make_classifier("tiny_r3d")(clips)


def test_a_replaced_head_keeps_the_kind_of_layer_and_forgets_the_names() -> None:
    classifier = make_classifier("i3d")
    assert classifier.class_names is not None
    assert classifier.class_names[5] == "archery"
    classifier.replace_head(3)
    assert isinstance(classifier.head, torch.nn.Conv3d)
    assert (classifier.num_classes, classifier.feature_dim, classifier.class_names) == (3, 1024, None)


def test_class_names_must_be_as_many_as_the_outputs() -> None:
    with pytest.raises(ValueError, match=r"class_names \(1\) must be as many as the head's outputs \(8\)"):
        make_classifier("tiny_r3d").set_class_names(["left"])


@pytest.mark.parametrize("name", ["tiny_r3d", "i3d"])
def test_kept_classes_keep_their_rows_of_the_head(name: str) -> None:
    classifier = make_classifier(name, num_classes=4)
    classifier.set_class_names(["red", "green", "blue", "white"])
    features = torch.randn(3, classifier.feature_dim, generator=torch.Generator().manual_seed(0))
    before = classifier.classify_features(features)
    classifier.keep_classes(["blue", "red"])
    torch.testing.assert_close(classifier.classify_features(features), before[:, [2, 0]])
    assert (classifier.num_classes, classifier.class_names) == (2, ("blue", "red"))
    assert classifier.head.weight.requires_grad


@pytest.mark.parametrize(
    ("known", "wanted", "message"),
    [
        (["red", "green"], ["red", "pink", "teal"], r"does not know the classes 'pink', 'teal': its 2 are red, green"),
        (["red", "green"], ["red", "red"], r"\('red', 'red'\) must be one or more, and different"),
        (["red", "green"], [], r"\(\) must be one or more"),
        (None, ["red"], "needs a classifier with class names"),
    ],
)
def test_classes_that_cannot_be_kept_are_named(known, wanted, message) -> None:
    classifier = make_classifier("tiny_r3d", num_classes=2)
    classifier.set_class_names(known)
    with pytest.raises(ValueError, match=message):
        classifier.keep_classes(wanted)


def test_a_head_that_is_no_linear_map_is_refused() -> None:
    with pytest.raises(TypeError, match=r"head '0' .* must be an nn.Linear"):
        ClipClassifier(
            torch.nn.Sequential(torch.nn.ReLU()),
            head="0",
            pool=lambda network, clips: clips,
            geometry=ClipGeometry(num_frames=1, resize=8, crop=(8, 8)),
        )
