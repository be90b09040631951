"""Steps a second of searches: the batched environment beside Stable-Baselines3's DummyVecEnv over the scalar one.

    python scripts/measure/searches.py

One thread, random actions, flat observations of the classifier's features; both in turn, in one process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gymnasium
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

import vidselect_env  # noqa: F401  (registers the environments)

OPTIONS: dict[str, Any] = {"flat": True, "observation": "features"}
SECONDS = 3.0


def main() -> None:
    torch.set_num_threads(1)
    many = gymnasium.make_vec("VideoClipSearch-v0", num_envs=1024, vectorization_mode="vector_entry_point", **OPTIONS)
    few = DummyVecEnv([lambda: gymnasium.make("VideoClipSearch-v0", **OPTIONS) for _ in range(64)])
    many.reset(seed=0)
    few.reset()
    actions = torch.randint(0, many.single_action_space.n, (1024,))  # type: ignore[attr-defined]
    for _ in range(3):
        batched = rate(lambda: many.step(actions), steps=1024)
        scalar = rate(lambda: few.step(actions[:64].numpy()), steps=64)
        print(f"batched {batched:.0f} steps/s, DummyVecEnv {scalar:.0f} steps/s: {batched / scalar:.0f} times")


def rate(step: Callable[[], Any], *, steps: int) -> float:
    """Steps a second of a call that takes so many."""
    started_s, taken = time.perf_counter(), 0
    while time.perf_counter() - started_s < SECONDS:
        step()
        taken += steps
    return taken / (time.perf_counter() - started_s)


if __name__ == "__main__":
    main()
