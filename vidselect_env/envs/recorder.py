"""What happens in a batched environment while an agent learns, for the log: the same for every agent."""

from __future__ import annotations

import time
from typing import Protocol

import torch
from torch import Tensor


class LogWriter(Protocol):
    """What is used of a Stable-Baselines3 logger."""

    def record(self, key: str, value: object) -> None: ...

    def dump(self, step: int = 0) -> None: ...


class RolloutRecorder:
    """Averages reward, accuracy and regret, and writes a line of the log every so many steps.

    `rollout/regret_cumulative` is the sum of regret over all steps so far: what bandit algorithms are
    compared by.

    Args:
        logger: where lines go; what an agent recorded there in the meantime goes with them.
        every_steps: steps of sub-environments between two lines.
    """

    def __init__(self, logger: LogWriter, *, every_steps: int = 2048) -> None:
        self.logger = logger
        self.every_steps = every_steps
        self.num_steps = 0
        self._last_dump = 0
        self._sums: dict[str, Tensor] = {}
        self._updates = 0
        self._cumulative_regret = 0.0
        self._started_s = time.perf_counter()

    def record(self, rewards: Tensor, infos: dict[str, Tensor]) -> None:
        """Take in rewards (B,) and infos of B finished episodes."""
        values = {"rollout/ep_rew_mean": rewards, "rollout/accuracy": infos["is_correct"].float()}
        if "regret" in infos:
            values["rollout/regret_mean"] = infos["regret"]
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=value.device)) + value.mean()
        self._updates += 1
        self.num_steps += len(rewards)
        if self.num_steps - self._last_dump >= self.every_steps:
            self.dump()

    def dump(self) -> None:
        """Write the line that is due; nothing if nothing happened since the last."""
        if not self._updates:
            return
        means = {name: (value / self._updates).item() for name, value in self._sums.items()}
        for name, value in means.items():
            self.logger.record(name, value)
        if "rollout/regret_mean" in means:
            self._cumulative_regret += means["rollout/regret_mean"] * (self.num_steps - self._last_dump)
            self.logger.record("rollout/regret_cumulative", self._cumulative_regret)
        self.logger.record("time/steps_per_second", self.num_steps / (time.perf_counter() - self._started_s))
        self.logger.record("time/total_timesteps", self.num_steps)
        self.logger.dump(self.num_steps)
        self._sums, self._updates, self._last_dump = {}, 0, self.num_steps
