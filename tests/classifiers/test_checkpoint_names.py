"""Checkpoints with other libraries' names: made files, and what their own network says, computed from the names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from other_checkpoints import i3d_logits, made_i3d, made_x3d, x3d_logits

from vidselect_classifiers import WeightsError, load_weights, make_classifier, weights_sha256
from vidselect_classifiers.checkpoint_names import library_of, own_names


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
