"""Hugging Face's video classifiers: small random ones, saved in a folder as `save_pretrained` does."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vidselect_classifiers import ClipClassifier, PlainClassifier, WeightsError, make_classifier, save_weights
from vidselect_classifiers.huggingface import clip_geometry
from vidselect_env.bank import bank_spec, build_bank
from vidselect_env.datasets import load_dataset
from vidselect_env.video.decode import FrameSize, read_clips

SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "id2label": {0: "left", 1: "right", 2: "up"},
}
KINDS = ("videomae", "timesformer", "vivit", "vjepa2")


@pytest.fixture(scope="session")
def transformers() -> Any:
    return pytest.importorskip("transformers", reason="transformers (the extra hf) is not installed")


@pytest.fixture(scope="session")
def saved(transformers: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function from a kind of model to the folder of a small random one and its processor."""
    root = tmp_path_factory.mktemp("hf")

    def save(kind: str) -> Path:
        folder = root / kind
        if not folder.exists():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model, processor = _model_and_processor(transformers, kind)
            model.save_pretrained(folder)
            processor.save_pretrained(folder)
        return folder

    return save


def _model_and_processor(transformers: Any, kind: str) -> tuple[Any, Any]:
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    if kind == "videomae":
        config = transformers.VideoMAEConfig(patch_size=16, num_frames=4, tubelet_size=2, **SMALL)
        return transformers.VideoMAEForVideoClassification(config), transformers.VideoMAEImageProcessor(**sizes)
    if kind == "timesformer":
        config = transformers.TimesformerConfig(patch_size=16, num_frames=8, **SMALL)
        return transformers.TimesformerForVideoClassification(config), transformers.VideoMAEImageProcessor(**sizes)
    if kind == "vivit":
        config = transformers.VivitConfig(tubelet_size=[2, 16, 16], num_frames=4, **SMALL)
        return transformers.VivitForVideoClassification(config), transformers.VivitImageProcessor(**sizes)
    own = {name: value for name, value in SMALL.items() if name not in ("image_size", "intermediate_size")}
    config = transformers.VJEPA2Config(
        **own,
        patch_size=16,
        crop_size=32,
        frames_per_clip=4,
        pred_hidden_size=24,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
        num_pooler_layers=1,
    )
    return transformers.VJEPA2ForVideoClassification(config), transformers.VJEPA2VideoProcessor(**sizes)


def by_hand(transformers: Any, folder: Path, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and features of clips (B, T, 3, H, W) uint8 of the crop's own size, by the library alone."""
    model = transformers.AutoModelForVideoClassification.from_pretrained(folder).eval()
    if (folder / "preprocessor_config.json").exists():
        processor = transformers.AutoImageProcessor.from_pretrained(folder)
    else:
        processor = transformers.AutoVideoProcessor.from_pretrained(folder)
    frames = [[frame.permute(1, 2, 0).numpy() for frame in clip] for clip in clips]
    inputs = [processor(clip, return_tensors="pt", do_resize=False) for clip in frames]  # they have its size already
    pixels = torch.cat([next(iter(one.values())) for one in inputs])
    features: list[Tensor] = []
    model.classifier.register_forward_hook(lambda _, given, __: features.append(given[0]))
    with torch.inference_mode():
        return model(pixels).logits, features[0]


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_the_model_and_processor_by_hand(transformers: Any, saved: Any, kind: str) -> None:
    classifier = make_classifier(f"hf:{saved(kind)}")
    clips = torch.randint(256, (2, *classifier.input_shape), dtype=torch.uint8)
    with torch.inference_mode():
        output = classifier(clips)
    logits, features = by_hand(transformers, saved(kind), clips)
    torch.testing.assert_close(output.logits, logits, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(output.features, features, atol=2e-5, rtol=1e-4)
    assert logits.std() > 1e-3  # of which these are no small part


@pytest.mark.parametrize("kind", KINDS)
def test_frames_classes_and_name_are_the_models_own(saved: Any, kind: str) -> None:
    classifier = make_classifier(f"hf:{saved(kind)}", weights="default")
    assert classifier.name == f"hf:{kind}"
    assert classifier.class_names == ("left", "right", "up")
    assert classifier.feature_dim == 24
    assert classifier.geometry.num_frames == (8 if kind == "timesformer" else 4)
    assert classifier.geometry.frame_stride == (32 if kind == "timesformer" else 1)
    # V-JEPA 2's processor takes 8/7 of the crop as short side, whatever it is told.
    assert (classifier.geometry.resize, classifier.geometry.crop) == (36 if kind == "vjepa2" else 32, (32, 32))
    assert make_classifier(f"hf:{saved(kind)}", frame_stride=3).geometry.frame_stride == 3


def test_a_random_videomae_goes_through_a_bank(transformers: Any, saved: Any, tmp_path: Path, make_video: Any) -> None:
    for number, label in enumerate(("left", "right")):
        make_video(tmp_path / "videos" / label / "0.mp4", num_frames=30, seed=number)
    dataset = load_dataset(f"folder:{tmp_path / 'videos'}", split="all")
    classifier = make_classifier(f"hf:{saved('videomae')}")
    bank = build_bank(
        tmp_path / "bank", dataset, classifier, spec=bank_spec(dataset, classifier, num_clips=3), progress=False
    )
    assert bank.num_videos == 2
    frames = bank.spec.grid.frame_indices(30)
    [clips] = read_clips(bank.video_paths[1], frames, sizes=[FrameSize(32, (32, 32))])
    logits, features = by_hand(transformers, saved("videomae"), clips)
    rows = torch.arange(3, 6)
    torch.testing.assert_close(bank.field("logits").take(rows), logits, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(bank.field("features").take(rows), features, atol=2e-5, rtol=1e-4)
    assert bank.spec.classifier == "hf:videomae"
    assert bank.spec.classifier_gmacs > 0


@pytest.mark.slow
def test_a_selector_is_trained_for_a_videomae_and_recognises_a_video(
    warm: Any, saved: Any, tmp_path: Path, video_folder: Path
) -> None:
    scripts = Path(__file__).resolve().parents[2] / "scripts"

    def run(script: str, *options: str) -> str:
        ended = warm.run(
            scripts / script, *options, folder=tmp_path, environment={"VIDSELECT_CACHE": str(tmp_path / "cache")}
        )
        assert ended.status == 0, ended.output
        return ended.output

    options = ["--classifier", f"hf:{saved('videomae')}", "--dataset", f"folder:{video_folder}"]
    options += ["--candidates", "6", "--sections", "2", "--total-timesteps", "16", "--num-envs", "4"]
    said = run("train_agent.py", "--agent", "dsn", *options)
    assert "fitting a linear head" not in said  # of left, right and up it keeps the dataset's two
    [folder] = (tmp_path / "runs").iterdir()
    assert "| dsn |" in (folder / "report.md").read_text()
    said = run("recognise.py", "--run", str(folder), str(video_folder / "test" / "left" / "3.mp4"))
    assert "2 of 6 clips classified" in said


def test_a_head_is_replaced_and_saved_weights_load_again(saved: Any, tmp_path: Path) -> None:
    name = f"hf:{saved('videomae')}"
    with pytest.raises(ValueError, match="has 3 classes, and num_classes is 2: pass replace_head=True"):
        make_classifier(name, num_classes=2)
    trained = make_classifier(name, num_classes=2, replace_head=True)
    save_weights(trained, tmp_path / "two.safetensors")
    loaded = make_classifier(name, weights=tmp_path / "two.safetensors")
    clips = torch.randint(256, (1, *trained.input_shape), dtype=torch.uint8)
    assert torch.equal(loaded(clips).logits, trained(clips).logits)


def test_labels_without_names_leave_the_classes_nameless(saved: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(saved("videomae"), tmp_path / "nameless")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(label): f"LABEL_{label}" for label in range(3)}
    config["label2id"] = {f"LABEL_{label}": label for label in range(3)}
    (folder / "config.json").write_text(json.dumps(config))
    assert make_classifier(f"hf:{folder}").class_names is None


def test_frames_that_the_model_does_not_take_are_refused(saved: Any) -> None:
    with pytest.raises(
        ValueError, match=r"network 'hf:videomae' does not take clips of its geometry, \(6, 3, 32, 32\)"
    ):
        make_classifier(f"hf:{saved('videomae')}", num_frames=6)


def test_the_cost_of_videomae_b_is_the_published_one(transformers: Any) -> None:
    with torch.device("meta"):
        config = transformers.VideoMAEConfig(num_labels=400, use_mean_pooling=True)
        network = transformers.VideoMAEForVideoClassification(config)
    geometry = clip_geometry(transformers.VideoMAEImageProcessor().to_dict(), config)
    classifier = PlainClassifier(network, geometry=geometry, head="classifier", layout="tchw")
    assert geometry.span == 15 * 4 + 1
    assert classifier.gmacs_per_clip() == pytest.approx(180, abs=0.5)


def test_a_name_that_is_not_there_says_what_to_download_and_where_to_put_it(transformers: Any) -> None:
    with pytest.raises(WeightsError) as error:
        make_classifier("hf:someone/videomae-nobody-has")
    message = str(error.value)
    assert "'someone/videomae-nobody-has' is neither a folder nor in the cache" in message
    assert "hf download someone/videomae-nobody-has --local-dir DIR\nand take hf:DIR" in message


def test_a_folder_that_lacks_something_says_what(transformers: Any, saved: Any, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"folder {str(tmp_path)!r} does not hold a video classifier"):
        make_classifier(f"hf:{tmp_path}")
    folder = shutil.copytree(saved("videomae"), tmp_path / "bare")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(WeightsError, match=r"has no preprocessor_config.json, which says size, mean and std"):
        make_classifier(f"hf:{folder}")


def test_a_model_that_was_never_taught_classes_is_refused(transformers: Any, tmp_path: Path) -> None:
    config = transformers.VideoMAEConfig(patch_size=16, num_frames=4, decoder_hidden_size=24, **SMALL)
    transformers.VideoMAEForPreTraining(config).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"lack classifier.bias, classifier.weight.*: they are not of a classifier"):
        make_classifier(f"hf:{tmp_path}")


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"'hf:DIR' needs transformers: pip install 'vidselect-env\[hf\]'"):
        make_classifier("hf:DIR")


def test_a_saved_model_is_one_classifier_wherever_its_folder_lies(saved: Any, tmp_path: Path) -> None:
    moved = shutil.copytree(saved("vivit"), tmp_path / "vivit")
    names = {make_classifier(f"hf:{folder}").name for folder in (saved("vivit"), moved)}
    assert names == {"hf:vivit"}
    assert isinstance(make_classifier(f"hf:{moved}"), ClipClassifier)
