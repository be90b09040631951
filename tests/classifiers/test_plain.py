"""Plain modules as classifiers: features by the way, layouts, costs, and what is refused."""

from __future__ import annotations

import copy
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vidselect_classifiers import (
    CLASSIFIERS,
    ClipClassifier,
    ClipGeometry,
    PlainClassifier,
    WeightsError,
    make_classifier,
    register_classifier,
    registry,
    save_weights,
    weights_sha256,
)

GEOMETRY = ClipGeometry(num_frames=4, frame_stride=2, resize=12, crop=(8, 8), mean=(0.5,) * 3, std=(0.25,) * 3)


class Means(nn.Module):
    """Mean colour of a clip (B, 3, T, H, W), a hidden layer, a linear layer."""

    geometry = GEOMETRY
    head_name = "top.fc"

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.hidden = nn.Linear(3, 6)
        self.top = nn.ModuleDict({"fc": nn.Linear(6, num_classes)})

    def features(self, clips: Tensor) -> Tensor:
        return self.hidden(clips.mean(dim=(2, 3, 4))).relu()

    def forward(self, clips: Tensor) -> Any:
        return self.top["fc"](self.features(clips))


class Headless(Means):
    head_name = None
    class_names = ("a", "b", "c", "d", "e")


def clips(*, num_clips: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (num_clips, 4, 3, 8, 8), dtype=torch.uint8, generator=generator)


def normalised(pixels: Tensor) -> Tensor:
    """(B, T, 3, H, W), as `GEOMETRY` says."""
    return (pixels.float() / 255 - 0.5) / 0.25


@pytest.fixture(autouse=True)
def no_new_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidselect_classifiers.CLASSIFIERS", dict(CLASSIFIERS))


def test_logits_are_the_modules_own_and_features_what_its_head_is_given() -> None:
    network = Means()
    classifier = PlainClassifier(network, geometry=GEOMETRY, head="top.fc").eval()
    output = classifier(clips())
    inputs = normalised(clips()).transpose(1, 2)
    assert torch.equal(output.logits, network(inputs))
    assert torch.equal(output.features, network.features(inputs))
    assert torch.equal(classifier.classify_features(output.features), output.logits)
    assert (classifier.num_classes, classifier.feature_dim, classifier.has_features) == (5, 6, True)
    assert torch.equal(classifier.pool(network, inputs), output.features)


def test_no_hook_stays_behind() -> None:
    classifier = PlainClassifier(Means(), geometry=GEOMETRY, head="top.fc")
    classifier(clips())
    assert not any(module._forward_pre_hooks for module in classifier.modules())


def test_a_network_may_take_time_before_the_channels() -> None:
    class TimeFirst(Means):
        def forward(self, clips: Tensor) -> Tensor:
            assert clips.shape[1:] == (4, 3, 8, 8)
            return super().forward(clips.transpose(1, 2))

    network = TimeFirst()
    output = PlainClassifier(network, geometry=GEOMETRY, head="top.fc", layout="tchw")(clips())
    assert torch.equal(output.logits, network(normalised(clips())))


def test_a_network_may_give_something_that_has_logits() -> None:
    class Named(Means):
        def forward(self, clips: Tensor) -> Any:
            return SimpleNamespace(logits=super().forward(clips), loss=None)

    network = Named()
    output = PlainClassifier(network, geometry=GEOMETRY, head="top.fc")(clips())
    assert torch.equal(output.logits, network(normalised(clips()).transpose(1, 2)).logits)


def test_a_head_may_be_a_convolution_of_kernel_1() -> None:
    class Convolved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Conv3d(3, 5, kernel_size=1)

        def forward(self, clips: Tensor) -> Tensor:
            return self.last(clips.mean(dim=(2, 3, 4), keepdim=True)).flatten(1)

    output = PlainClassifier(Convolved(), geometry=GEOMETRY, head="last")(clips())
    torch.testing.assert_close(output.features, normalised(clips()).mean(dim=(1, 3, 4)))


def test_without_a_head_there_are_logits_alone_and_the_rest_says_so() -> None:
    network = Headless()
    classifier = PlainClassifier(network, geometry=GEOMETRY, class_names=network.class_names)
    output = classifier(clips())
    assert torch.equal(output.logits, network(normalised(clips()).transpose(1, 2)))
    assert output.features.shape == (2, 0)
    assert (classifier.num_classes, classifier.has_features) == (5, False)
    for asked in (
        lambda: classifier.feature_dim,
        lambda: classifier.replace_head(3),
        lambda: classifier.put_head(nn.Linear(6, 2), ("a", "b")),
        lambda: classifier.classify_features(torch.zeros(1, 6)),
    ):
        with pytest.raises(ValueError, match="'Headless' gives logits alone, no features: name its last layer as head"):
            asked()


def test_an_attribute_says_what_a_plain_module_needs_and_options_change_its_geometry() -> None:
    register_classifier("means", Means)
    classifier = make_classifier("means", num_classes=3, num_frames=2)
    assert isinstance(classifier, PlainClassifier)
    assert (classifier.name, classifier.num_classes, classifier.head_name) == ("means", 3, "top.fc")
    assert classifier.input_shape == (2, 3, 8, 8)
    assert classifier.geometry.frame_stride == 2
    assert not classifier.training


def test_a_builder_may_wrap_its_module_itself() -> None:
    register_classifier("wrapped", lambda: PlainClassifier(Means(), geometry=GEOMETRY, head="top.fc", name="mine"))
    assert make_classifier("wrapped").name == "mine"
    with pytest.raises(ValueError, match="the builder of classifier 'wrapped' takes no num_frames"):
        make_classifier("wrapped", num_frames=2)


def test_a_name_is_registered_once() -> None:
    register_classifier("means", Means)
    with pytest.raises(ValueError, match="classifier 'means' is already registered"):
        register_classifier("means", Means)
    with pytest.raises(ValueError, match="did you mean 'means'"):
        make_classifier("maens")


def test_a_plain_module_comes_by_module_and_attribute_or_as_an_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_means.py").write_text(
        "from torch import nn\n"
        "from vidselect_classifiers import ClipGeometry\n"
        "class Net(nn.Sequential):\n"
        "    geometry = ClipGeometry(num_frames=1, resize=2, crop=(2, 2))\n"
        "    head_name = '1'\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(12, 2))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert make_classifier("their_means:Net").feature_dim == 12
    entry = EntryPoint(name="theirs", value="their_means:Net", group="vidselect.classifiers")
    monkeypatch.setattr(registry, "entry_points", lambda *, group: [entry] if group == entry.group else [])
    assert make_classifier("theirs").name == "theirs"
    sys.modules.pop("their_means")


def test_a_builder_that_takes_no_number_of_classes_gets_a_new_head_where_that_is_asked_for() -> None:
    register_classifier("fixed", lambda: Means(5))
    assert make_classifier("fixed", num_classes=5).num_classes == 5
    with pytest.raises(ValueError, match="'fixed' has 5 classes, and num_classes is 2: pass replace_head=True"):
        make_classifier("fixed", num_classes=2)
    classifier = make_classifier("fixed", num_classes=2, replace_head=True)
    output = classifier(clips())
    assert output.logits.shape == (2, 2)
    assert torch.equal(classifier.classify_features(output.features), output.logits)


def test_weights_are_a_file_of_the_modules_own_names(tmp_path: Path) -> None:
    register_classifier("means", Means)
    trained = make_classifier("means", num_classes=3)
    trained.set_class_names(["left", "right", "up"])
    save_weights(trained, tmp_path / "means.safetensors")
    loaded = make_classifier("means", weights=tmp_path / "means.safetensors")
    assert weights_sha256(loaded) == weights_sha256(trained)
    assert loaded.class_names == ("left", "right", "up")
    assert set(trained.network.state_dict()) == {"hidden.weight", "hidden.bias", "top.fc.weight", "top.fc.bias"}


def test_weights_of_a_module_without_a_head_must_have_its_classes(tmp_path: Path) -> None:
    register_classifier("headless", lambda: Headless())
    save_weights(make_classifier("headless"), tmp_path / "five.safetensors")
    assert make_classifier("headless", weights=tmp_path / "five.safetensors").num_classes == 5
    with pytest.raises(ValueError, match="gives logits alone"):
        make_classifier("headless", weights=tmp_path / "five.safetensors", num_classes=2)


def test_default_weights_are_those_that_the_builder_gives() -> None:
    def constant() -> nn.Module:
        network = Means()
        for parameter in network.parameters():
            nn.init.constant_(parameter, 0.5)
        return network

    register_classifier("constant", constant)
    assert set(make_classifier("constant", weights="default").network.state_dict()["hidden.bias"].tolist()) == {0.5}
    with pytest.raises(WeightsError, match="unknown weights 'imagenet' of constant"):
        make_classifier("constant", weights="imagenet")
    with pytest.raises(WeightsError, match="unknown weights 'default' of mc3_18"):  # built in: it has another name
        make_classifier("mc3_18", weights="default")


class Attending(nn.Module):
    """Attention of 4 frames over one another, 12 values each, in 2 heads; with `looks`, it needs values to run."""

    geometry = GEOMETRY

    def __init__(self, *, looks: bool = False) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 5)
        self.looks = looks

    def forward(self, clips: Tensor) -> Tensor:
        if self.looks and clips.abs().sum().item() < 0:
            raise AssertionError("never")
        frames = clips.flatten(3).unflatten(3, (16, 4)).mean(3).transpose(1, 2).flatten(2)  # (B, 4, 12)
        heads = frames.unflatten(2, (2, 6)).transpose(1, 2)
        attended = functional.scaled_dot_product_attention(heads, heads, heads)
        return self.fc(attended.transpose(1, 2).flatten(2).mean(1))


@pytest.mark.parametrize("looks", [False, True])
def test_multiply_adds_are_counted_with_and_without_values(looks: bool) -> None:
    classifier = PlainClassifier(Attending(looks=looks), geometry=GEOMETRY, head="fc")
    # Two heads: 4 x 6 by 6 x 4, and 4 x 4 by 4 x 6; then 12 x 5.
    assert classifier.gmacs_per_clip() * 1e9 == pytest.approx(2 * 2 * 4 * 4 * 6 + 12 * 5)


def test_a_trial_leaves_the_modes_as_they_were() -> None:
    network = Attending(looks=True)
    network.fc.eval()
    PlainClassifier(network, geometry=GEOMETRY)
    assert (network.training, network.fc.training) == (True, False)


def test_copies_work_alone() -> None:
    classifier = PlainClassifier(Means(), geometry=GEOMETRY, head="top.fc").eval()
    twin = copy.deepcopy(classifier)
    twin.replace_head(2)
    assert (twin(clips()).logits.shape[1], classifier(clips()).logits.shape[1]) == (2, 5)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: nn.Linear(2, 2), r"is a plain Linear, and its attribute geometry \(None\) is no ClipGeometry"),
        (lambda: "net", "made str: it must make a ClipClassifier, or an nn.Module with a geometry"),
        (Means(), "is a module already: name the function or class that makes it"),
    ],
)
def test_what_is_no_classifier_is_refused(made: Any, message: str) -> None:
    register_classifier("odd", made)
    with pytest.raises((TypeError, ValueError), match=f"classifier 'odd' .*{message}|classifier 'odd' {message}"):
        make_classifier("odd")


def network_of(forward: Any, **attributes: Any) -> nn.Module:
    """`Means` whose forward is `forward(network, clips)`."""
    kind = type("Odd", (Means,), {"forward": forward, **attributes})
    return kind()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (network_of(lambda net, x: net.hidden(x.flatten(1))), "does not take clips of its geometry.*4, 3, 8, 8"),
        (network_of(lambda net, x: x.mean(dim=(2, 4))), r"head 'top.fc' must be called once a batch.* 0 times"),
        (network_of(lambda net, x: net.top["fc"](net.features(x))[:, :3]), r"gives \(1, 3\) for one clip.*\(1, 5\)"),
        (
            network_of(lambda net, x: net.top["fc"](net.features(x)[:, None].expand(-1, 4, -1)).mean(1)),
            r"head 'top.fc' is given \(1, 4, 6\): features must be \(1, 6\)",
        ),
    ],
)
def test_a_network_that_does_not_fit_is_refused_when_it_is_made(network: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PlainClassifier(network, geometry=GEOMETRY, head="top.fc")


def test_a_network_that_gives_no_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="a network gave tuple: it must be a tensor of logits"):
        PlainClassifier(network_of(lambda net, x: (x, x)), geometry=GEOMETRY)


def test_heads_and_layouts_and_names_that_there_are_not_are_refused() -> None:
    with pytest.raises(AttributeError, match="bottom"):
        PlainClassifier(Means(), geometry=GEOMETRY, head="bottom")
    with pytest.raises(TypeError, match=r"(?s)head 'top' .* must be an nn.Linear"):
        PlainClassifier(Means(), geometry=GEOMETRY, head="top")
    with pytest.raises(ValueError, match="layout 'thwc' must be one of cthw, tchw"):
        PlainClassifier(Means(), geometry=GEOMETRY, layout="thwc")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"class_names \(1\) must be as many as the head's outputs \(5\)"):
        PlainClassifier(Headless(), geometry=GEOMETRY, class_names=["a"])


def test_a_softmax_after_the_head_is_found_at_the_first_batch() -> None:
    softmax = network_of(lambda net, x: net.top["fc"](net.features(x)).softmax(-1))
    classifier = PlainClassifier(softmax, geometry=GEOMETRY, head="top.fc")
    with pytest.raises(ValueError, match=r"output of 'Odd' is not what its head 'top.fc' makes .*a softmax after it"):
        classifier(clips())


def test_what_a_trained_network_says_passes_that_check_in_half_precision() -> None:
    classifier = PlainClassifier(Means(), geometry=GEOMETRY, head="top.fc").bfloat16()
    assert isinstance(classifier, ClipClassifier)
    assert classifier(clips()).logits.dtype == torch.bfloat16
