"""Classifiers of somebody else's by name: registered, imported, from the docs, and without features in a bank."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vidselect_classifiers import (
    CLASSIFIERS,
    ClipGeometry,
    PlainClassifier,
    WeightsError,
    make_classifier,
    register_classifier,
    registry,
    save_weights,
    weights_sha256,
)
from vidselect_classifiers.weights import PUBLISHED
from vidselect_env.bank import ClipBank, bank_spec, build_bank
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.scalar import SelectEnv
from vidselect_env.envs.sources import BankSource, LiveSource

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "classifiers.md").read_text()
GEOMETRY = ClipGeometry(num_frames=4, frame_stride=2, resize=12, crop=(8, 8))


class Means(nn.Module):
    """Mean colour of a clip (B, 3, T, H, W), a hidden layer, a linear layer."""

    geometry = GEOMETRY
    head_name = "fc"

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.hidden = nn.Linear(3, 6)
        self.fc = nn.Linear(6, num_classes)

    def forward(self, clips: Tensor) -> Tensor:
        return self.fc(self.hidden(clips.mean(dim=(2, 3, 4))).relu())


class Headless(Means):
    head_name = None  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def no_new_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidselect_classifiers.CLASSIFIERS", dict(CLASSIFIERS))


def test_an_attribute_says_what_a_plain_module_needs_and_options_change_its_geometry() -> None:
    register_classifier("means", Means)
    classifier = make_classifier("means", num_classes=3, num_frames=2)
    assert isinstance(classifier, PlainClassifier)
    assert (classifier.name, classifier.num_classes, classifier.head_name) == ("means", 3, "fc")
    assert classifier.input_shape == (2, 3, 8, 8)
    assert classifier.geometry.frame_stride == 2
    assert not classifier.training


def test_a_builder_may_wrap_its_module_itself() -> None:
    register_classifier("wrapped", lambda: PlainClassifier(Means(), geometry=GEOMETRY, head="fc", name="mine"))
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
    output = classifier(torch.zeros(2, 4, 3, 8, 8, dtype=torch.uint8))
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
    assert set(trained.network.state_dict()) == {"hidden.weight", "hidden.bias", "fc.weight", "fc.bias"}


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


def headless_bank(folder: Path, videos: Path) -> ClipBank:
    dataset = load_dataset(f"folder:{videos}", split="train")
    register_classifier("headless", Headless)
    classifier = make_classifier("headless", num_classes=2)
    return build_bank(folder, dataset, classifier, spec=bank_spec(dataset, classifier, num_clips=6), progress=False)


def test_a_classifier_without_features_makes_a_bank_without_them(tmp_path: Path, video_folder: Path) -> None:
    bank = headless_bank(tmp_path / "bank", video_folder)
    assert set(bank.fields) == {"logits", "skim"}
    assert bank.field("logits").shape == (8 * 6, 2)
    skims = ClipSelectProblem(BankSource(bank), num_sections=2, num_clips=3)
    assert skims.num_contexts > 0
    with pytest.raises(ValueError, match=r"no 'features' to look at: .*; a classifier without a named head gives none"):
        SelectEnv(ClipSelectProblem(BankSource(bank), num_sections=2, num_clips=3, observation="features"))


def test_a_live_source_of_it_says_so_too(video_folder: Path) -> None:
    dataset = load_dataset(f"folder:{video_folder}", split="train")
    classifier = PlainClassifier(Headless(2), geometry=GEOMETRY)
    source = LiveSource(dataset, classifier, spec=bank_spec(dataset, classifier, num_clips=6))
    assert source.shapes["logits"] == (2,)
    with pytest.raises(ValueError, match=r"no 'features' to look at: .*; a classifier without a named head gives none"):
        SelectEnv(ClipSelectProblem(source, num_sections=2, num_clips=3, observation="features"))
    source.close()


def block(starting: str) -> str:
    """The page's Python block that starts with a line."""
    found = re.search(rf"```python\n({re.escape(starting)}.*?)```", PAGE, re.DOTALL)
    assert found, f"no Python block starts with {starting!r}"
    return found.group(1)


@pytest.mark.slow
def test_the_file_on_the_page_is_a_classifier_that_an_agent_trains_with(
    warm: Any, tmp_path: Path, video_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_classifier.py").write_text(block("# my_classifier.py"))
    monkeypatch.syspath_prepend(tmp_path)
    trained = make_classifier("my_classifier:MyNet")
    sys.modules.pop("my_classifier")
    save_weights(trained, tmp_path / "mine.safetensors")
    environment = {"VIDSELECT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}
    [shown] = re.findall(r"python (scripts/train_agent.py .*my_classifier.*)", PAGE)
    script, *options = shown.replace("VIDEOS", str(video_folder)).split()
    options += ["--candidates", "6", "--sections", "2", "--folds", "2", "--total-timesteps", "16", "--num-envs", "4"]
    ended = warm.run(REPOSITORY / script, *options, folder=tmp_path, environment=environment)
    assert ended.status == 0, ended.output
    assert "fitting a linear head" in ended.output  # its classes are jump and run, the videos' left and right
    [run] = (tmp_path / "runs").iterdir()
    assert "| dsn |" in (run / "report.md").read_text()
    [bank] = {json.loads(file.read_text())["weights_sha256"] for file in (tmp_path / "cache").rglob("spec.json")}
    assert bank == weights_sha256(trained)


def test_the_other_block_on_the_page_makes_a_classifier_of_torchvisions() -> None:
    exec(block("from torchvision.models.video import mvit_v1_b"), {})
    classifier = make_classifier("mvit_v1_b", num_classes=3)
    assert (classifier.name, classifier.num_classes, classifier.feature_dim) == ("mvit_v1_b", 3, 768)
    # torchvision gives 70.6.
    assert classifier.gmacs_per_clip() == pytest.approx(70.6, abs=0.1)


def row_of(name: str) -> str:
    with torch.device("meta"):
        classifier = make_classifier(name)
    clip, cost = classifier.geometry, classifier.gmacs_per_clip()
    weights = ", ".join(f"`{published}`" for published in PUBLISHED.get(name, {}))
    cells = [
        f"`{name}`",
        f"{clip.num_frames}, {clip.frame_stride}",
        f"{clip.crop[0]} × {clip.crop[1]}",
        str(classifier.feature_dim),
        f"{cost:.4g}",
    ]
    return f"| {' | '.join(cells)} | {weights + ' ' if weights else ''}|"


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_pages_table_says_what_each_classifier_is(name: str) -> None:
    assert row_of(name) in PAGE.splitlines()
