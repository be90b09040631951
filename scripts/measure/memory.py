"""Resident memory and open descriptors while environments are stepped many times.

    python scripts/measure/memory.py

The bank is of random numbers, in shards on the disk: 200 videos, 6 sections of 3 clips, 64 floats a clip. A fifth of
the steps come before the first line, to fill caches.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.console import Console

from vidselect_env.bank import BankSpec, ClipBank, format, open_bank
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.scalar import SelectEnv
from vidselect_env.envs.sources import BankSource
from vidselect_env.settings import check_settings
from vidselect_env.video.clips import ClipGrid

NUM_VIDEOS, NUM_CLIPS, NUM_FEATURES, SECTIONS = 200, 30, 64, 6
_CONSOLE = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """How many steps.

    Args:
        batched: of sub-environments of the batched environment.
        num_envs: its sub-environments.
        scalar: of the scalar environment.
        lines: that are printed of each.
    """

    batched: int = 1_000_000
    num_envs: int = 64
    scalar: int = 100_000
    lines: int = 4

    def __post_init__(self) -> None:
        check_settings(self, at_least=dict.fromkeys(("batched", "num_envs", "scalar", "lines"), 1))


def main() -> None:
    config = tyro.cli(MemoryConfig, description=__doc__)
    with tempfile.TemporaryDirectory() as folder:
        problem = ClipSelectProblem(BankSource(written_bank(Path(folder))), observation="features")
        measure("batched", batched_steps(problem, config.num_envs), config.batched, config.num_envs, config.lines)
        measure("scalar", scalar_steps(problem), config.scalar, 1, config.lines)


def written_bank(folder: Path) -> ClipBank:
    """A bank of noise in shards of 64 videos, opened."""
    generator = torch.Generator().manual_seed(0)
    spec = BankSpec(
        dataset="noise",
        split="train",
        dataset_fingerprint="",
        class_names=tuple("abcdefgh"),
        classifier="none",
        weights_sha256="",
        classifier_gmacs=1.0,
        clip_resize=8,
        clip_crop=(8, 8),
        clip_mean=(0.0, 0.0, 0.0),
        clip_std=(1.0, 1.0, 1.0),
        grid=ClipGrid(num_clips=NUM_CLIPS, num_frames=1),
        fields=("logits", "features"),
        skim=None,
    )
    format.write_spec(folder, spec)
    shards = []
    for start in range(0, NUM_VIDEOS, 64):
        numbers = range(start, min(start + 64, NUM_VIDEOS))
        rows = len(numbers) * NUM_CLIPS
        fields = {
            "logits": torch.randn(rows, 8, generator=generator),
            "features": torch.randn(rows, NUM_FEATURES, generator=generator),
        }
        videos = tuple(format.BankVideo(f"{number}.mp4", (number % 8,), 100, NUM_CLIPS) for number in numbers)
        spans_s = torch.zeros(rows, 2, dtype=torch.float64)
        shards.append(format.Shard(spec.sha256(), videos, (), fields, spans_s))
        format.write_shard(format.shard_file(folder, len(shards) - 1), shards[-1])
    format.write_manifest(folder, spec, shards)
    return open_bank(folder)


def batched_steps(problem: ClipSelectProblem, num_envs: int) -> Callable[[], object]:
    env = SelectVectorEnv(problem, num_envs=num_envs)
    env.reset(seed=0)
    actions = torch.randint(3, (num_envs, SECTIONS), generator=torch.Generator().manual_seed(0))
    return lambda: env.step(actions)


def scalar_steps(problem: ClipSelectProblem) -> Callable[[], object]:
    env = SelectEnv(problem)
    env.reset(seed=0)
    actions = np.zeros(SECTIONS, dtype=np.int64)

    def step() -> None:
        env.step(actions)
        env.reset()

    return step


def measure(name: str, step: Callable[[], object], num_steps: int, each: int, lines: int) -> None:
    """Print memory and descriptors after the first fifth of the steps, and as often as asked from there on."""
    _CONSOLE.print(f"{name:8} {'steps':>9} {'resident MB':>12} {'descriptors':>12}")
    done = 0
    for number in range(lines + 1):
        until = num_steps // 5 + (num_steps - num_steps // 5) * number // lines
        while done < until:
            step()
            done += each
        descriptors = len(os.listdir("/proc/self/fd")) - 1  # of the listing itself
        _CONSOLE.print(f"{'':8} {done:9} {resident_mb():12.1f} {descriptors:12}")


def resident_mb() -> float:
    """Of this process, in units of 1e6 bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
