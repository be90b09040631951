"""Stable-Baselines3's `VecEnv` over the batched environment.

Shapes: B sub-environments.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from vidselect_env.envs.wrappers import BatchedEnv


class BatchedVecEnv(VecEnv):
    """One `SelectVectorEnv` as a `VecEnv`: a step is one call, whatever the number of sub-environments.

    On a CPU observations are handed over without a copy (the environment makes fresh ones every step).
    `infos` hold only the statistics of episodes that have ended, in the form of SB3's `Monitor`. None is ever cut off,
    so nobody asks for its last observation.

    Args:
        env: the batched environment.
    """

    def __init__(self, env: BatchedEnv) -> None:
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._started_s = time.perf_counter()

    def reset(self) -> VecEnvObs:
        """Observations (B, ...); a seed given by `seed` is used once, its first for all sub-environments."""
        seed, videos = self._seeds[0], [options.get("video_index") for options in self._options]
        given = sum(video is not None for video in videos)
        if given not in (0, self.num_envs):
            raise ValueError(f"video_index must be given to all sub-environments or to none, not to {given}")
        options = {"video_index": videos} if given else None
        observations, infos = self.env.reset(seed=seed, options=options)
        self.reset_infos = [{"video_index": video} for video in infos["video_index"].tolist()]
        self._reset_seeds()
        self._reset_options()
        return _numpy(observations)

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = torch.from_numpy(np.asarray(actions))

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, ended, _, taken = self.env.step(self._actions)
        elapsed_s = round(time.perf_counter() - self._started_s, 6)
        final = taken["final_info"]
        returns, dones = final.get("return", rewards).tolist(), ended.cpu().numpy()
        lengths = final["length"].tolist() if "length" in final else [1] * self.num_envs
        infos: list[dict] = [
            {"episode": {"r": earned, "l": length, "t": elapsed_s}} if done else {}
            for earned, length, done in zip(returns, lengths, dones, strict=True)
        ]
        return _numpy(observations), rewards.cpu().numpy(), dones, infos

    def action_masks(self) -> np.ndarray:
        """Which arms may be taken, (B, K) bool: of a candidate that is offered twice in a section, one."""
        return self.env.action_masks().cpu().numpy()

    def close(self) -> None:
        """Nothing to close: the batched environment is the caller's."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        found = getattr(self, attr_name) if hasattr(type(self), attr_name) else getattr(self.env, attr_name)
        return [found] * len(self._numbers(indices))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        if len(self._numbers(indices)) != self.num_envs:
            raise ValueError(f"{attr_name!r} belongs to all sub-environments: it cannot be set for some of them")
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list:
        """`method_name` of the batched environment, its answer split over the sub-environments."""
        owner = self if hasattr(type(self), method_name) else self.env
        answer = getattr(owner, method_name)(*method_args, **method_kwargs)
        return [None if answer is None else answer[number] for number in self._numbers(indices)]

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """True for `Monitor`, whose statistics this environment gives itself."""
        return [issubclass(wrapper_class, Monitor)] * len(self._numbers(indices))

    def get_images(self) -> Sequence[np.ndarray | None]:
        return list(self.env.render() or [None] * self.num_envs)  # type: ignore[arg-type]

    def _numbers(self, indices: VecEnvIndices) -> list[int]:
        if indices is None:
            return list(range(self.num_envs))
        return [int(indices)] if isinstance(indices, int | np.integer) else list(indices)


def _numpy(observations: Any) -> VecEnvObs:
    """Tensors as arrays, of one observation or of a dictionary's parts."""
    if isinstance(observations, dict):
        return {name: part.cpu().numpy() for name, part in observations.items()}
    return observations.cpu().numpy()
