"""Training a clip classifier on clips that its device holds: the recipe of `fit`, without a file in the loop.

Shapes: V videos, T frames a clip, C classes.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vidselect_classifiers import ClipClassifier
from vidselect_classifiers.sgs import gmacs_before_sgs, gmacs_by_bins
from vidselect_env.fitting.fit_config import FitConfig
from vidselect_env.fitting.held_clips import HeldClips
from vidselect_env.fitting.kept_maps import KeptMaps

CLIP_FALL, LAYER_FALL = "fall of the clip (%)", "fall after the layer (%)"  # in multiply-adds


@dataclass(frozen=True)
class HeldFit:
    """How long training took.

    train_s: seconds of its epochs, without what `on_epoch` does. steps_per_s: gradient steps.
    draw_share: of a step's time, what drawing its batch takes: what a loop that waits for its clips has near 1.
    """

    train_s: float
    steps_per_s: float
    draw_share: float


def fit_held(
    classifier: ClipClassifier,
    clips: HeldClips,
    *,
    offsets: Sequence[int],
    config: FitConfig,
    seed: int = 0,
    on_epoch: Callable[[int, float, KeptMaps], None] = lambda epoch, loss, kept: None,
) -> HeldFit:
    """Train `classifier`, which is on the clips' device, in place, in single precision.

    Args:
        offsets: (T,) frames of a clip, as of `HeldClips.batches`.
        config: its epochs, batch size, optimizer, rates, weight decay and label smoothing; all else of it is of files.
        seed: of the order and the places of clips.
        on_epoch: told the number of epochs done, the mean loss, and the maps kept, after each.
    """
    device = clips.frames.device
    classifier.convolve_fast()
    generator = torch.Generator(device).manual_seed(seed)
    per_epoch = max(len(clips) // config.batch_size, 1)
    optimizer, schedule = config.make_optimizer(classifier, steps_per_epoch=per_epoch)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        return clips.batches(offsets, batch_size=config.batch_size, generator=generator)

    train_s, num_steps = 0.0, 0
    for epoch in range(config.epochs):
        classifier.train()
        started_s, losses, kept = _now_s(device), [], KeptMaps()
        for batch, labels in batches():
            output = classifier(batch)
            kept.add(output.num_bins)
            loss = F.cross_entropy(output.logits, labels, label_smoothing=config.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        train_s += _now_s(device) - started_s
        num_steps += len(losses)
        on_epoch(epoch + 1, torch.stack(losses).mean().item(), kept)
    steps_per_s = num_steps / train_s
    return HeldFit(train_s, steps_per_s, _draw_s(batches, device) * steps_per_s)


def fit_and_judge(
    classifier: ClipClassifier,
    held: Mapping[str, HeldClips],
    *,
    offsets: Sequence[int],
    config: FitConfig,
    plain_gmacs: float,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train on the split `train`; a row of how that went: `epochs` on val, the fields of `HeldFit`, `val`, `test`.

    What `val` and `test` say is that of `judged`, against `plain_gmacs`; `tell` is told a line after each epoch.
    """
    costs = ClipCosts.of(classifier, plain_gmacs=plain_gmacs)
    epochs: list[dict[str, Any]] = []

    def end_of_epoch(epoch: int, loss: float, kept: KeptMaps) -> None:
        found = judged(classifier, held["val"], offsets=offsets, costs=costs)
        maps = {"maps in training": kept.mean, "maps on val": found["maps kept"]} if len(kept) else {}
        epochs.append({"epoch": epoch, "loss": loss, "Top-1 on val": found["Top-1"], **maps})
        tell(", ".join(f"{name} {value:.3g}" for name, value in epochs[-1].items()))

    fitted = fit_held(classifier, held["train"], offsets=offsets, config=config, seed=seed, on_epoch=end_of_epoch)
    row = {"epochs": epochs, **dataclasses.asdict(fitted), "device": str(held["train"].frames.device)}
    return row | {split: judged(classifier, held[split], offsets=offsets, costs=costs) for split in ("val", "test")}


@dataclass(frozen=True, kw_only=True)
class ClipCosts:
    """Multiply-adds in units of 1e9: of the plain network, of a clip by the maps it keeps, and before the sampling.

    Without sampling `by_bins` is of one number, what every clip costs.
    """

    plain: float
    by_bins: tuple[float, ...]
    before: float | None

    @classmethod
    def of(cls, classifier: ClipClassifier, *, plain_gmacs: float) -> ClipCosts:
        if "sgs" not in classifier.stages:
            return cls(plain=plain_gmacs, by_bins=(classifier.gmacs_per_clip(),), before=None)
        return cls(plain=plain_gmacs, by_bins=gmacs_by_bins(classifier), before=gmacs_before_sgs(classifier))


@torch.inference_mode()
def judged(
    classifier: ClipClassifier, clips: HeldClips, *, offsets: Sequence[int], costs: ClipCosts, batch_size: int = 250
) -> dict[str, Any]:
    """How often the middle clip of every video is classified right, and what that costs.

    `Top-1` in percent, `GMACs a clip`, and `fall of the clip (%)`, by how much that is less than the plain network's.
    With similarity guided sampling also the mean of `maps kept`, their `histogram` (clips that keep 1, 2, ...),
    `maps of` each class, `GMACs after the layer` and `fall after the layer (%)`.
    """
    classifier.eval()
    right, kept = [], KeptMaps()
    for batch, labels in clips.batches(offsets, batch_size=batch_size):
        output = classifier(batch)
        right.append(output.logits.argmax(-1) == labels)
        kept.add(output.num_bins)
    by_bins = torch.tensor(costs.by_bins, dtype=torch.float64)
    cost = (by_bins[kept.counts - 1].mean() if len(kept) else by_bins).item()
    found = {"Top-1": 100 * torch.cat(right).float().mean().item(), "GMACs a clip": cost}
    found[CLIP_FALL] = 100 * (1 - cost / costs.plain)
    if costs.before is None:
        return found
    counts, labels = kept.counts, clips.labels.cpu()
    of_classes = [counts[labels == label].float().mean().item() for label in range(len(clips.class_names))]
    return found | {
        "maps kept": kept.mean,
        "histogram": kept.histogram,
        "maps of": dict(zip(clips.class_names, of_classes, strict=True)),
        "GMACs after the layer": cost - costs.before,
        LAYER_FALL: 100 * (1 - (cost - costs.before) / (costs.plain - costs.before)),
    }


def _draw_s(batches: Callable[[], Iterator[tuple[Tensor, Tensor]]], device: torch.device) -> float:
    """Seconds that a batch takes to be drawn, over the first 20 of an epoch."""
    started_s = _now_s(device)
    count = sum(1 for _ in islice(batches(), 20))
    return (_now_s(device) - started_s) / max(count, 1)


def _now_s(device: torch.device) -> float:
    """The time at which all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
