"""Loading, saving and hashing weights, on the smallest network."""

from __future__ import annotations

import json
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vidselect_classifiers import (
    ClipClassifier,
    WeightsError,
    load_weights,
    make_classifier,
    save_weights,
    weights_sha256,
)

SHARED = Path(__file__).resolve().parents[3] / "shared"
FIGHT_WEIGHTS = SHARED / "weights" / "mc3_18_surv_fight.safetensors"


@pytest.fixture
def classifier() -> ClipClassifier:
    return make_classifier("tiny_r3d", num_classes=3)


@pytest.fixture
def state(classifier: ClipClassifier) -> dict[str, Tensor]:
    return classifier.network.state_dict()


def load(path: Path, **options: Any) -> ClipClassifier:
    return make_classifier("tiny_r3d", weights=path, **options)


def test_saved_weights_load_with_the_same_outputs_names_and_hash(classifier: ClipClassifier, tmp_path: Path) -> None:
    classifier.set_class_names(["left", "right", "up"])
    nn.init.uniform_(classifier.network.get_parameter("stem.1.weight"))
    path = tmp_path / "tiny.safetensors"
    save_weights(classifier, path)
    loaded = load(path)
    clips = torch.randint(0, 256, (1, *classifier.input_shape), dtype=torch.uint8)
    assert torch.equal(loaded(clips).logits, classifier(clips).logits)
    assert loaded.class_names == ("left", "right", "up")
    assert weights_sha256(loaded) == weights_sha256(classifier)
    assert [entry.name for entry in tmp_path.iterdir()] == ["tiny.safetensors"]


def test_saved_weights_have_the_networks_own_names(classifier: ClipClassifier, tmp_path: Path) -> None:
    save_weights(classifier, tmp_path / "tiny.safetensors")
    assert set(load_file(tmp_path / "tiny.safetensors")) == set(classifier.network.state_dict())


def test_a_save_that_fails_leaves_the_old_file(
    classifier: ClipClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(b"old")

    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_weights(classifier, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["tiny.safetensors"]
    assert path.read_bytes() == b"old"


def test_weights_are_saved_as_safetensors_only(classifier: ClipClassifier, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        save_weights(classifier, tmp_path / "tiny.pt")


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_torch_files_load_with_and_without_a_key(
    classifier: ClipClassifier, state: dict[str, Tensor], tmp_path: Path, suffix: str, key: str | None
) -> None:
    path = tmp_path / f"tiny{suffix}"
    torch.save(state if key is None else {key: state, "epoch": 3}, path)
    assert weights_sha256(load(path)) == weights_sha256(classifier)


def test_a_torch_file_that_would_run_code_is_refused(classifier: ClipClassifier, tmp_path: Path) -> None:
    torch.save(classifier, tmp_path / "whole.pt")
    with pytest.raises(WeightsError, match=r"whole\.pt cannot be read"):
        load(tmp_path / "whole.pt")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(WeightsError, match=r"text\.safetensors cannot be read"):
        load(tmp_path / "text.safetensors")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match="must hold tensors by name"):
        load(tmp_path / "list.pt")


def test_missing_unexpected_and_mis_shaped_keys_are_listed(state: dict[str, Tensor], tmp_path: Path) -> None:
    del state["fc.bias"]
    state["neck.weight"] = torch.zeros(2)
    state["stem.1.bias"] = torch.zeros(5)
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError) as error:
        load(tmp_path / "odd.safetensors")
    message = str(error.value)
    assert "odd.safetensors does not fit tiny_r3d" in message
    assert "missing (1): fc.bias" in message
    assert "unexpected (1): neck.weight" in message
    assert "mis-shaped (1): stem.1.bias (5,) must be (8,)" in message


def test_a_long_list_of_keys_is_cut_after_eight(state: dict[str, Tensor], tmp_path: Path) -> None:
    state |= {f"extra.{i}": torch.zeros(1) for i in range(11)}
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match=r"unexpected \(11\): extra.0, .*extra.* and 3 more") as error:
        load(tmp_path / "odd.safetensors")
    assert str(error.value).count("extra.") == 8


def test_counts_of_batches_may_be_absent(classifier: ClipClassifier, state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "converted.safetensors"
    save_file({key: value for key, value in state.items() if "num_batches" not in key}, path)
    assert weights_sha256(load(path)) == weights_sha256(classifier)


def test_the_head_takes_the_size_the_weights_have(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "three.safetensors")
    assert load(tmp_path / "three.safetensors").num_classes == 3


def test_a_head_of_another_size_is_an_error_that_names_the_way_out(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "three.safetensors")
    with pytest.raises(WeightsError, match=r"head of 3 classes, and num_classes is 5: pass replace_head=True"):
        load(tmp_path / "three.safetensors", num_classes=5)


def test_a_replaced_head_is_fresh_and_the_rest_is_loaded(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "three.safetensors"
    save_file(state, path, metadata={"class_names": json.dumps(["left", "right", "up"])})
    loaded = load(path, num_classes=5, replace_head=True)
    assert loaded.num_classes == 5
    assert loaded.class_names is None
    for key, value in loaded.network.state_dict().items():
        assert key.startswith("fc.") or torch.equal(value, state[key])


def test_replacing_needs_the_number_of_classes(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "three.safetensors")
    with pytest.raises(ValueError, match="replace_head=True needs num_classes"):
        load(tmp_path / "three.safetensors", replace_head=True)


def test_an_unknown_published_name_is_an_error_that_names_the_known() -> None:
    with pytest.raises(WeightsError, match="unknown weights 'kinetics' of mc3_18: published are 'kinetics400'"):
        make_classifier("mc3_18", weights="kinetics")


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pt does not exist"):
        load(tmp_path / "none.pt")


def test_a_failed_download_says_where_to_put_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    with pytest.raises(WeightsError, match=r"'kinetics400' .* could not be downloaded .*mc3_18-") as error:
        make_classifier("mc3_18", weights="kinetics400")
    assert str(tmp_path / "hub" / "checkpoints" / "mc3_18-a90a0ba3.pth") in str(error.value)


def test_published_weights_come_with_their_class_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    trained = make_classifier("s3d")
    torch.save(trained.network.state_dict(), folder / "s3d-d76dad2f.pth")
    loaded = make_classifier("s3d", weights="kinetics400")
    assert weights_sha256(loaded) == weights_sha256(trained)
    assert loaded.class_names is not None
    assert loaded.class_names[5] == "archery"


def test_the_hash_sees_values_names_and_dtypes(classifier: ClipClassifier) -> None:
    before = weights_sha256(classifier)
    classifier.network.get_buffer("stem.1.running_mean")[0] += 1
    after_value = weights_sha256(classifier)
    classifier.double()
    assert len({before, after_value, weights_sha256(classifier)}) == 3


def test_weights_load_into_a_classifier_that_is_there(classifier: ClipClassifier, tmp_path: Path) -> None:
    save_weights(classifier, tmp_path / "tiny.safetensors")
    other = make_classifier("tiny_r3d")
    load_weights(other, tmp_path / "tiny.safetensors")
    assert weights_sha256(other) == weights_sha256(classifier)


@pytest.mark.skipif(
    not FIGHT_WEIGHTS.is_file(),
    reason="the fight weights lie in a folder 'shared' beside the repository, absent here",
)
def test_fight_weights_load_into_mc3_18_with_their_two_classes() -> None:
    classifier = make_classifier("mc3_18", weights=FIGHT_WEIGHTS)
    assert classifier.num_classes == 2
    stored = load_file(FIGHT_WEIGHTS)
    for key, value in classifier.network.state_dict().items():
        assert torch.equal(value, stored[key].to(value.dtype))
