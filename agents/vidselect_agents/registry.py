"""Agents by name: ours, registered ones, entry points, and `package.module:Class`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vidselect_agents.base import FILE_NAME, Agent
from vidselect_agents.settings import restored, tuned, with_settings
from vidselect_agents.thirdparty import ThirdParty, settings_of_constructor
from vidselect_classifiers.registry import lookup
from vidselect_env.envs.contract import LookShapes, Needs, doors_of
from vidselect_env.envs.wrappers import BatchedEnv

AGENTS: dict[str, Any] = {
    "random": "vidselect_agents.references:RandomReference",
    "uniform": "vidselect_agents.references:UniformReference",
    "dense": "vidselect_agents.references:DenseReference",
    "empirical": "vidselect_agents.references:EmpiricalReference",
    "position": "vidselect_agents.references:PositionReference",
    "loudest": "vidselect_agents.references:LoudestReference",
    "max_response": "vidselect_agents.max_response:MaxResponse",
    "ranking": "vidselect_agents.ranking:Ranking",
    "truth_spans": "vidselect_agents.truth_spans:TruthSpans",
    "mgsampler": "vidselect_agents.mgsampler:MGSampler",
    "scsampler": "vidselect_agents.scsampler:SCSampler",
    "dsn": "vidselect_agents.dsn:DSN",
    "as": "vidselect_agents.attention:AttentionAwareSampling",
    "plackett_luce": "vidselect_agents.plackett_luce:PlackettLuce",
    "search": "vidselect_agents.search:Search",
    "ppo": "vidselect_agents.sb3.agents:PPOAgent",
    "a2c": "vidselect_agents.sb3.agents:A2CAgent",
    "dqn": "vidselect_agents.sb3.agents:DQNAgent",
    "trpo": "vidselect_agents.sb3.contrib:TRPOAgent",
    "qrdqn": "vidselect_agents.sb3.contrib:QRDQNAgent",
    "maskable_ppo": "vidselect_agents.sb3.contrib:MaskablePPOAgent",
}
UNTRAINED = ("random", "uniform", "dense")  # in every table


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


def is_ours(cls: Any) -> bool:
    """Whether a class is an `Agent`, and not a third party's own kind."""
    return isinstance(cls, type) and issubclass(cls, Agent)


def config_class(name: str) -> type:
    """The dataclass of an agent's own settings."""
    cls = agent_class(name)
    return cls.config_class if is_ours(cls) else doors_of(cls)["config_class"] or settings_of_constructor(cls)


def needs_of(name: str, settings: Any) -> Needs:
    """What the agent called `name` needs with these settings, before there is one."""
    cls = agent_class(name)
    return cls.needs_with(settings) if is_ours(cls) else doors_of(cls)["needs"] or Needs()


def settings_of(name: str, environment: str = "auto") -> Any:
    """The agent's settings that do well on the default problem of an environment, or of the one it is made for."""
    cls = agent_class(name)
    if environment == "auto":
        made_for = cls.made_for if is_ours(cls) else doors_of(cls)["needs"] or Needs()
        environment = made_for.environment or "VideoClipSelect-v0"
    return tuned(name, config_class(name), environment)


def make_agent(
    name: str, env: BatchedEnv, *, seed: int = 0, device: str | torch.device = "cpu", **settings: Any
) -> Any:
    """A new agent for an environment: `make_agent("dsn", env).learn(env, 6400)`.

    Args:
        settings: fields of the agent's own configuration; the others are those of `settings_of`.

    Raises:
        ValueError: no such agent, or a setting that it does not have.
    """
    cls = agent_class(name)
    if is_ours(cls):
        config = with_settings(name, settings_of(name, env.problem.environment), settings)
        return cls(env.shapes, config=config, seed=seed, device=device)
    if doors_of(cls)["config_class"] is None:
        return ThirdParty.of(cls(env, seed=seed, **settings), env.shapes)
    config = with_settings(name, settings_of(name, env.problem.environment), settings)
    return ThirdParty.of(cls(env, config=config, seed=seed, device=device), env.shapes)


def load_agent(name: str, folder: Path, shapes: LookShapes, *, device: str | torch.device = "cpu") -> Any:
    """The agent called `name` that was saved in a run's folder.

    Args:
        shapes: of the looks that it was trained on, for a third party's agent; ours know their own.

    Raises:
        ValueError: no such agent, one that cannot be loaded, or a file that holds another.
    """
    cls = agent_class(name)
    if is_ours(cls):
        return cls.load(folder / FILE_NAME, device=device)
    load = doors_of(cls)["load"]
    if load is None:
        raise ValueError(f"agent {name!r} has no load(path): it cannot be used later")
    return ThirdParty.of(load(folder / FILE_NAME), shapes)


def restored_settings(name: str, saved: dict[str, Any]) -> Any:
    """The settings of an agent from what a run's `config.json` says of them."""
    return restored(config_class(name), saved)
