"""Checkpoints with other libraries' names: made files, and what their own network says, computed from the names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vidselect_classifiers import WeightsError, load_weights, make_classifier, weights_sha256
from vidselect_classifiers.checkpoint_names import library_of, own_names

State = dict[str, Tensor]

# What PySlowFast 1.0, mmaction2 1.2.0 and PyTorchVideo 0.1.5 call their parts. {s} counts stages from 1 to 4.
X3D_NAMES = {
    "PySlowFast": {
        "stem": ("s1.pathway0_stem.conv_xy", "s1.pathway0_stem.conv", "s1.pathway0_stem.bn"),
        "block": lambda s, b: f"s{s + 1}.pathway0_res{b}.",
        "shortcut": ("branch1", "branch1_bn"),
        "branch": tuple(f"branch2.{part}" for part in ("a", "a_bn", "b", "b_bn", "c", "c_bn")),
        "squeeze": ("branch2.se.fc1", "branch2.se.fc2"),
        "head": ("head.conv_5", "head.conv_5_bn", "head.lin_5", "head.projection"),
    },
    "mmaction2": {
        "stem": ("backbone.conv1_s.conv", "backbone.conv1_t.conv", "backbone.conv1_t.bn"),
        "block": lambda s, b: f"backbone.layer{s}.{b}.",
        "shortcut": ("downsample.conv", "downsample.bn"),
        "branch": tuple(f"conv{i}.{part}" for i in (1, 2, 3) for part in ("conv", "bn")),
        "squeeze": ("se_module.fc1", "se_module.fc2"),
        "head": ("backbone.conv5.conv", "backbone.conv5.bn", "cls_head.fc1", "cls_head.fc2"),
    },
}
I3D_NAMES = {
    "PySlowFast": {
        "stem": ("s1.pathway0_stem.conv", "s1.pathway0_stem.bn"),
        "block": lambda s, b: f"s{s + 1}.pathway0_res{b}.",
        "shortcut": ("branch1", "branch1_bn"),
        "branch": tuple(f"branch2.{part}" for part in ("a", "a_bn", "b", "b_bn", "c", "c_bn")),
        "head": "head.projection",
    },
    "PyTorchVideo": {
        "stem": ("blocks.0.conv", "blocks.0.norm"),
        "block": lambda s, b: f"blocks.{s if s == 1 else s + 1}.res_blocks.{b}.",  # blocks.2 is a pooling
        "shortcut": ("branch1_conv", "branch1_norm"),
        "branch": tuple(f"branch2.{kind}_{part}" for part in "abc" for kind in ("conv", "norm")),
        "head": "blocks.6.proj",
    },
}
X3D_STAGES = {1: (24, 54, 8, 3), 2: (48, 108, 8, 5), 3: (96, 216, 16, 11), 4: (192, 432, 32, 7)}
I3D_STAGES = {
    1: (256, 64, (3, 3, 3)),
    2: (512, 128, (3, 1, 3, 1)),
    3: (1024, 256, (3, 1, 3, 1, 3, 1)),
    4: (2048, 512, (1, 3, 1)),
}


class Made:
    """A random state dict; convolutions of He's size, batch norms that are no identity."""

    def __init__(self) -> None:
        self.state: State = {}
        self.generator = torch.Generator().manual_seed(0)

    def random(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)

    def matrix(self, name: str, shape: tuple[int, ...], *, bias: bool = False) -> None:
        fan_in = torch.Size(shape[1:]).numel()
        self.state[f"{name}.weight"] = self.random(*shape) * (2 / fan_in) ** 0.5
        if bias:
            self.state[f"{name}.bias"] = 0.1 * self.random(shape[0])

    def norm(self, name: str, planes: int) -> None:
        self.state |= {
            f"{name}.weight": 1 + 0.2 * self.random(planes),
            f"{name}.bias": 0.2 * self.random(planes),
            f"{name}.running_mean": 0.2 * self.random(planes),
            f"{name}.running_var": 0.5 + torch.rand(planes, generator=self.generator),
            f"{name}.num_batches_tracked": torch.tensor(7),
        }


def made_x3d(library: str) -> State:
    """X3D-S under a library's names."""
    names, made = X3D_NAMES[library], Made()
    made.matrix(names["stem"][0], (24, 3, 1, 3, 3))
    made.matrix(names["stem"][1], (24, 1, 5, 1, 1))
    made.norm(names["stem"][2], 24)
    planes = 24
    for stage, (out, inner, squeezed, num_blocks) in X3D_STAGES.items():
        for block in range(num_blocks):
            at = names["block"](stage, block)
            if block == 0:
                made.matrix(at + names["shortcut"][0], (out, planes, 1, 1, 1))
                made.norm(at + names["shortcut"][1], out)
            a, a_norm, b, b_norm, c, c_norm = (at + part for part in names["branch"])
            made.matrix(a, (inner, planes, 1, 1, 1))
            made.norm(a_norm, inner)
            made.matrix(b, (inner, 1, 3, 3, 3))
            made.norm(b_norm, inner)
            if block % 2 == 0:
                made.matrix(at + names["squeeze"][0], (squeezed, inner, 1, 1, 1), bias=True)
                made.matrix(at + names["squeeze"][1], (inner, squeezed, 1, 1, 1), bias=True)
            made.matrix(c, (out, inner, 1, 1, 1))
            made.norm(c_norm, out)
            planes = out
    conv_5, norm_5, lin_5, last = names["head"]
    made.matrix(conv_5, (432, 192, 1, 1, 1))
    made.norm(norm_5, 432)
    made.matrix(lin_5, (2048, 432) if library == "mmaction2" else (2048, 432, 1, 1, 1))
    made.matrix(last, (400, 2048), bias=True)
    return made.state


def conv(state: State, name: str, maps: Tensor, **options: Any) -> Tensor:
    return functional.conv3d(maps, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)


def norm(state: State, name: str, maps: Tensor) -> Tensor:
    mean, var, weight, bias = (state[f"{name}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(maps, mean, var, weight, bias)


def x3d_logits(state: State, library: str, clips: Tensor) -> Tensor:
    """What the library's X3D says of clips (B, 3, T, H, W)."""
    names = X3D_NAMES[library]
    maps = conv(state, names["stem"][0], clips, stride=(1, 2, 2), padding=(0, 1, 1))
    maps = conv(state, names["stem"][1], maps, padding=(2, 0, 0), groups=24)
    maps = norm(state, names["stem"][2], maps).relu()
    for stage, (_, inner, _, num_blocks) in X3D_STAGES.items():
        for block in range(num_blocks):
            at = names["block"](stage, block)
            step = (1, 2, 2) if block == 0 else 1
            shortcut = maps
            if block == 0:
                shortcut = conv(state, at + names["shortcut"][0], maps, stride=step)
                shortcut = norm(state, at + names["shortcut"][1], shortcut)
            a, a_norm, b, b_norm, c, c_norm = (at + part for part in names["branch"])
            maps = norm(state, a_norm, conv(state, a, maps)).relu()
            maps = norm(state, b_norm, conv(state, b, maps, stride=step, padding=1, groups=inner))
            if block % 2 == 0:
                mean = maps.mean(dim=(2, 3, 4), keepdim=True)
                squeezed = conv(state, at + names["squeeze"][0], mean).relu()
                maps = maps * conv(state, at + names["squeeze"][1], squeezed).sigmoid()
            maps = norm(state, c_norm, conv(state, c, functional.silu(maps)))
            maps = (maps + shortcut).relu()
    conv_5, norm_5, lin_5, last = names["head"]
    pooled = norm(state, norm_5, conv(state, conv_5, maps)).relu().mean(dim=(2, 3, 4))
    hidden = (pooled @ state[f"{lin_5}.weight"].flatten(1).T).relu()
    return hidden @ state[f"{last}.weight"].T + state[f"{last}.bias"]


def made_i3d(library: str) -> State:
    """I3D on ResNet-50 under a library's names."""
    names, made = I3D_NAMES[library], Made()
    made.matrix(names["stem"][0], (64, 3, 5, 7, 7))
    made.norm(names["stem"][1], 64)
    planes = 64
    for stage, (out, inner, kernels) in I3D_STAGES.items():
        for block, kernel in enumerate(kernels):
            at = names["block"](stage, block)
            if block == 0:
                made.matrix(at + names["shortcut"][0], (out, planes, 1, 1, 1))
                made.norm(at + names["shortcut"][1], out)
            a, a_norm, b, b_norm, c, c_norm = (at + part for part in names["branch"])
            made.matrix(a, (inner, planes, kernel, 1, 1))
            made.norm(a_norm, inner)
            made.matrix(b, (inner, inner, 1, 3, 3))
            made.norm(b_norm, inner)
            made.matrix(c, (out, inner, 1, 1, 1))
            made.norm(c_norm, out)
            planes = out
    made.matrix(names["head"], (400, 2048), bias=True)
    return made.state


def i3d_logits(state: State, library: str, clips: Tensor) -> Tensor:
    """What the library's I3D says of clips (B, 3, T, H, W)."""
    names = I3D_NAMES[library]
    maps = conv(state, names["stem"][0], clips, stride=(1, 2, 2), padding=(2, 3, 3))
    maps = norm(state, names["stem"][1], maps).relu()
    maps = functional.max_pool3d(maps, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
    for stage, (_, _, kernels) in I3D_STAGES.items():
        for block, kernel in enumerate(kernels):
            at = names["block"](stage, block)
            step = (1, 2, 2) if stage > 1 and block == 0 else 1
            shortcut = maps
            if block == 0:
                shortcut = conv(state, at + names["shortcut"][0], maps, stride=step)
                shortcut = norm(state, at + names["shortcut"][1], shortcut)
            a, a_norm, b, b_norm, c, c_norm = (at + part for part in names["branch"])
            maps = norm(state, a_norm, conv(state, a, maps, padding=(kernel // 2, 0, 0))).relu()
            maps = norm(state, b_norm, conv(state, b, maps, stride=step, padding=(0, 1, 1))).relu()
            maps = (norm(state, c_norm, conv(state, c, maps)) + shortcut).relu()
        if stage == 1:
            maps = functional.max_pool3d(maps, (2, 1, 1))
    last = names["head"]
    return maps.mean(dim=(2, 3, 4)) @ state[f"{last}.weight"].T + state[f"{last}.bias"]


@pytest.mark.parametrize(
    ("library", "name", "made", "logits_of", "num_keys"),
    [
        ("PySlowFast", "x3d_s", made_x3d, x3d_logits, 568),
        ("mmaction2", "x3d_s", made_x3d, x3d_logits, 568),
        ("PySlowFast", "i3d_r50", made_i3d, i3d_logits, 320),
        ("PyTorchVideo", "i3d_r50", made_i3d, i3d_logits, 320),
    ],
)
def test_a_checkpoint_says_here_what_it_says_there(
    tmp_path: Path, library: str, name: str, made: Any, logits_of: Any, num_keys: int
) -> None:
    state = made(library)
    assert len(state) == num_keys
    torch.save({"model_state": state, "epoch": 256, "cfg": "TRAIN: ..."}, tmp_path / "theirs.pyth")
    classifier = make_classifier(name, weights=tmp_path / "theirs.pyth", num_frames=4, crop=(32, 32))
    clips = torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = logits_of(state, library, clips)
        found = classifier.network(clips)
    assert expected.std() > 0.05
    torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4)


def test_names_of_pytorchvideos_x3d_are_the_networks_own(tmp_path: Path) -> None:
    trained = make_classifier("x3d_xs", num_classes=4)
    assert library_of(trained.network.state_dict()) == "PyTorchVideo"
    torch.save({"model_state": trained.network.state_dict()}, tmp_path / "X3D_XS.pyth")
    assert weights_sha256(make_classifier("x3d_xs", weights=tmp_path / "X3D_XS.pyth")) == weights_sha256(trained)


def test_a_head_of_other_classes_is_found_under_its_other_name(tmp_path: Path) -> None:
    state = made_i3d("PySlowFast")
    state["head.projection.weight"], state["head.projection.bias"] = torch.zeros(7, 2048), torch.arange(7.0)
    torch.save({"model_state": state}, tmp_path / "seven.pyth")
    assert make_classifier("i3d_r50", weights=tmp_path / "seven.pyth").network.state_dict()["fc.bias"][6] == 6
    with pytest.raises(WeightsError, match="has a head of 7 classes, and num_classes is 3"):
        make_classifier("i3d_r50", weights=tmp_path / "seven.pyth", num_classes=3)
    assert (
        make_classifier("i3d_r50", weights=tmp_path / "seven.pyth", num_classes=3, replace_head=True).num_classes == 3
    )


def test_names_of_data_parallel_training_lose_their_prefix(tmp_path: Path) -> None:
    trained = make_classifier("tiny_r3d")
    torch.save({f"module.{key}": value for key, value in trained.network.state_dict().items()}, tmp_path / "many.pt")
    assert weights_sha256(make_classifier("tiny_r3d", weights=tmp_path / "many.pt")) == weights_sha256(trained)


def test_a_part_that_the_network_does_not_have_is_listed_by_its_name(tmp_path: Path) -> None:
    state = made_i3d("PySlowFast") | {"s3.pathway0_nonlocal1.conv_theta.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "nonlocal.pyth")
    with pytest.raises(WeightsError, match=r"unexpected \(1\): s3.pathway0_nonlocal1.conv_theta.weight"):
        make_classifier("i3d_r50", weights=tmp_path / "nonlocal.pyth")


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("i3d_r50", "backbone.layer1.0.conv1.conv.weight", "mmaction2's I3D halves time in its first convolution"),
        ("r2plus1d_50", "blocks.1.res_blocks.0.branch2.conv_b.conv_t.weight", "fewer middle planes, and another stem"),
        ("r3d_18", "s2.pathway0_res0.branch2.a.weight", "from those there is a way to x3d_xs, .*, i3d_r50"),
        ("mc3_18", "backbone.layer1.0.conv1.conv.weight", "from those there is a way to x3d_xs, x3d_s"),
    ],
)
def test_names_that_lead_nowhere_are_refused_with_what_there_is(
    tmp_path: Path, name: str, key: str, message: str
) -> None:
    torch.save({key: torch.zeros(1)}, tmp_path / "theirs.pth")
    with torch.device("meta"):
        classifier = make_classifier(name)
    with pytest.raises(WeightsError, match=rf"theirs.pth does not fit {name}: the names are .*{message}"):
        load_weights(classifier, tmp_path / "theirs.pth")


def test_a_shortcuts_batch_norm_moves_into_its_neighbours() -> None:
    block = "blocks.1.res_blocks.0."
    theirs = {
        "s2.pathway0_res0.branch1.weight": torch.ones(1, 1, 1, 1, 1),
        "s2.pathway0_res0.branch1_bn.weight": torch.tensor([6.0]),
        "s2.pathway0_res0.branch1_bn.bias": torch.tensor([5.0]),
        "s2.pathway0_res0.branch1_bn.running_mean": torch.tensor([2.0]),
        "s2.pathway0_res0.branch1_bn.running_var": torch.tensor([9.0 - 1e-5]),
        "s2.pathway0_res0.branch1_bn.num_batches_tracked": torch.tensor(1),
        "s2.pathway0_res0.branch2.c_bn.bias": torch.tensor([10.0]),
    }
    own = {f"{block}branch1_conv.weight": torch.zeros(1, 1, 1, 1, 1), f"{block}branch2.norm_c.bias": torch.zeros(1)}
    folded = own_names(theirs, own, name="x3d_s")
    # It does 6 / 3 (x - 2) + 5 = 2 x + 1.
    assert set(folded) == set(own)
    assert folded[f"{block}branch1_conv.weight"].item() == pytest.approx(2)
    assert folded[f"{block}branch2.norm_c.bias"].item() == pytest.approx(11)


def test_a_shortcut_that_lacks_a_part_is_left_and_listed(tmp_path: Path) -> None:
    state = made_x3d("mmaction2")
    del state["backbone.layer1.0.downsample.bn.bias"]
    torch.save({"state_dict": state}, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match=r"unexpected \(4\): blocks.1.res_blocks.0.branch1_norm.weight"):
        make_classifier("x3d_s", weights=tmp_path / "part.pth")


def test_pyslowfasts_caffe2_files_get_a_hint(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"\.pkl are Caffe2's: PySlowFast reads them and saves \.pyth"):
        make_classifier("i3d_r50", weights=tmp_path / "I3D_8x8_R50.pkl")


def test_a_file_that_holds_more_than_tensors_says_what_to_do(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "meta": Path("config.py")}, tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match="open it with the library that wrote it and save its state dict alone"):
        make_classifier("i3d_r50", weights=tmp_path / "whole.pth")
