"""Checkpoints of an agent's training: everything that is needed to go on as if it had never been stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.logger import Logger

from vidselect_agents.registry import agent_class, is_ours
from vidselect_env.envs.wrappers import RecordRollouts
from vidselect_env.files import check_regular, write_aside

CHECKPOINT = "checkpoint.pt"


def check_resumable(name: str) -> None:
    """See that the training of an agent can be stopped and gone on with.

    Raises:
        ValueError: it cannot: those of Stable-Baselines3 keep rollouts and replays of their own, a third party's
            whatever it likes, and what learns nothing by steps has nothing to go on with.
    """
    cls = agent_class(name)
    if not (is_ours(cls) and cls.resumable):
        raise ValueError(f"agent {name!r} cannot be resumed: leave --checkpoint-every 0, and train it in one go")


class Checkpoints:
    """Writes `checkpoint.pt` into a run's folder every so many steps of sub-environments; 0 for never."""

    def __init__(self, folder: Path, env: RecordRollouts, logger: Logger, *, every: int) -> None:
        self.file, self.env, self.logger, self.every = folder / CHECKPOINT, env, logger, every
        self._next = every

    def write_if_due(self, agent: Any, **others: Any) -> None:
        """Write one if so many steps have passed; `others` are kept with it."""
        if not self.every or self.env.num_steps < self._next:
            return
        self._next = (self.env.num_steps // self.every + 1) * self.every
        said = {"values": dict(self.logger.name_to_value), "counts": dict(self.logger.name_to_count)}
        state = {"agent": agent.training(), "logger": said, **others}
        write_aside(self.file, lambda aside: torch.save(state, aside))

    def resume(self, agent: Any) -> dict[str, Any] | None:
        """Have an agent go on where the last checkpoint was written: all of it, or None where there is none.

        Raises:
            ValueError: it is damaged, or of another agent.
        """
        if not self.file.exists():
            return None
        try:
            check_regular(self.file)
            state = torch.load(self.file, weights_only=True, map_location="cpu")
            agent.resume(state["agent"])
            self.logger.name_to_value.update(state["logger"]["values"])
            self.logger.name_to_count.update(state["logger"]["counts"])
            # Without them what was recorded before, and is not again, cannot be written.
            self.logger.name_to_excluded.update(dict.fromkeys(state["logger"]["values"], ("",)))
        except Exception as error:  # whatever a damaged file makes of its readers
            raise ValueError(f"checkpoint {str(self.file)!r} cannot be taken up: {error}") from error
        if self.every:
            self._next = (state["agent"]["num_timesteps"] // self.every + 1) * self.every
        return state
