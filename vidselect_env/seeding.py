"""What decides results beside settings: torch's global generators, its threads, and how its operations add up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def seeded(seed: int, device: str | torch.device = "cpu") -> Iterator[None]:
    """Initial weights and dropout inside follow from the seed; torch's global generators are left as they were."""
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Inside, if that is wanted, the same numbers come from the same seed whatever the number of threads.

    torch takes deterministic operations, and raises `RuntimeError` where it has none, and one thread: sums of several
    threads are rounded in another order. On a GPU cuBLAS takes a fixed workspace, which must be chosen before its first
    use.
    """
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), torch.backends.cudnn.benchmark
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.set_num_threads(before[1])
        torch.backends.cudnn.benchmark = before[2]


class GlobalGenerators:
    """torch's global generators, as they are on a CPU and on a device: asked for and set again."""

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self._device = torch.device(device)

    def state_dict(self) -> dict[str, Tensor]:
        cuda = {"cuda": torch.cuda.get_rng_state(self._device)} if self._device.type == "cuda" else {}
        return {"cpu": torch.get_rng_state(), **cuda}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        torch.set_rng_state(state["cpu"].cpu())
        if self._device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"].cpu(), self._device)
