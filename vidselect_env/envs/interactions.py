"""A log of a bandit's interactions, for learning and evaluation without the environment.

Shapes: B sub-environments, G decisions a context, N arms a decision, R logged rounds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


class InteractionLog:
    """Collects rounds and writes them as an `.npz` file with the keys of the Open Bandit Pipeline.

    A round is one decision: one section of a video. The file holds `n_rounds`, `n_actions`, `context_id`
    (R,) int64, `action` (R,) int64, `pscore` (R,) float32 (the propensity; nan where the agent gave none),
    `reward` (R,) float32, `expected_reward` (R, N, 1) float32 (every arm's reward: it is known here), and
    `position` (R,) int64 of zeros.

    Args:
        path: of the file that `close` writes.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.is_open = True
        self._parts: list[dict[str, Tensor]] = []

    def record(self, contexts: Tensor, actions: Tensor, propensities: Tensor | None, arm_rewards: Tensor) -> None:
        """Take in the step of B contexts: actions (B, G), propensities (B, G), rewards of all arms (B, G, N)."""
        num_decisions = arm_rewards.shape[1]
        actions = actions.view(-1, num_decisions)
        if propensities is None:
            propensities = torch.full(actions.shape, float("nan"))
        decisions = torch.arange(num_decisions, device=contexts.device)
        part = {
            "context_id": (contexts[:, None] * num_decisions + decisions).flatten(),
            "action": actions.flatten(),
            "pscore": propensities.float().flatten(),
            "reward": arm_rewards.gather(-1, actions[..., None]).flatten(),
            "expected_reward": arm_rewards.flatten(0, 1)[..., None],
        }
        self._parts.append({name: value.detach().cpu() for name, value in part.items()})

    def close(self) -> None:
        """Write the file; nothing is logged from now on.

        Raises:
            ValueError: nothing was logged.
        """
        self.is_open = False
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


def load_interactions(path: str | Path) -> dict[str, Any]:
    """What `InteractionLog` wrote, as the Open Bandit Pipeline's dictionary of feedback."""
    with np.load(path) as file:
        feedback: dict[str, Any] = dict(file)
    return feedback | {name: int(feedback[name]) for name in ("n_rounds", "n_actions")}
