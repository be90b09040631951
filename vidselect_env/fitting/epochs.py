"""One pass over the videos: training a classifier's steps, or testing it on the middle clips.

Shapes: B clips of this process, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from vidselect_classifiers import ClipClassifier
from vidselect_env.fitting.augmentation import mirrored, mixup
from vidselect_env.fitting.fit_config import FitConfig
from vidselect_env.fitting.kept_maps import KeptMaps
from vidselect_env.fitting.loader import ClipLoader, consensus
from vidselect_env.fitting.processes import ALONE, Processes


@torch.inference_mode()
def evaluate_clips(
    classifier: ClipClassifier,
    loader: ClipLoader,
    *,
    kept: KeptMaps | None = None,
    processes: Processes = ALONE,
    of: str = "clip",
) -> dict[str, float]:
    """Share of clips with a label as the most probable class, and among the five most probable of more than five.

    With `of="video"` the mean *probability* of a video's clips counts, rather than their mean logits: the shares are of
    videos, and are called so.

    Maps that clips keep are counted in `kept`, those of this process alone; the shares are of all `processes`, which
    the loader is to have too.
    """
    classifier.eval()
    device = next(classifier.parameters()).device
    counts = torch.zeros(3, dtype=torch.long)  # right, among the first five, all
    for clips, targets in loader:
        if not len(targets):
            continue
        output = classifier(clips.to(device))
        said = output.logits if of == "clip" else output.logits.softmax(-1)
        best = consensus(said, len(targets)).topk(min(5, output.logits.shape[1])).indices.cpu()
        if kept is not None:
            kept.add(output.num_bins)
        hits = targets.gather(-1, best) > 0
        counts += torch.tensor([int(hits[:, 0].sum()), int(hits.any(-1).sum()), len(targets)])
    right, in_five, total = processes.sum(counts.to(device)).tolist()
    return {f"{of}_top1": right / total} | ({f"{of}_top5": in_five / total} if classifier.num_classes > 5 else {})


def train_epoch(
    classifier: ClipClassifier,
    loader: ClipLoader,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    *,
    config: FitConfig,
    label: str,
    kept: KeptMaps,
) -> float:
    """One pass over the videos, whose maps kept are counted; the mean loss."""
    classifier.train()
    processes = loader.processes
    device = next(classifier.parameters()).device
    losses = []
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=config.mixed_precision and device.type == "cuda")
    with tqdm(total=len(loader.dataset), unit="clip", desc=label, leave=False, disable=not processes.is_first) as bar:
        for clips, targets in loader:
            sizes = processes.gathered(len(targets))
            total, before = sum(sizes), sum(sizes[: processes.rank])
            if not total:
                continue
            if config.flip:
                drawn = torch.rand(total * loader.segments, generator=loader.generator) < 0.5
                chosen = drawn[before * loader.segments :][: len(clips)]
                clips[chosen] = mirrored(clips[chosen], modality=classifier.geometry.modality)
            if config.mixup:
                clips, targets = mixup(clips, targets, alpha=config.mixup, generator=loader.generator)
            with autocast:
                output = classifier(clips.to(device))
            kept.add(output.num_bins)
            logits = consensus(output.logits.float(), len(targets)) if len(targets) else output.logits.float()
            loss = F.cross_entropy(logits, targets.to(device), label_smoothing=config.label_smoothing, reduction="sum")
            loss = loss / total
            (loss / config.accumulate).backward()
            losses.append(check_loss(loss, label).detach())
            if len(losses) % config.accumulate == 0:
                _step(optimizer, schedule, classifier, processes)
            bar.set_postfix(kept.postfix(), refresh=False)
            bar.update(total)
    if len(losses) % config.accumulate:
        _step(optimizer, schedule, classifier, processes)
    return processes.sum(torch.stack(losses)).mean().item()


def check_loss(loss: Tensor, when: str) -> Tensor:
    """The loss, if it is finite.

    Raises:
        ValueError: it is not: what was saved last stays as it is.
    """
    if not torch.isfinite(loss):
        raise ValueError(
            f"the loss ({loss.item()}) of {when} must be finite: training stops, and what was saved last stays; try a "
            "smaller learning rate"
        )
    return loss


def _step(
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    classifier: ClipClassifier,
    processes: Processes,
) -> None:
    processes.add_gradients(classifier.parameters())
    optimizer.step()
    optimizer.zero_grad()
    schedule.step()
