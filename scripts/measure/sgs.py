"""What similarity guided sampling saves, and what it costs in accuracy, on still, slow and fast clips.

    python scripts/measure/sgs.py

For every seed a `tiny_r3d` is trained on `synthetic-speeds`, then trained on in each variant: as it is, and with
sampling. Each result is written as soon as it is there; run the command again to go on after a kill.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from torch import nn

from vidselect_classifiers import ClipClassifier, gmacs, make_classifier
from vidselect_classifiers.sgs import gmacs_by_bins
from vidselect_env.datasets import VideoDataset, load_dataset
from vidselect_env.evaluation.table import Column, cells
from vidselect_env.experiment.run import claim_results, run_logger
from vidselect_env.fitting.loader import ClipLoader
from vidselect_env.fitting.training import FitConfig, fit

# Variant -> where sampling stands, and its kernel.
VARIANTS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "after layer2": {"after": "layer2"},
    "after layer2, kronecker": {"after": "layer2", "kernel": "kronecker"},
    "after layer2, kronecker, 7 bins": {"after": "layer2", "kernel": "kronecker", "num_bins": 7},
    "after layer1": {"after": "layer1"},
}
SPEEDS = ("still", "slow", "fast")
DIGITS = {  # that a column of the table is shown with
    "Top-1": 1,
    "maps kept": 2,
    **dict.fromkeys(SPEEDS, 2),
    "GMACs after the layer": 4,
    "fall (%)": 1,
    "GMACs a clip": 4,
}


@dataclass(frozen=True, kw_only=True)
class SGSConfig:
    """How long, and how often.

    Args:
        seeds: of initial weights and of the order of clips.
        variants: which of them.
        num_videos: for training; the tests are half as many, at most 4000.
        epochs: of the first training.
        more_epochs: of each variant.
        learning_rate: of these, at the most; of the first training it is 0.05.
        num_frames: of a clip.
        out: the folder of results.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    variants: tuple[str, ...] = tuple(VARIANTS)
    num_videos: int = 24000
    epochs: int = 4
    more_epochs: int = 8
    learning_rate: float = 0.05
    num_frames: int = 16
    out: Path = Path("runs/sgs")


def main() -> None:
    config = tyro.cli(SGSConfig, description=__doc__)
    try:
        claim_results(config.out, free=("seeds", "variants", "out"), sgs=config)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    sets = [
        load_dataset("synthetic-speeds", split=split, num_videos=number)
        for split, number in (("train", config.num_videos), ("test", min(config.num_videos, 8000)))
    ]
    for seed in config.seeds:
        for variant in config.variants:
            one(config, sets, variant, seed)
    table = markdown(config)
    (config.out / "table.md").write_text(table + "\n")
    Console().print(table, highlight=False, soft_wrap=True)


def one(config: SGSConfig, sets: list[VideoDataset], variant: str, seed: int) -> None:
    """Train and measure one variant with one seed, unless its result is there already."""
    folder = result_folder(config, variant, seed)
    if (folder / "result.json").exists():
        return
    first = train(config, sets, config.out / f"first-{seed}", seed, epochs=config.epochs, learning_rate=0.05)
    classifier = train(
        config,
        sets,
        folder,
        seed,
        epochs=config.more_epochs,
        learning_rate=config.learning_rate,
        weights=first,
        sgs=VARIANTS[variant],
    )
    result = measure(make(config, sets[0], weights=classifier, sgs=VARIANTS[variant]), sets[1])
    (folder / "result.json").write_text(json.dumps(result))


def result_folder(config: SGSConfig, variant: str, seed: int) -> Path:
    """Where the weights and the result of one variant with one seed are."""
    return config.out / f"{variant.replace(', ', '-').replace(' ', '-')}-{seed}"


def make(config: SGSConfig, dataset: VideoDataset, **options: Any) -> ClipClassifier:
    return make_classifier("tiny_r3d", num_classes=len(dataset.class_names), num_frames=config.num_frames, **options)


def train(
    config: SGSConfig,
    sets: list[VideoDataset],
    folder: Path,
    seed: int,
    *,
    epochs: int,
    learning_rate: float,
    **options: Any,
) -> Path:
    """Train into a folder, or go on, or leave it as it is; the weights' file."""
    weights = folder / "weights.safetensors"
    if weights.exists():
        return weights
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    logger = run_logger(folder)
    fit(
        make(config, sets[0], **options),
        *sets,
        config=FitConfig(epochs=epochs, learning_rate=learning_rate, label_smoothing=0.1, cache=True),
        folder=folder,
        logger=logger,
        seed=seed,
    )
    logger.close()
    return weights


@torch.inference_mode()
def measure(classifier: ClipClassifier, test_set: VideoDataset) -> dict[str, float]:
    """The columns of the table."""
    loader = ClipLoader(
        test_set, classifier.geometry, batch_size=100, training=False, generator=torch.Generator(), cache=False
    )
    outputs = [classifier(clips) for clips, _ in loader]
    labels = torch.tensor([video.labels[0] for video in test_set.videos])
    right = torch.cat([output.logits for output in outputs]).argmax(-1) == labels
    speeds = [test_set.class_names[label].split()[0] for label in labels.tolist()]
    plain = make_classifier(
        "tiny_r3d", num_classes=classifier.num_classes, num_frames=classifier.geometry.num_frames
    ).gmacs_per_clip()
    found = {"Top-1": 100 * right.float().mean().item()}
    if "sgs" not in classifier.stages:
        return found | {"GMACs a clip": plain}
    kept = torch.cat([output.num_bins for output in outputs if output.num_bins is not None])
    found["maps kept"] = kept.float().mean().item()
    for speed in SPEEDS:
        found[speed] = kept[[each == speed for each in speeds]].float().mean().item()
    before = cost_before_sampling(classifier)
    found["GMACs a clip"] = torch.tensor(gmacs_by_bins(classifier))[kept - 1].mean().item()
    found["GMACs after the layer"] = found["GMACs a clip"] - before
    found["fall (%)"] = 100 * (1 - found["GMACs after the layer"] / (plain - before))
    return found


def cost_before_sampling(classifier: ClipClassifier) -> float:
    """Multiply-adds of the stages before the sampling, in units of 1e9."""
    stages = classifier.stages[: classifier.stages.index("sgs")]
    front = nn.Sequential(*(classifier.network.get_submodule(stage) for stage in stages))
    frames, channels, height, width = classifier.input_shape
    return gmacs(front, (1, channels, frames, height, width))


def markdown(config: SGSConfig) -> str:
    """The table of all results in the folder."""
    columns = [Column(name, partial(_value, name=name), digits) for name, digits in DIGITS.items()]
    lines = ["| sampling | seeds | " + " | ".join(DIGITS) + " |", "|---|" + "---:|" * (len(DIGITS) + 1)]
    for variant in config.variants:
        files = [result_folder(config, variant, seed) / "result.json" for seed in config.seeds]
        results = [json.loads(file.read_text()) for file in files]
        lines.append(f"| {variant} | {len(results)} | " + " | ".join(cells(results, columns)) + " |")
    settings = {
        name: value for name, value in dataclasses.asdict(config).items() if name not in ("out", "seeds", "variants")
    }
    return "\n".join([*lines, "", ", ".join(f"{name} {value}" for name, value in settings.items())])


def _value(result: dict[str, float], *, name: str) -> float:
    return result.get(name, float("nan"))


if __name__ == "__main__":
    main()
