"""A training that was stopped goes on as if it had not been: what is kept after every epoch, and when it fits."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidselect_env.files import check_regular, write_aside
from vidselect_env.fitting.processes import Processes

CHECKPOINT = "checkpoint.pt"


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """What `write_checkpoint` wrote, or None.

    Raises:
        ValueError: it is damaged.
    """
    file = folder / CHECKPOINT
    if not file.exists():
        return None
    try:
        check_regular(file)
        saved = torch.load(file, weights_only=True, map_location="cpu")
        if missing := {"epoch", "classifier", "state"} - set(saved):
            raise ValueError(f"it has no {', '.join(sorted(missing))}")
    except Exception as error:  # whatever a damaged file makes of its readers
        raise ValueError(f"checkpoint {str(file)!r} cannot be taken up: {error}") from error
    return saved


def write_checkpoint(
    folder: Path,
    *,
    epoch: int,
    classifier: nn.Module,
    parts: Sequence[Any],
    generator: torch.Generator,
    batch_size: int,
    processes: Processes,
) -> None:
    """Keep everything that training goes on from; the first process writes it, and all must call.

    Args:
        epoch: how many are done.
        parts: optimizer and schedule.
        generator: of what all processes draw alike.
        batch_size: clips of a backward pass of each process.
    """
    own = processes.gathered(_random_state())
    if processes.is_first:
        state = {
            "epoch": epoch,
            "classifier": classifier.state_dict(),
            "state": [*(part.state_dict() for part in parts), generator.get_state()],
            "processes": processes.count,
            "clips_a_pass": batch_size * processes.count,
            "random": own,
        }
        write_aside(folder / CHECKPOINT, lambda aside: torch.save(state, aside))


def take_up(
    saved: dict[str, Any] | None,
    *,
    classifier: nn.Module,
    parts: Sequence[Any],
    generator: torch.Generator,
    processes: Processes,
) -> int:
    """Go on from a checkpoint, if there is one; the number of epochs done.

    Raises:
        ValueError: it is of another classifier or recipe.
    """
    if saved is None:
        return 0
    try:
        classifier.load_state_dict(saved["classifier"])
        *states, generator_state = saved["state"]
        for part, state in zip(parts, states, strict=True):
            part.load_state_dict(state)
        generator.set_state(generator_state)
        if saved.get("processes") == processes.count:  # a checkpoint of before they were kept has no such states
            _set_random_state(saved["random"][processes.rank])
        return operator.index(saved["epoch"])
    except Exception as error:  # whatever forged values make of their readers
        raise ValueError(f"the checkpoint does not fit this training: {error}") from error


def resumed_batch_size(
    batch_size: int, saved: dict[str, Any] | None, *, classifier: nn.Module, processes: Processes
) -> int:
    """Clips of a backward pass of each process, so that all together take as many as before.

    Args:
        batch_size: of each process, where nothing is saved.

    Raises:
        ValueError: with another number of processes than before, training cannot go on as it would have.
    """
    if saved is None or saved.get("processes", 1) == processes.count:
        return batch_size
    before, clips = saved.get("processes", 1), saved.get("clips_a_pass", batch_size)
    change = f"the run was begun by {before} processes and cannot be gone on with by {processes.count} ({{}})"
    if clips % processes.count:
        raise ValueError(change.format(f"they cannot share {clips} clips a backward pass evenly"))
    if any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0 for module in classifier.modules()):
        raise ValueError(change.format("each draws its own dropout"))
    return clips // processes.count


def check_recipe(*, mixup: float, processes: Processes) -> None:
    """See that what is trained by several processes is what one would train.

    Raises:
        ValueError: clips are mixed across a batch.
    """
    if mixup and processes.count > 1:
        raise ValueError(
            f"mixup ({mixup}) mixes clips of a whole batch, which is in {processes.count} processes here: "
            "train with one process, or without it"
        )


def _random_state() -> list[Tensor]:
    """Of dropout, on both devices."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])]


def _set_random_state(state: Sequence[Tensor]) -> None:
    torch.set_rng_state(state[0])
    if len(state) > 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state(state[1])
