"""Plain modules as classifiers: features by the way, layouts, costs, and what is refused."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vidselect_classifiers import (
    ClipClassifier,
    ClipGeometry,
    PlainClassifier,
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


def clips(*, num_clips: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (num_clips, 4, 3, 8, 8), dtype=torch.uint8, generator=generator)


def normalised(pixels: Tensor) -> Tensor:
    """(B, T, 3, H, W), as `GEOMETRY` says."""
    return (pixels.float() / 255 - 0.5) / 0.25


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
    classifier = PlainClassifier(network, geometry=GEOMETRY, class_names=["a", "b", "c", "d", "e"])
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
