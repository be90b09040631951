"""Train an agent, and report what its choice of clips buys beside the reference selectors.

vidselect train --agent dsn

vidselect train --agent dsn --help: lists the agent's own settings too

vidselect train --resume runs/dsn-...: one with --checkpoint-every that was stopped

vidselect train --recipe NAME --root FOLDER --dry-run: a paper's experiment; --recipe NAME --help lists more

A saved run is evaluated on something else by `vidselect evaluate RUN`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from vidselect_agents.commands.options import read, recipe
from vidselect_agents.commands.options.recipe import RecipeConfig
from vidselect_env.experiment.config import ExperimentConfig
from vidselect_env.settings import LARGEST_SEED, check_settings


@dataclass(frozen=True, kw_only=True)
class TrainConfig(ExperimentConfig):
    """Everything about a run but the agent's own settings.

    Args:
        agent: a built-in name, an entry point's, or package.module:Class.
        total_timesteps: videos seen in training, a step of a sub-environment each (of one whose episodes are
            sections, M steps each); of a search, its steps.
        num_envs: sub-environments stepped together, and the batch of a gradient step.
        evaluate_every: evaluate on the test split after so many steps (0: only at the end).
        checkpoint_every: write what is needed to go on after so many steps (0: never, and of joint training after
            every epoch), for --resume RUN.
        keep_videos: of joint training, decoded videos that are kept in memory.
        val_views: of joint training, crops of a clip on val: centre, three or ten.
        seed: of the agent and its environment.
        deterministic: the same bytes whatever the number of threads: slower.
        runs: the folder that the run's folder is made in.
    """

    agent: str = "dsn"
    total_timesteps: int = 6_400
    num_envs: int = 64
    evaluate_every: int = 1_600
    checkpoint_every: int = 0
    keep_videos: int = 64
    val_views: Literal["centre", "three", "ten"] = "centre"
    seed: int = 0
    deterministic: bool = False
    runs: Path = Path("runs")

    def __post_init__(self) -> None:
        amounts = ("evaluate_every", "checkpoint_every", "seed")
        check_settings(
            self,
            at_least=dict.fromkeys(("total_timesteps", "num_envs", "keep_videos"), 1) | dict.fromkeys(amounts, 0),
            at_most={"seed": LARGEST_SEED},
        )


@dataclass(frozen=True)
class _Named:
    agent: str | None = None
    environment: str = "auto"
    resume: Path | None = None
    recipe: str | None = None


@dataclass(frozen=True, kw_only=True)
class ResumeConfig:
    """Which run goes on, with its own settings.

    Args:
        resume: its folder.
        trust: import a classifier that the run names as package.module:builder.
    """

    resume: Path
    trust: bool = False


def parse(arguments: Sequence[str]) -> ResumeConfig | RecipeConfig | tuple[TrainConfig, Any]:
    """The run's configuration and the agent's own settings, or which run goes on.

    Without `--agent` help does not list any agent's settings: it would take seconds to import it.
    """
    asks_help = bool({"-h", "--help"} & set(arguments))
    known = read(_Named, arguments, return_unknown_args=True, add_help=False)[0]
    if known.recipe is not None:
        return recipe.parse(arguments)
    if known.resume is not None:
        return read(ResumeConfig, arguments, prog="vidselect train", description=__doc__)
    if asks_help and known.agent is None:
        return _parse(arguments, TrainConfig()), None
    from vidselect_agents.registry import settings_of

    defaults = settings_of(known.agent or TrainConfig.agent, known.environment)
    taken = _names(TrainConfig)
    settings_class, own_names = _renamed(type(defaults), taken)
    offered = settings_class(**{new: getattr(defaults, old) for new, old in own_names.items()})
    config, given = _parse(arguments, (TrainConfig(), offered))
    return config, dataclasses.replace(defaults, **{old: getattr(given, new) for new, old in own_names.items()})


def _parse(arguments: Sequence[str], default: Any) -> Any:
    kind: Any = TrainConfig
    if isinstance(default, tuple):
        kinds = (TrainConfig, type(default[1]))
        kind = tuple.__class_getitem__(tuple(Annotated[each, tyro.conf.arg(name="")] for each in kinds))
    return read(
        kind,
        arguments,
        default=default,
        prog="vidselect train",
        description=__doc__,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def _names(config_class: type) -> set[str]:
    """Of all options of a configuration, those of the dataclasses in it too."""
    found: set[str] = set()
    for field in dataclasses.fields(config_class):
        default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        found |= _names(type(default)) if dataclasses.is_dataclass(default) else {field.name}
    return found


def _renamed(settings_class: type, taken: set[str]) -> tuple[type, dict[str, str]]:
    """An agent's settings class with `agent_` before names that a run has too, and what its names were before."""
    names = {
        f"agent_{field.name}" if field.name in taken else field.name: field.name
        for field in dataclasses.fields(settings_class)
    }
    if all(new == old for new, old in names.items()):
        return settings_class, names
    types = {field.name: field.type for field in dataclasses.fields(settings_class)}
    fields: list[Any] = [(new, types[old]) for new, old in names.items()]
    made = dataclasses.make_dataclass(settings_class.__name__, fields, frozen=True, kw_only=True)
    made.__doc__ = f"Those of its settings that a run has an option for too are called agent-...: {', '.join(names)}."
    return made, names
