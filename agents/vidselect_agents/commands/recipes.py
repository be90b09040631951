"""Recipes: the papers' experiments by name, each a YAML file in the package (`vidselect_agents/recipes/NAME.yml`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from vidselect_agents.commands.options import classifier as classifier_options
from vidselect_agents.commands.options import train as train_options
from vidselect_env.datasets.official import OFFICIAL

FOLDER = "recipes"
Options = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One modality of a recipe: a classifier, and who chooses its clips.

    flow: METHOD or METHOD@SIDE of its optical flow; None for colours.
    shared: options of both commands, such as `classifier` and `clip-frames`.
    classifier: options of `vidselect classifier`; None where the weights are taken as they are.
    train: options of `vidselect train`; None where the classifier's own accuracy is the result.

    Raises:
        ValueError: there is neither.
    """

    name: str
    flow: str | None = None
    shared: Options = dataclasses.field(default_factory=dict)
    classifier: Options | None = None
    train: Options | None = None

    def __post_init__(self) -> None:
        if self.classifier is None and self.train is None:
            raise ValueError(f"stream {self.name!r} of a recipe must have a classifier, or train, or both")

    def dataset(self, base: str) -> str:
        """The dataset string of the stream's modality."""
        return base if self.flow is None else f"flow:{self.flow}:{base}"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One experiment of a paper.

    table: paper, table and row. reports: what stands there.
    dataset: a name of `OFFICIAL`. splits: its variants that are averaged over; none where there is one.
    metric: top1 or mean_average_precision.
    streams: what is trained; several are fused with `weights`.
    differs: from the paper, a line each.

    Raises:
        ValueError: an unknown dataset, variant or metric, or weights that are not as many as the streams.
    """

    name: str
    table: str
    reports: str
    dataset: str
    metric: str
    streams: tuple[Stream, ...]
    splits: tuple[str, ...] = ()
    weights: tuple[float, ...] | None = None
    differs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.dataset not in OFFICIAL:
            raise ValueError(f"dataset ({self.dataset!r}) of recipe {self.name!r} must be one of {', '.join(OFFICIAL)}")
        unknown = set(self.splits) - set(OFFICIAL[self.dataset].variants)
        if unknown:
            raise ValueError(f"{self.dataset} has no split {', '.join(sorted(unknown))}")
        if self.metric not in ("top1", "mean_average_precision"):
            raise ValueError(f"metric ({self.metric!r}) of {self.name!r} must be top1 or mean_average_precision")
        if not self.streams or (self.weights is not None and len(self.weights) != len(self.streams)):
            raise ValueError(f"recipe {self.name!r} must have streams, and as many weights if it has any")

    def datasets(self, root: str) -> tuple[str, ...]:
        """The dataset strings of all splits.

        Example: `ucf101`, splits 1 and 2, root `U` -> `ucf101:U@1`, `ucf101:U@2`.
        """
        return tuple(f"{self.dataset}:{root}@{split}" for split in self.splits) or (f"{self.dataset}:{root}",)


def recipe_names() -> tuple[str, ...]:
    """Of all recipes in the package."""
    return tuple(sorted(entry.name.removesuffix(".yml") for entry in _folder() if entry.name.endswith(".yml")))


def load_recipe(name: str) -> Recipe:
    """The recipe called `name`, or of a YAML file of that path.

    Raises:
        ValueError: there is no such recipe, or the file is none.
    """
    if name.endswith((".yml", ".yaml")):
        text, name = Path(name).read_text(), Path(name).stem
    elif name in recipe_names():
        text = next(entry for entry in _folder() if entry.name == f"{name}.yml").read_text()
    else:
        near = get_close_matches(name, recipe_names(), n=1)
        hint = f": did you mean {near[0]!r}?" if near else f": there are {', '.join(recipe_names())}"
        raise ValueError(f"unknown recipe {name!r}{hint}")
    try:
        return _made(name, yaml.safe_load(text))
    except (TypeError, AttributeError, KeyError, yaml.YAMLError) as error:
        raise ValueError(f"recipe {name!r} cannot be read: {error}") from error


def _made(name: str, data: Mapping[str, Any]) -> Recipe:
    streams = tuple(Stream(name=stream, **fields) for stream, fields in data["streams"].items())
    rest: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key != "streams"
    }
    if "splits" in rest:
        rest["splits"] = tuple(str(split) for split in rest["splits"])
    return Recipe(name=name, streams=streams, **rest)


def _folder() -> Sequence[Any]:
    return list((files("vidselect_agents") / FOLDER).iterdir())


def changed_recipe(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """A recipe with other options: `classifier.epochs=1`, `train.total-timesteps=64`, `shared.clip-frames=8`.

    They are of every stream that has the section. None, true and false are what YAML makes of them.

    Raises:
        ValueError: a change is not of that form.
    """
    streams = recipe.streams
    for change in changes:
        place, equals, value = change.partition("=")
        section, dot, option = place.partition(".")
        if not (equals and dot and option) or section not in ("shared", "classifier", "train"):
            raise ValueError(
                f"--set {change!r} must be shared.OPTION=VALUE, classifier.OPTION=VALUE or train.OPTION=VALUE"
            )
        streams = tuple(_with_option(stream, section, option, yaml.safe_load(value)) for stream in streams)
    return dataclasses.replace(recipe, streams=streams)


def _with_option(stream: Stream, section: str, option: str, value: Any) -> Stream:
    options = getattr(stream, section)
    changed: dict[str, Any] = {section: {**(options or {}), option: value}}
    return stream if options is None else dataclasses.replace(stream, **changed)


def arguments_of(options: Options) -> list[str]:
    """Options as a command line.

    Example: `{"epochs": 3, "cache": True, "milestones": [1, 2], "weights": None}`
    -> `--epochs 3 --cache --milestones 1 2 --weights None`.
    """
    found: list[str] = []
    for name, value in options.items():
        if value is True or value is False:
            found.append(f"--{name}" if value else f"--no-{name}")
        else:
            values = value if isinstance(value, list) else [value]
            found += [f"--{name}", *(str(each) for each in values)]
    return found


def classifier_config(stream: Stream, dataset: str, **more: Any) -> classifier_options.ClassifierConfig:
    """The configuration of a stream's `vidselect classifier`."""
    return classifier_options.parse(arguments_of(_common(stream, dataset) | dict(stream.classifier or {}) | more))


def train_config(stream: Stream, dataset: str, **more: Any) -> tuple[train_options.TrainConfig, Any]:
    """The configuration of a stream's `vidselect train`, and its agent's settings."""
    parsed = train_options.parse(arguments_of(_common(stream, dataset) | dict(stream.train or {}) | more))
    assert isinstance(parsed, tuple)
    return parsed


def _common(stream: Stream, dataset: str) -> dict[str, Any]:
    modality = {} if stream.flow is None else {"modality": "flow"}
    return {"dataset": stream.dataset(dataset), **modality, **stream.shared}
