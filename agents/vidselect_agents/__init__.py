"""Agents by name: `make_agent("dsn", env)`. What is named here is imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidselect_agents.base import Agent
    from vidselect_agents.registry import AGENTS, UNTRAINED, agent_class, load_agent, make_agent, register_agent

__all__ = ["AGENTS", "UNTRAINED", "Agent", "agent_class", "load_agent", "make_agent", "register_agent"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{'base' if name == 'Agent' else 'registry'}"), name)
