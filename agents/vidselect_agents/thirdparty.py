"""A third party's algorithm among our agents: Stable-Baselines3's protocol, with whatever more it has."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vidselect_env.envs.contract import Adapted, LookShapes, adapt
from vidselect_env.envs.wrappers import BatchedEnv


class ThirdParty(Adapted):
    """An adapted selector that can learn and be saved; it was made with the environment that it learns on."""

    @classmethod
    def of(cls, inner: Any, shapes: LookShapes) -> Any:
        """`inner` as it is, where it is a selector by itself, or adapted."""
        adapted = adapt(inner, shapes)
        return cls(**vars(adapted)) if isinstance(adapted, Adapted) else adapted

    def learn(
        self,
        env: BatchedEnv,
        total_timesteps: int,
        callback: Callable[[Any], bool] | None = None,
        progress_bar: bool = False,
    ) -> ThirdParty:
        self.inner.learn(
            total_timesteps,
            callback=None if callback is None else lambda _: callback(self),
            progress_bar=progress_bar,
        )
        self.num_timesteps += total_timesteps
        return self

    def set_logger(self, logger: Any) -> None:
        if self.doors["set_logger"] is not None:
            self.doors["set_logger"](logger)

    def save(self, path: str | Path) -> None:
        if self.doors["save"] is not None:
            self.doors["save"](path)


_GIVEN = ("env", "seed", "device", "config")  # what `make_agent` gives a constructor, and no setting


def settings_of_constructor(cls: Any) -> type:
    """The settings of a class without `config_class`, a dataclass: its constructor's parameters with plain defaults."""
    fields: list[Any] = [
        (name, type(each.default), dataclasses.field(default=each.default))
        for name, each in inspect.signature(cls).parameters.items()
        if name not in _GIVEN and type(each.default) in (bool, int, float, str)
    ]
    made = dataclasses.make_dataclass(f"{getattr(cls, '__name__', 'Agent')}Settings", fields, frozen=True, kw_only=True)
    made.__doc__ = "The agent's own settings: parameters of its constructor."
    return made
