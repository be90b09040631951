"""Agents by name: `make_agent("dsn", env)`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import yaml

from vidselect_agents.base import Agent
from vidselect_classifiers.registry import lookup
from vidselect_env.envs.batched import SelectVectorEnv

__all__ = [
    "AGENTS",
    "REFERENCES",
    "Agent",
    "agent_class",
    "agent_file",
    "load_agent",
    "loadable_class",
    "make_agent",
    "register_agent",
    "restored_settings",
    "signals_wanted",
    "tuned_settings",
]

REFERENCES = ("random", "uniform", "dense", "oracle")
AGENTS: dict[str, Any] = {
    "random": "vidselect_agents.references:RandomReference",
    "uniform": "vidselect_agents.references:UniformReference",
    "dense": "vidselect_agents.references:DenseReference",
    "oracle": "vidselect_agents.references:OracleReference",
    "empirical": "vidselect_agents.references:EmpiricalReference",
    "max_response": "vidselect_agents.max_response:MaxResponse",
    "ranking": "vidselect_agents.ranking:Ranking",
    "mgsampler": "vidselect_agents.mgsampler:MGSampler",
    "scsampler": "vidselect_agents.scsampler:SCSampler",
    "dsn": "vidselect_agents.dsn:DSN",
    "as": "vidselect_agents.attention:AttentionAwareSampling",
    "ppo": "vidselect_agents.sb3.agents:PPOAgent",
    "a2c": "vidselect_agents.sb3.agents:A2CAgent",
    "dqn": "vidselect_agents.sb3.agents:DQNAgent",
    "trpo": "vidselect_agents.sb3.contrib:TRPOAgent",
    "qrdqn": "vidselect_agents.sb3.contrib:QRDQNAgent",
    "maskable_ppo": "vidselect_agents.sb3.contrib:MaskablePPOAgent",
}


@dataclass(frozen=True)
class NoSettings:
    """For an agent that has no configuration of its own."""


def register_agent(name: str, agent: Any) -> None:
    """Make an agent class known under a name.

    Raises:
        ValueError: the name is taken.
    """
    if name in AGENTS:
        raise ValueError(f"agent {name!r} is already registered")
    AGENTS[name] = agent


def agent_class(name: str) -> Any:
    """The agent called `name`: built in, registered, an entry point of `vidselect.agents`, or `package.module:Class`.

    Raises:
        ValueError: no such agent; the message suggests the nearest.
        ImportError: it needs a package that is not installed; the message names the extra that has it.
    """
    try:
        return lookup(AGENTS, name, kind="agent", group="vidselect.agents")
    except ModuleNotFoundError as error:
        if error.name == "sb3_contrib":
            raise ImportError(f"agent {name!r} needs sb3-contrib: pip install 'vidselect-env[contrib]'") from error
        raise


def signals_wanted(name: str, settings: Any) -> tuple[str, ...]:
    """The fields of a bank beside skims that an agent takes: those of its class, and of its settings if they are more.

    So agents of one class share a bank, whichever of its signals each looks at.
    """
    usual = getattr(agent_class(name), "signals", ())
    return (*usual, *(signal for signal in getattr(settings, "signals", ()) if signal not in usual))


def tuned_settings(name: str, environment: str = "auto") -> Any:
    """The agent's settings that do well on the default problem, from `hyperparameters/ENVIRONMENT.yml`.

    An agent that the file does not list has its own defaults.
    """
    cls = agent_class(name)
    if environment == "auto":
        environment = getattr(cls, "environment", "VideoClipSelect-v0")
    listed = yaml.safe_load((files("vidselect_agents") / "hyperparameters" / f"{environment}.yml").read_text())
    return getattr(cls, "config_class", NoSettings)(**listed.get(name, {}))


def restored_settings(name: str, saved: dict[str, Any]) -> Any:
    """The settings of an agent from what a run's `config.json` says of them."""
    cls = agent_class(name)
    restored = cls.restored(saved) if hasattr(cls, "restored") else saved
    return getattr(cls, "config_class", NoSettings)(**restored)


def agent_file(agent: Any) -> str:
    """The name of the file in a run's folder that an agent, or its class, is saved in."""
    return getattr(agent, "file_name", Agent.file_name)


def loadable_class(name: str) -> Any:
    """The agent called `name`, as `agent_class`.

    Raises:
        ValueError: no such agent, or one that cannot be loaded.
    """
    cls = agent_class(name)
    if not hasattr(cls, "load"):
        raise ValueError(f"agent {name!r} has no load(path, env): it cannot be used later")
    return cls


def load_agent(cls: Any, folder: Path, env: SelectVectorEnv, *, device: str | torch.device = "cpu") -> Any:
    """The agent that was saved in a run's folder, for an environment; `device` where its `load` takes one."""
    options = {"device": device} if "device" in signature(cls.load).parameters else {}
    return cls.load(folder / agent_file(cls), env, **options)


def make_agent(
    name: str, env: SelectVectorEnv, *, seed: int = 0, device: str | torch.device = "cpu", **settings: Any
) -> Any:
    """A new agent for an environment.

    Args:
        settings: fields of the agent's own configuration; the others are those of `tuned_settings`.

    Raises:
        ValueError: no such agent, or a setting that it does not have.
    """
    cls = agent_class(name)
    if not hasattr(cls, "config_class"):
        return cls(env, seed=seed, **settings)
    tuned = tuned_settings(name, env.problem.environment)
    known = type(tuned).__dataclass_fields__
    for setting in settings:
        if setting not in known:
            raise ValueError(f"agent {name!r} has no setting {setting!r}: it has {', '.join(known) or 'none'}")
    return cls(env, config=type(tuned)(**(vars(tuned) | settings)), seed=seed, device=device)
