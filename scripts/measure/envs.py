"""Steps a second of the environments, as ratios in one run.

    python scripts/measure/envs.py

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
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from vidselect_agents.sb3.policy import CandidateExtractor, CandidatePolicy
from vidselect_agents.sb3.vec_env import BatchedVecEnv
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
    benchmark_sb3(config, problem, host)


def benchmark_sb3(config: EnvBenchmarkConfig, problem: ClipSelectProblem, host: ClipSelectProblem) -> None:
    """Stable-Baselines3 on the adapter: its own steps alone, and PPO on it and on DummyVecEnv, in turn."""
    adapter = BatchedVecEnv(SelectVectorEnv(problem, num_envs=config.num_envs))
    adapter.reset()
    actions = np.zeros((config.num_envs, 6), dtype=np.int64)
    alone = [rate(lambda: adapter.step(actions), config.num_envs, config) for _ in range(config.rounds)]
    ours = [ppo_rate(adapter, config) for _ in range(config.rounds)]
    scalar = DummyVecEnv([lambda: Monitor(SelectEnv(host)) for _ in range(config.num_envs)])
    theirs = [ppo_rate(scalar, config) for _ in range(config.rounds)]
    table = Table(title=f"Stable-Baselines3, {config.num_envs} sub-environments")
    for heading in ("what", "steps/s (median)", "ratio (median)"):
        table.add_column(heading, justify="right")
    table.add_row("adapter alone", f"{np.median(alone):,.0f}", "")
    table.add_row("PPO on the adapter", f"{np.median(ours):,.0f}", f"{np.median(ours) / np.median(theirs):.1f}")
    table.add_row("PPO on DummyVecEnv", f"{np.median(theirs):,.0f}", "1")
    Console().print(table)


def ppo_rate(vec_env: VecEnv, config: EnvBenchmarkConfig) -> float:
    """Steps a second of PPO's training: four rollouts of 4 steps, each learnt from in one pass."""
    model = PPO(
        CandidatePolicy,
        vec_env,
        n_steps=4,
        batch_size=config.num_envs,
        n_epochs=1,
        gamma=0.0,
        device=config.device,
        policy_kwargs={"features_extractor_class": CandidateExtractor, "net_arch": []},
    )
    steps = 16 * config.num_envs
    started_s = time.perf_counter()
    model.learn(steps)
    return steps / (time.perf_counter() - started_s)


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
