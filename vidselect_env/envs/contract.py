"""What a selector sees, and what a selector is.

A selector is a function of what may be seen of a video before anything of it is classified. Environment, evaluator,
recogniser and adapters all hand it the same thing, so that nothing has to be invented to use one:

    Looks (fields, valid, places, choice) --select--> selection (B, K) bool

Shapes: B contexts (videos, or sections of videos), K candidates a context, M sections of N clips, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
import torch
from torch import Tensor

from vidselect_env.bank.spec import OUTPUTS, SILENCE
from vidselect_env.envs.choice import Choice, choice_from_json
from vidselect_env.settings import typed

FEATURE_BOUND = 1e6  # far beyond any network's features; Gymnasium's checker warns of infinite bounds
PREDICTIONS = "predictions"  # the classifier's probabilities, as a field to look at


@dataclass(frozen=True)
class Looks:
    """What may be seen of B contexts with K candidates each.

    fields: `skim` (B, K, T, 3, h, w) uint8, `features` (B, K, D), `predictions` (B, K, C), `vectors` ... as in a bank.
    valid: (B, K) bool, the candidates that are a context's own; the others stand where one has fewer.
    places: (B, K) float, where in its video each lies, from 0 to 1.
    choice: what may be taken of them.
    """

    fields: Mapping[str, Tensor]
    valid: Tensor
    places: Tensor
    choice: Choice

    def __len__(self) -> int:
        return len(self.valid)

    def field(self, name: str) -> Tensor:
        """One field.

        Raises:
            ValueError: it was not asked for.
        """
        if name not in self.fields:
            raise ValueError(f"there is no look {name!r} here: there are {', '.join(self.fields) or 'none'}")
        return self.fields[name]

    def observation(self, names: tuple[str, ...]) -> Tensor:
        """Fields side by side in the last dimension, as an environment shows them: (B, K, ...)."""
        return side_by_side({name: self.field(name) for name in names})

    def best(self, scores: Tensor) -> Tensor:
        """The selection (B, K) bool of the candidates of largest score (B, K); nobody takes one of score -inf."""
        allowed = scores.to(self.valid.device).masked_fill(~self.valid, -torch.inf)
        return self.choice.best(allowed) & (allowed > -torch.inf)

    def uniform(self) -> Tensor:
        """The evenly spaced selection, (B, K) bool."""
        return self.choice.uniform(self.valid)


def side_by_side(fields: Mapping[str, Tensor]) -> Tensor:
    """Fields (B, K, ...) as an observation: joined in the last dimension; a video without sound is silent."""
    parts = [field.float().nan_to_num(nan=SILENCE) if name == "mel" else field for name, field in fields.items()]
    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


class MissingLook(ValueError):
    """A context has nothing of what a selector must look at: `row`, of a batch, and why."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(reason)
        self.row, self.reason = row, reason


@dataclass(frozen=True)
class Answers:
    """What only a learner, or a reference that says so, is told of the same contexts.

    targets: (B, C) bool labels. probabilities, logits: (B, K, C), the classifier's.
    spans_s: (B, K, 2) where candidates lie, seconds of the file. action_spans_s: (B, A, 2) where the action is, padded
        with nan. Both None where no video's action is known.
    dropped_weight: what a candidate counts in the fused prediction that is not chosen, beside 1 (alpha of AS, Eq. 10).
    """

    targets: Tensor
    probabilities: Tensor
    logits: Tensor
    spans_s: Tensor | None = None
    action_spans_s: Tensor | None = None
    dropped_weight: float = 0.0


@dataclass(frozen=True)
class LookShapes:
    """The shapes of looks, without the looks: what an agent is made for, and saved with.

    fields: of one candidate, by name: `skim` (T, 3, h, w), `features` (D,) ...
    num_candidates: K, of the longest video. num_classes: C. choice: what may be taken.
    shown: the fields in the environment's observation.
    is_ragged: contexts have different numbers of candidates, so that an observation alone does not tell which.
    """

    fields: Mapping[str, tuple[int, ...]]
    num_candidates: int
    num_classes: int
    choice: Choice
    shown: tuple[str, ...] = ()
    is_ragged: bool = False

    def shape(self, name: str) -> tuple[int, ...]:
        """Of one candidate's field.

        Raises:
            ValueError: there is none.
        """
        if name not in self.fields:
            hint = "; a classifier without a named head gives none" if name == "features" else ""
            raise ValueError(f"there is no {name!r} to look at: there are {', '.join(self.fields)}{hint}")
        return self.fields[name]

    @cached_property
    def candidate_shape(self) -> tuple[int, ...]:
        """Of one candidate in an observation."""
        shapes = [self.shape(name) for name in self.shown]
        return shapes[0] if len(shapes) == 1 else (sum(shape[0] for shape in shapes),)

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """uint8 for skims, float32 otherwise; its bounds never depend on data."""
        shape = (self.num_candidates, *self.candidate_shape)
        if self.shown == ("skim",):
            return gymnasium.spaces.Box(0, 255, shape, np.uint8)
        return gymnasium.spaces.Box(-FEATURE_BOUND, FEATURE_BOUND, shape, np.float32)

    @property
    def action_space(self) -> gymnasium.Space:
        return self.choice.action_space(self.num_candidates)

    def blind(self, num_contexts: int, fields: Mapping[str, Tensor] | None = None) -> Looks:
        """Looks of contexts of which nothing is known but `fields`.

        Raises:
            ValueError: contexts have different numbers of candidates, which nobody could guess.
        """
        if self.is_ragged:
            raise ValueError("an observation does not tell how long its video is, and videos differ: use select()")
        valid = torch.ones(num_contexts, self.num_candidates, dtype=torch.bool)
        places = (torch.arange(self.num_candidates) + 0.5) / self.num_candidates
        return Looks(fields or {}, valid, places.expand(num_contexts, -1), self.choice)

    def to_json(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in ("num_candidates", "num_classes", "shown", "is_ragged")},
            "fields": {name: list(shape) for name, shape in self.fields.items()},
            "choice": self.choice.to_json(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> LookShapes:
        """What `to_json` gave.

        Raises:
            ValueError: a part is missing, of another type, or out of range.
        """
        try:
            fields = {name: typed(shape, tuple[int, ...], name=name) for name, shape in data["fields"].items()}
            shapes = cls(
                fields=fields,
                num_candidates=typed(data["num_candidates"], int, name="num_candidates"),
                num_classes=typed(data["num_classes"], int, name="num_classes"),
                choice=choice_from_json(data["choice"]),
                shown=typed(data["shown"], tuple[str, ...], name="shown"),
                is_ragged=typed(data["is_ragged"], bool, name="is_ragged"),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"shapes of looks ({str(data)[:80]}) are not whole: {error!r}") from error
        sizes = [size for shape in fields.values() for size in shape]
        if min([shapes.num_candidates, shapes.num_classes, *sizes]) < 1 or not set(shapes.shown) <= set(fields):
            raise ValueError(f"shapes of looks ({str(data)[:80]}) must be positive, and what is shown among them")
        return shapes


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a selector needs in order to choose.

    fields: that it looks at, and is charged for; None for those of the environment's observation.
    environment: that it is made for; None for any.
    observation: of that environment, where not its usual one.
    reward: of that environment, to learn from, where not its usual one.
    per_section: sections are its contexts.
    """

    fields: tuple[str, ...] | None = None
    environment: str | None = None
    observation: str | None = None
    reward: str | None = None
    per_section: bool = False

    @property
    def classifier_first(self) -> bool:
        """Whether the classifier must have run on every candidate before it can choose."""
        return any(name in (*OUTPUTS, PREDICTIONS) for name in self.fields or ())


@runtime_checkable
class Selector(Protocol):
    """Anything that chooses."""

    needs: Needs

    def select(self, looks: Looks) -> Tensor:
        """Which candidates to classify, when it counts: (B, K) bool."""

    def cost_gmacs(self, shapes: LookShapes) -> float:
        """Multiply-adds of choosing for one context, in units of 1e9."""


@dataclass
class Adapted:
    """A third party's algorithm as a selector: it has Stable-Baselines3's `learn` and `predict`, and perhaps more."""

    inner: Any
    shapes: LookShapes
    needs: Needs
    doors: Mapping[str, Any] = field(repr=False)
    num_timesteps: int = 0

    def takes(self, shapes: LookShapes) -> bool:
        """Whether it can choose where looks have these shapes: with `predict` alone only in observations of its own."""
        return self.doors["select"] is not None or shapes.observation_space == self.shapes.observation_space

    def select(self, looks: Looks) -> Tensor:
        if (select := self.doors["select"]) is not None:
            return select(looks)
        observation = looks.observation(self.shapes.shown)
        if observation.shape[1:] != self.shapes.observation_space.shape:
            raise ValueError(
                f"an agent with predict() alone takes observations of {self.shapes.observation_space.shape}, not of "
                f"{tuple(observation.shape[1:])}: give it select(looks)"
            )
        actions, _ = self.inner.predict(observation.cpu().numpy(), deterministic=True)
        return looks.choice.selection(torch.as_tensor(actions, device=looks.valid.device)) & looks.valid

    def predict(self, observation: Any, *arguments: Any, **options: Any) -> tuple[Any, Any]:
        return self.inner.predict(observation, *arguments, **options)

    def cost_gmacs(self, shapes: LookShapes) -> float:
        return 0.0 if self.doors["cost_gmacs"] is None else self.doors["cost_gmacs"](shapes)


DOORS = ("predict", "select", "cost_gmacs", "save", "load", "set_logger", "needs", "config_class")


def doors_of(agent: Any) -> dict[str, Any]:
    """What a third party's object, or class, has of all that it may have; None for what it has not.

    The one place where anybody is asked what he is.
    """
    return {name: getattr(agent, name, None) for name in DOORS}


def adapt(agent: Any, shapes: LookShapes) -> Selector:
    """A selector as it is; or whatever has Stable-Baselines3's `predict`, turned into one.

    Besides, a third party's class may have `select(looks)`, `cost_gmacs(shapes)`, `needs`, `save(path)`, `load(path)`
    and `set_logger(logger)`.

    Raises:
        TypeError: it cannot choose.
    """
    if isinstance(agent, Selector):
        return agent
    doors = doors_of(agent)
    if doors["select"] is None and doors["predict"] is None:
        raise TypeError(f"{type(agent).__name__} is no selector: it needs select(looks) or predict(observation)")
    needs = doors["needs"] or Needs()
    return Adapted(agent, shapes, needs if needs.fields is not None else replace(needs, fields=shapes.shown), doors)
