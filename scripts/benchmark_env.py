"""Steps a second of the environments, as ratios in one run.

    python scripts/benchmark_env.py

The bank is of random numbers: 2000 videos, 6 sections of 3 clips, 64 floats a clip.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.vec_env import DummyVecEnv

from vidselect_env.bank import ClipBank
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.scalar import SelectEnv
from vidselect_env.envs.sources import BankSource


@dataclass(frozen=True, kw_only=True)
class EnvBenchmarkConfig:
    """What is timed.

    Args:
        num_envs: sub-environments of the batched environment.
        scalar_envs: sub-environments of Stable-Baselines3's DummyVecEnv over the scalar one.
        seconds: how long each is timed, in each round.
        rounds: the two are timed in turn so often; medians are shown.
        device: of the batched environment.
    """

    num_envs: int = 1024
    scalar_envs: int = 64
    seconds: float = 2.0
    rounds: int = 5
    device: str = "cpu"


def main() -> None:
    config = tyro.cli(EnvBenchmarkConfig, description=__doc__)
    problem, host = random_problem(config.device), random_problem("cpu")
    batched = SelectVectorEnv(problem, num_envs=config.num_envs)
    batched.reset(seed=0)
    actions = torch.randint(3, (config.num_envs, 6), device=config.device)
    scalar = DummyVecEnv([lambda: SelectEnv(host) for _ in range(config.scalar_envs)])
    scalar.reset()
    scalar_actions = np.zeros((config.scalar_envs, 6), dtype=np.int64)
    steps: dict[str, list[float]] = {"batched": [], "DummyVecEnv": []}
    for _ in range(config.rounds):
        steps["batched"].append(rate(lambda: batched.step(actions), config.num_envs, config))
        steps["DummyVecEnv"].append(rate(lambda: scalar.step(scalar_actions), config.scalar_envs, config))
    ratios = [ours / theirs for ours, theirs in zip(steps["batched"], steps["DummyVecEnv"], strict=True)]
    table = Table(title=f"VideoClipSelect, features, M=6, N=3, {torch.get_num_threads()} threads")
    for heading in ("environment", "sub-environments", "steps/s (median)", "ratio (median)"):
        table.add_column(heading, justify="right")
    table.add_row("batched", f"{config.num_envs}", f"{np.median(steps['batched']):,.0f}", f"{np.median(ratios):.0f}")
    table.add_row("DummyVecEnv", f"{config.scalar_envs}", f"{np.median(steps['DummyVecEnv']):,.0f}", "1")
    Console().print(table)


def random_problem(device: str) -> ClipSelectProblem:
    """A problem on a bank of random numbers."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2000, 18, 10, generator=generator)
    labels = torch.randint(10, (2000,), generator=generator).tolist()
    bank = ClipBank.from_tensors(logits, labels, features=torch.randn(2000, 18, 64, generator=generator))
    return ClipSelectProblem(BankSource(bank, device=device), observation="features")


def rate(step: Callable[[], object], num_envs: int, config: EnvBenchmarkConfig) -> float:
    """Sub-environment steps a second."""
    count, started_s = 0, time.perf_counter()
    while (elapsed_s := time.perf_counter() - started_s) < config.seconds:
        step()
        count += num_envs
        if config.device == "cuda":
            torch.cuda.synchronize()
    return count / elapsed_s


if __name__ == "__main__":
    main()
