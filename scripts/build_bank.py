"""Build a bank, what a classifier says about every candidate clip of a dataset's split, or look at one.

    python scripts/build_bank.py --dataset folder:VIDEOS --split train --classifier r3d_18 \
        --weights kinetics400 --out banks/train
    python scripts/build_bank.py --show banks/train
    python scripts/build_bank.py --benchmark --classifier r3d_18 --weights None --clip-frames 8 --num-videos 6
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from rich.console import Console

from vidselect_classifiers import ClipClassifier
from vidselect_env.bank import BankSpec, SkimSpec, bank_spec, build_bank, open_bank
from vidselect_env.bank.decode import decode_video
from vidselect_env.classifier_options import ClassifierOptions
from vidselect_env.datasets import VideoDataset, load_dataset
from vidselect_env.evaluation.adaptive import adaptive_cost, describe

_CONSOLE = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class BuildConfig(ClassifierOptions):
    """What the bank is made of.

    Args:
        dataset: synthetic, folder:PATH or csv:PATH.
        split: train, test, or what the dataset has.
        num_videos: synthetic training videos, or at most so many of a real split.
        candidates: clips laid evenly on each video; None lays them end to end, as many as fit.
        crops: of each clip that the classifier sees: 1, the centre, or 10.
        fields: what is stored of each candidate: logits, features, skim, vectors, residual, intra, mel.
        skim_frames: frames of the cheap look at a candidate.
        skim_size: its height and width, in pixels.
        out: the bank's folder.
        on_error: skip a video that cannot be read, or stop there.
        batch_size: clips the classifier takes at once.
        num_workers: decoding threads.
        benchmark: build into a temporary folder, and compare with the classifier alone.
    """

    dataset: str = "synthetic"
    split: str = "train"
    num_videos: int | None = None
    candidates: int | None = 30
    crops: Literal[1, 10] = 1
    fields: tuple[str, ...] = ("logits", "features", "skim")
    skim_frames: int = 8
    skim_size: int = 32
    out: Path | None = None
    on_error: Literal["skip", "raise"] = "skip"
    batch_size: int = 32
    num_workers: int = 2
    benchmark: bool = False


def main() -> None:
    if sys.argv[1:2] == ["--show"] and len(sys.argv) == 3:
        _CONSOLE.print(open_bank(sys.argv[2]).summary())
        return
    config = tyro.cli(BuildConfig, description=__doc__)
    if config.out is None and not config.benchmark:
        raise SystemExit("--out is needed: the folder to build the bank in")
    dataset = load_dataset(config.dataset, split=config.split, num_videos=config.num_videos)
    classifier = config.make_classifier()
    size = (config.skim_size, config.skim_size)
    spec = bank_spec(
        dataset,
        classifier,
        num_clips=config.candidates,
        fields=config.fields,
        crops=config.crops,
        skim=SkimSpec(num_frames=config.skim_frames, resize=size, crop=size),
    )
    if config.benchmark:
        benchmark(config, dataset, classifier, spec)
        return
    assert config.out is not None
    bank = _build(config, config.out, dataset, classifier, spec)
    _CONSOLE.print(bank.summary())
    if spec.bins_gmacs:
        _CONSOLE.print(f"cost        {describe(adaptive_cost(bank))}")


def benchmark(
    config: BuildConfig, dataset: VideoDataset, classifier: ClipClassifier, spec: BankSpec, *, rounds: int = 3
) -> None:
    """Clips a second of the whole build and of the classifier alone on the same batches, in turn."""
    device = config.torch_device
    clips = torch.cat([decode_video(video, spec=spec).clips for video in dataset.videos])
    classifier = classifier.to(device)
    _classify(classifier, clips[: config.batch_size], config.batch_size, device)
    ratios = []
    for _ in range(rounds):
        alone = len(clips) / _seconds(lambda: _classify(classifier, clips, config.batch_size, device))
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            whole = len(clips) / _seconds(lambda: _build(config, out, dataset, classifier, spec))  # noqa: B023
        ratios.append(whole / alone)
        _CONSOLE.print(f"classifier {alone:.1f} clips/s, bank {whole:.1f} clips/s, ratio {ratios[-1]:.2f}")
    _CONSOLE.print(f"median ratio {sorted(ratios)[rounds // 2]:.2f} ({len(clips)} clips, {config.classifier})")


def _build(config: BuildConfig, out: Path, dataset: VideoDataset, classifier: ClipClassifier, spec: BankSpec) -> Any:
    return build_bank(
        out,
        dataset,
        classifier,
        spec=spec,
        batch_size=config.batch_size,
        num_workers=config.num_workers,
        device=config.torch_device,
        on_error=config.on_error,
    )


@torch.inference_mode()
def _classify(classifier: ClipClassifier, clips: torch.Tensor, batch_size: int, device: str) -> None:
    for batch in clips.split(batch_size):
        classifier(batch.to(device, non_blocking=True)).logits.cpu()


def _seconds(work: Any) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


if __name__ == "__main__":
    main()
