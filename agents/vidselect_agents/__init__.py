"""Agents by name: `make_agent("dsn", env)`."""

from vidselect_agents.base import Agent
from vidselect_agents.registry import AGENTS, UNTRAINED, agent_class, load_agent, make_agent, register_agent

__all__ = ["AGENTS", "UNTRAINED", "Agent", "agent_class", "load_agent", "make_agent", "register_agent"]
