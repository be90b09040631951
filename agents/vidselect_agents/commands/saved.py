"""Opening a saved run, which somebody else may have sent: everything checked, and nothing executed unasked.

The safe part is all but plug-ins: JSON, and tensors in safetensors. A plug-in named `package.module:Name` is code.
"""

from __future__ import annotations

import importlib.machinery
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from torch import nn

from vidselect_agents.base import FILE_NAME
from vidselect_agents.commands.options.train import TrainConfig
from vidselect_agents.registry import AGENTS, agent_class, is_ours, load_agent, restored_settings
from vidselect_classifiers import CLASSIFIERS
from vidselect_env.envs.contract import LookShapes
from vidselect_env.experiment.config import changed
from vidselect_env.experiment.run import HEAD, WEIGHTS, read_config
from vidselect_env.fitting.head import load_head
from vidselect_env.settings import from_json


@dataclass(frozen=True)
class SavedRun:
    """A finished run of training an agent: its configuration, the agent's settings, classes, and what it looks at."""

    folder: Path
    config: TrainConfig
    settings: Any
    class_names: tuple[str, ...]
    shapes: LookShapes

    def load_agent(self) -> Any:
        """The agent, on the configuration's device."""
        return load_agent(self.config.agent, self.folder, self.shapes, device=self.config.classifier.torch_device)

    def load_head(self) -> nn.Linear | None:
        """The head that the run fitted, if it fitted one.

        Raises:
            ValueError: it is damaged, or not for the run's classes.
        """
        file = self.folder / HEAD
        if not file.exists():
            return None
        head = load_head(file)
        if head.out_features != len(self.class_names):
            raise ValueError(f"{str(file)!r} has {head.out_features} classes, and the run {len(self.class_names)}")
        return head


def open_run(folder: Path, *, trust: bool = False) -> SavedRun:
    """A finished run, checked.

    Args:
        trust: import agents and classifiers that its configuration names as `package.module:Name`; never from
            inside the folder.

    Raises:
        ValueError: no run, one that is not finished or damaged, or one that needs `trust`.
    """
    saved = read_config(folder)
    config = run_config(folder, saved, trust=trust)
    if is_ours(agent_class(config.agent)) and not (folder / FILE_NAME).exists():
        raise ValueError(
            f"{str(folder)!r} is not finished: it has no {FILE_NAME}; `vidselect train --resume` goes on with it, "
            "if its agent can be resumed"
        )
    try:
        class_names = tuple(saved["class_names"])
        shapes = LookShapes.from_json(saved["shapes"])
        settings = restored_settings(config.agent, saved["agent_settings"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise damaged(folder, error) from error
    if not class_names or not all(isinstance(name, str) for name in class_names):
        raise ValueError(f"class_names of {str(folder)!r} must be texts, at least one")
    if (folder / WEIGHTS).exists():  # of the classifier that it trained
        config = changed(config, weights=str(folder / WEIGHTS))
    return SavedRun(folder, config, settings, class_names, shapes)


def read_run(folder: Path, *, trust: bool = False) -> tuple[TrainConfig, Any]:
    """The configuration and the agent's settings of a run, finished or not; `trust` as in `open_run`.

    Raises:
        ValueError: no run, a damaged one, or one that needs `trust`.
    """
    saved = read_config(folder)
    config = run_config(folder, saved, trust=trust)
    try:
        return config, restored_settings(config.agent, saved["agent_settings"])
    except (TypeError, AttributeError, ValueError) as error:
        raise damaged(folder, error) from error


def run_config(folder: Path, saved: dict[str, Any], *, trust: bool) -> TrainConfig:
    """What a run's `config.json` says of its training, if nothing has to be executed that may not be.

    Raises:
        ValueError: it is of another command, damaged, or needs `trust`.
    """
    if not isinstance(saved.get("experiment"), dict) or "agent_settings" not in saved:
        raise ValueError(f"{str(folder)!r} is no run of training an agent")
    try:
        config = from_json(TrainConfig, saved["experiment"])
    except (TypeError, ValueError, OverflowError) as error:
        raise damaged(folder, error) from error
    check_plugin(config.agent, folder, known=AGENTS, group="vidselect.agents", trust=trust)
    check_plugin(config.classifier.classifier, folder, known=CLASSIFIERS, group="vidselect.classifiers", trust=trust)
    return config


def damaged(folder: Path, error: Exception) -> ValueError:
    """What is said of a run whose `config.json` makes no sense."""
    reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
    return ValueError(f"the configuration of {str(folder)!r} is damaged: {reason}")


def check_plugin(name: str, folder: Path, *, known: Any, group: str, trust: bool) -> None:
    """See that what a run calls an agent or classifier by may be imported.

    Registered names and entry points of installed packages may; `package.module:Name` only with `trust`; and nothing
    whose file lies in the run's own folder, whatever stands on Python's path.

    Raises:
        ValueError: it may not.
    """
    installed = {entry.name: entry.value for entry in entry_points(group=group)}
    if name in known or name.startswith("hf:"):
        return
    if name not in installed and ":" not in name:
        return  # unknown, which is said where it is looked up
    module = installed.get(name, name).partition(":")[0]
    if name not in installed and not trust:
        raise ValueError(
            f"{str(folder)!r} names {name!r}, which is no installed plug-in: its code would run here; if you trust "
            "whom the run is from, give --trust"
        )
    for place in places_of(module):
        if place.is_relative_to(folder.resolve()):
            raise ValueError(f"{name!r} lies in the run's own folder {str(folder)!r}: nothing is imported from there")


def places_of(module: str) -> list[Path]:
    """The files and folders that importing `package.module` would take, found without executing any of them."""
    places: list[Path] = []
    path: Sequence[str] | None = None
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        spec = importlib.machinery.PathFinder.find_spec(".".join(parts[:count]), path)
        if spec is None:
            break
        path = list(spec.submodule_search_locations or ())
        places += [Path(place).resolve() for place in ([spec.origin] if spec.origin else []) + list(path)]
    return places
