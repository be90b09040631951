"""TSM: planes moved in time by hand, and checkpoints with the names of its authors and of mmaction2."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import resnet50

from vidselect_classifiers import WeightsError, make_classifier
from vidselect_classifiers.tsm import shifted


def test_an_eighth_of_the_planes_goes_each_way():
    maps = torch.arange(1.0, 4).view(1, 3, 1, 1, 1).expand(1, 3, 16, 1, 1)
    found = shifted(maps)[0, :, :, 0, 0]
    assert found[:, 0].tolist() == found[:, 1].tolist() == [2, 3, 0]
    assert found[:, 2].tolist() == found[:, 3].tolist() == [0, 1, 2]
    assert (found[:, 4:] == torch.tensor([[1.0], [2.0], [3.0]])).all()


@pytest.fixture(scope="module")
def images() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return resnet50(num_classes=5).state_dict()


def test_a_clip_of_one_frame_loses_the_planes_that_would_have_come_from_others(images, tmp_path):
    torch.save(images, tmp_path / "images.pth")
    classifier = make_classifier("tsm_resnet50", weights=tmp_path / "images.pth", num_frames=1, crop=(32, 32))
    assert classifier.network.layer1[0].conv1.weight.shape == (64, 64, 1, 1)
    still = torch.randint(0, 256, (1, 1, 3, 32, 32), dtype=torch.uint8)
    without = resnet50(num_classes=5).eval()
    cut = dict(images)
    for name, value in images.items():  # the planes that are moved see nothing
        if name.endswith(".conv1.weight") and name.startswith("layer"):
            cut[name] = value.clone()
            cut[name][:, : 2 * (value.shape[1] // 8)] = 0
    without.load_state_dict(cut)
    with torch.inference_mode():
        expected = without(classifier.preprocess(still)[:, :, 0])
        torch.testing.assert_close(classifier(still).logits, expected, atol=1e-4, rtol=1e-4)


def theirs(images: dict[str, torch.Tensor], library: str) -> dict[str, torch.Tensor]:
    """The state dict under the names of mmaction2 1.2.0, or of the authors' repository."""
    found = {}
    for name, value in images.items():
        module, leaf = name.rsplit(".", 1)
        is_first = module.startswith("layer") and module.endswith("conv1")
        if library == "TSM":
            where = "new_fc" if module == "fc" else f"base_model.{module}" + ".net" * is_first
            found[f"module.{where}.{leaf}"] = value
            continue
        parent, _, last = module.rpartition(".")
        at = f"backbone.{parent}." if parent else "backbone."
        if module == "fc":
            where = "cls_head.fc_cls"
        elif parent.endswith("downsample"):
            where = at + ("conv" if last == "0" else "bn")
        elif last.startswith("bn"):
            where = f"{at}conv{last[2:]}.bn"
        else:
            where = f"{at}{last}.conv" + ".net" * is_first
        found[f"{where}.{leaf}"] = value
    return found


@pytest.mark.parametrize(
    ("library", "first"),
    [
        ("TSM", "module.base_model.layer1.0.conv1.net.weight"),
        ("mmaction2", "backbone.layer1.0.conv1.conv.net.weight"),
    ],
)
def test_published_names_lead_to_the_same_tensors(images, tmp_path, library, first):
    state = theirs(images, library)
    assert state[first].shape == (64, 64, 1, 1)
    assert len(state) == len(images) == 320
    torch.save({"state_dict": state}, tmp_path / "theirs.pth")
    found = make_classifier("tsm_resnet50", weights=tmp_path / "theirs.pth").network.state_dict()
    assert found.keys() == images.keys()
    assert all(torch.equal(found[name], value) for name, value in images.items())


def test_a_network_without_the_shift_is_not_taken_for_one(images, tmp_path):
    state = {name.replace(".conv.net.", ".conv."): value for name, value in theirs(images, "mmaction2").items()}
    torch.save({"state_dict": state}, tmp_path / "tsn.pth")
    with pytest.raises(WeightsError, match="unexpected"):
        make_classifier("tsm_resnet50", weights=tmp_path / "tsn.pth")
    torch.save({"state_dict": theirs(images, "TSM")}, tmp_path / "tsm.pth")
    with pytest.raises(WeightsError, match="the names are TSM's, which do not lead to r3d_18"):
        make_classifier("r3d_18", weights=tmp_path / "tsm.pth")
