"""Agents' own settings: what does well on the default problem, and what a file says of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from vidselect_env.settings import typed


@dataclass(frozen=True)
class NoSettings:
    """For an agent that has no configuration of its own."""


def tuned(name: str, config_class: type, environment: str) -> Any:
    """Settings from `hyperparameters/ENVIRONMENT.yml`; an agent that it does not list has its own defaults.

    Raises:
        ValueError: there is no such environment.
    """
    known = {Path(file.name).stem: file for file in (files("vidselect_agents") / "hyperparameters").iterdir()}
    if environment not in known:
        raise ValueError(f"unknown environment {environment!r}: it is auto, {' or '.join(sorted(known))}")
    listed = yaml.safe_load(known[environment].read_text())
    return config_class(**listed.get(name, {}))


def restored(config_class: type, saved: dict[str, Any]) -> Any:
    """A configuration as it was before it was written as JSON.

    Raises:
        ValueError: a setting that there is not, or one of another type or out of range.
    """
    if not isinstance(saved, dict):
        raise ValueError(f"{config_class.__name__} ({str(saved)[:80]!r}) must be an object of settings")
    known = {field.name for field in dataclasses.fields(config_class)}
    if unknown := set(saved) - known:
        raise ValueError(f"{config_class.__name__} has no {', '.join(sorted(unknown))}: it has {', '.join(known)}")
    hints = get_type_hints(config_class)
    return config_class(**{name: typed(value, hints[name], name=name) for name, value in saved.items()})


def with_settings(name: str, config: Any, settings: dict[str, Any]) -> Any:
    """A configuration with some settings of its own.

    Raises:
        ValueError: a setting that it does not have.
    """
    known = [field.name for field in dataclasses.fields(config)]
    for setting in settings:
        if setting not in known:
            raise ValueError(f"agent {name!r} has no setting {setting!r}: it has {', '.join(known) or 'none'}")
    return dataclasses.replace(config, **settings)
