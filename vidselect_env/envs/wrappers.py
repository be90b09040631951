"""Wrappers of the batched environment: a log of what happens while an agent learns, and one of every interaction.

Shapes: B sub-environments, G decisions a context, N arms a decision, R logged rounds.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium.vector import VectorWrapper
from torch import Tensor

from vidselect_env.envs.batched import SelectVectorEnv


class SelectVectorWrapper(VectorWrapper):
    """A wrapper that also has what a `SelectVectorEnv` has beyond Gymnasium: `looks`, `answers`, `shapes` ..."""

    def __getattr__(self, name: str) -> Any:
        if name == "env":  # not there yet: while unpickling
            raise AttributeError(name)
        return getattr(self.env, name)

    def step(self, actions: Tensor, *, propensities: Tensor | None = None) -> tuple[Any, ...]:
        return self.env.step(actions, propensities=propensities)  # type: ignore[call-arg]


_RECORDED = ("num_steps", "_last_dump", "_sums", "_num_ended", "_cumulative_regret")  # by `RecordRollouts`
BatchedEnv = SelectVectorEnv | SelectVectorWrapper


class LogWriter(Protocol):
    """What is used of a Stable-Baselines3 logger."""

    def record(self, key: str, value: object) -> None: ...

    def dump(self, step: int = 0) -> None: ...


class RecordRollouts(SelectVectorWrapper):
    """Averages reward, accuracy and regret, and writes a line of the log every so many steps.

    Where several processes share what is drawn, steps are those of all, and averages those of this one's part.

    `rollout/regret_cumulative` is the sum of regret over all steps so far: what bandit algorithms are
    compared by.

    Args:
        env: the batched environment.
        logger: where lines go; what an agent recorded there in the meantime goes with them.
        every_steps: steps of sub-environments between two lines.
    """

    def __init__(self, env: BatchedEnv, logger: LogWriter, *, every_steps: int = 2048) -> None:
        super().__init__(env)
        self.logger = logger
        self.every_steps = every_steps
        self.num_steps = 0
        self._last_dump = 0
        self._sums: dict[str, Tensor] = {}
        self._num_ended: Tensor | int = 0
        self._cumulative_regret = 0.0
        self._started_s = time.perf_counter()

    def step(self, actions: Tensor, *, propensities: Tensor | None = None) -> tuple[Any, ...]:
        taken = super().step(actions, propensities=propensities)
        infos = taken[4]["final_info"]
        self._record(infos.get("return", taken[1]), infos, ended=taken[2])
        return taken

    def state_dict(self) -> dict[str, Any]:
        """Of the environment inside, and the sums of the line that is not written yet."""
        own = {name: getattr(self, name) for name in _RECORDED}
        return {"env": self.env.state_dict(), "own": own | {"_sums": dict(self._sums)}}  # type: ignore[attr-defined]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was asked for."""
        self.env.load_state_dict(state["env"])  # type: ignore[attr-defined]
        for name in _RECORDED:
            setattr(self, name, state["own"][name])
        self._sums = {name: value.to(self.device) for name, value in self._sums.items()}
        if isinstance(self._num_ended, Tensor):
            self._num_ended = self._num_ended.to(self.device)

    def dump(self) -> bool:
        """Write the line that is due, with what else was recorded; whether there was one: no episode, no line."""
        num_ended = float(self._num_ended)
        if not num_ended:
            return False
        means = {name: value.item() / num_ended for name, value in self._sums.items()}
        for name, value in means.items():
            self.logger.record(name, value)
        if "rollout/regret_mean" in means:
            self._cumulative_regret += means["rollout/regret_mean"] * (self.num_steps - self._last_dump)
            self.logger.record("rollout/regret_cumulative", self._cumulative_regret)
        self.logger.record("time/steps_per_second", self.num_steps / (time.perf_counter() - self._started_s))
        self.logger.record("time/total_timesteps", self.num_steps)
        self.logger.dump(self.num_steps)
        self._sums, self._num_ended, self._last_dump = {}, 0, self.num_steps
        return True

    def _record(self, returns: Tensor, infos: dict[str, Tensor], *, ended: Tensor) -> None:
        """Take in returns (B,) and infos of the episodes that have ended, (B,) bool."""
        values = {"rollout/ep_rew_mean": returns, "rollout/accuracy": infos["is_correct"].float()}
        for name, key in (("rollout/regret_mean", "regret"), ("rollout/clips", "num_clips")):
            if key in infos:
                values[name] = infos[key].float()
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=value.device)) + (value * ended).sum()
        self._num_ended = self._num_ended + ended.sum()
        self.num_steps += len(returns) * self.num_shares
        if self.num_steps - self._last_dump >= self.every_steps:
            self.dump()


class LogInteractions(SelectVectorWrapper):
    """Collects rounds, and writes them as an `.npz` file with the keys of the Open Bandit Pipeline.

    A round is one decision: one section of a video. The file holds `n_rounds`, `n_actions`, `context` (R, D) float32
    (what is observed of the round's arms, side by side; of a skim, the mean of each frame's three colours),
    `context_id` (R,) int64, `action` (R,) int64, `pscore` (R,) float32 (the propensity; nan where the agent gave none),
    `reward` (R,) float32, `expected_reward` (R, N, 1) float32 (every arm's reward: it is known here), and
    `position` (R,) int64 of zeros.

    Args:
        env: the batched environment.
        path: of the file that `write` makes.

    Raises:
        NotImplementedError: the actions are too many to list the rewards of all.
    """

    def __init__(self, env: BatchedEnv, path: str | Path) -> None:
        super().__init__(env)
        self.problem.full_information(torch.zeros(1, dtype=torch.int64, device=self.device))
        self.path = Path(path)
        self._parts: list[dict[str, Tensor]] = []

    def step(self, actions: Tensor, *, propensities: Tensor | None = None) -> tuple[Any, ...]:
        contexts, arm_rewards = self.contexts, self.full_information()
        num_decisions = arm_rewards.shape[1]
        taken = torch.as_tensor(actions, device=self.device).view(-1, num_decisions)
        if propensities is None:
            propensities = torch.full(taken.shape, float("nan"))
        decisions = torch.arange(num_decisions, device=self.device)
        part = {
            "context": _context(self.looks().observation(self.shapes.shown), num_rounds=taken.numel()),
            "context_id": (contexts[:, None] * num_decisions + decisions).flatten(),
            "action": taken.flatten(),
            "pscore": propensities.float().flatten(),
            "reward": arm_rewards.gather(-1, taken[..., None]).flatten(),
            "expected_reward": arm_rewards.flatten(0, 1)[..., None],
        }
        self._parts.append({name: value.detach().cpu() for name, value in part.items()})
        return super().step(actions, propensities=propensities)

    def write(self) -> None:
        """Write the file.

        Raises:
            ValueError: nothing was logged.
        """
        if not self._parts:
            raise ValueError(f"no step was logged: there is nothing to write to {str(self.path)!r}")
        columns: dict[str, Any] = {
            name: torch.cat([part[name] for part in self._parts]).numpy() for name in self._parts[0]
        }
        num_rounds, num_actions, _ = columns["expected_reward"].shape
        with self.path.open("wb") as file:  # given a path, NumPy would append a suffix
            np.savez(
                file,
                n_rounds=num_rounds,
                n_actions=num_actions,
                position=np.zeros(num_rounds, dtype=np.int64),
                **columns,
            )


def _context(observed: Tensor, *, num_rounds: int) -> Tensor:
    """What is observed (B, K, ...) as a vector a round: (R, D) float32."""
    if observed.ndim > 3:  # (B, K, T, 3, h, w) of a skim, whose pixels would be too many
        observed = observed.float().mean((-2, -1)) / 255
    return observed.float().reshape(num_rounds, -1)


def load_interactions(path: str | Path) -> dict[str, Any]:
    """What `LogInteractions` wrote, as the Open Bandit Pipeline's dictionary of feedback."""
    with np.load(path) as file:
        feedback: dict[str, Any] = dict(file)
    return feedback | {name: int(feedback[name]) for name in ("n_rounds", "n_actions")}
