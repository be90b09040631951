"""Clips a second of building a bank, and of the classifier alone on the same batches, in turn.

python scripts/measure/bank.py --weights None --classifier r3d_18 --clip-frames 8 --num-videos 6
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import tyro
from rich.console import Console

from vidselect_agents.commands.bank import load, spec_of
from vidselect_agents.commands.options.bank import BuildConfig
from vidselect_classifiers import ClipClassifier
from vidselect_classifiers.memory import clips_at_once
from vidselect_env.bank import build_bank
from vidselect_env.bank.decode import decode_video

_CONSOLE = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class BankSpeedConfig(BuildConfig):
    """What is built.

    Args:
        rounds: the two are timed in turn so often.
    """

    out: str = "."
    rounds: int = 3


def main() -> None:
    config = tyro.cli(BankSpeedConfig, description=__doc__)
    dataset, classifier, device = load(config), config.make_classifier(), config.torch_device
    spec = spec_of(config, dataset, classifier)
    clips = torch.cat([decode_video(video, spec=spec).clips for video in dataset.videos])
    classifier = classifier.to(device)
    batch_size = clips_at_once(classifier, device) if config.batch_size == "auto" else config.batch_size
    classify(classifier, clips[:batch_size], batch_size, device)
    options = {"batch_size": batch_size, "num_workers": config.num_workers, "device": device}
    ratios = []
    for _ in range(config.rounds):
        alone = len(clips) / seconds(lambda: classify(classifier, clips, batch_size, device))
        with tempfile.TemporaryDirectory() as folder:
            whole = len(clips) / seconds(lambda: build_bank(folder, dataset, classifier, spec=spec, **options))  # type: ignore[arg-type]
        ratios.append(whole / alone)
        _CONSOLE.print(f"classifier {alone:.1f} clips/s, bank {whole:.1f} clips/s, ratio {ratios[-1]:.2f}")
    _CONSOLE.print(f"median ratio {sorted(ratios)[config.rounds // 2]:.2f} ({len(clips)} clips, {config.classifier})")


@torch.inference_mode()
def classify(classifier: ClipClassifier, clips: torch.Tensor, batch_size: int, device: str) -> None:
    for batch in clips.split(batch_size):
        classifier(batch.to(device, non_blocking=True)).logits.cpu()


def seconds(work: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


if __name__ == "__main__":
    main()
