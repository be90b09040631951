"""Agents by name: `make_agent("dsn", env)`."""

from __future__ import annotations

from typing import Any

import torch

from vidselect_agents.base import Agent
from vidselect_agents.dsn import DSN
from vidselect_agents.max_response import MaxResponse
from vidselect_agents.references import DenseReference, OracleReference, RandomReference, UniformReference
from vidselect_classifiers.registry import lookup
from vidselect_env.envs.batched import SelectVectorEnv

__all__ = ["AGENTS", "Agent", "agent_class", "make_agent"]

AGENTS: dict[str, Any] = {
    agent.name: agent
    for agent in (RandomReference, UniformReference, DenseReference, OracleReference, MaxResponse, DSN)
}
REFERENCES = ("random", "uniform", "dense", "oracle")


def agent_class(name: str) -> Any:
    """The agent called `name`: built in, an entry point of `vidselect.agents`, or `package.module:Class`.

    Raises:
        ValueError: no such agent; the message suggests the nearest.
    """
    return lookup(AGENTS, name, kind="agent", group="vidselect.agents")


def make_agent(
    name: str, env: SelectVectorEnv, *, seed: int = 0, device: str | torch.device = "cpu", **config: Any
) -> Any:
    """A new agent for an environment; `config` are fields of its own configuration.

    Raises:
        ValueError: no such agent, or a setting that it does not have.
    """
    cls = agent_class(name)
    if not hasattr(cls, "config_class"):
        return cls(env, seed=seed, **config)
    known = cls.config_class.__dataclass_fields__
    for setting in config:
        if setting not in known:
            raise ValueError(f"agent {name!r} has no setting {setting!r}: it has {', '.join(known) or 'none'}")
    return cls(env, config=cls.config_class(**config), seed=seed, device=device)
