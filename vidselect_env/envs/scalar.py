"""The scalar environment: one context, NumPy at the door."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch

from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.render import contact_sheet


class SelectEnv(gymnasium.Env):
    """A `SelectionProblem` behind Gymnasium's API: one step an episode, which terminates it."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012 (Gymnasium's own form)

    def __init__(self, problem: SelectionProblem, *, render_mode: str | None = None) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode ({render_mode!r}) must be None or one of {self.metadata['render_modes']}")
        self.problem = problem
        self.render_mode = render_mode
        self.observation_space = problem.observation_space
        self.action_space = problem.action_space
        self._context: torch.Tensor | None = None
        self._action: torch.Tensor | None = None
        self._done = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Draw a context, or the first of video `options["video_index"]`."""
        super().reset(seed=seed)
        video = (options or {}).get("video_index")
        context = (
            int(self.np_random.integers(self.problem.num_drawable))
            if video is None
            else self.problem.context_of_video(int(video))
        )
        self._context = torch.tensor([context], device=self.problem.source.device)
        self._action, self._done = None, False
        observation = self.problem.observe(self._context)[0].cpu().numpy()
        return observation, {"video_index": int(self.problem.videos(self._context))}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Reward for `action`; the observation is the same context's."""
        context = self._require_context()
        if self._done:
            raise RuntimeError("the episode is over after its one step: call reset() first")
        if not self.action_space.contains(action):
            raise ValueError(f"action ({action!r}) is not in {self.action_space}")
        self._action = torch.as_tensor(np.asarray(action), device=context.device)[None]
        self._done = True
        reward, infos = self.problem.outcome(context, self._action)
        info = {name: value[0].cpu().numpy() if value.ndim > 1 else value[0].item() for name, value in infos.items()}
        observation = self.problem.observe(context)[0].cpu().numpy()
        return observation, reward[0].item(), True, False, info

    def full_information(self) -> np.ndarray:
        """Rewards of all arms in the present context, (M, N) float32."""
        return self.problem.full_information(self._require_context())[0].cpu().numpy()

    def render(self) -> np.ndarray | None:
        """The candidates of the present context, chosen ones framed: (H, W, 3) uint8."""
        if self.render_mode is None:
            return None
        context = self._require_context()
        selection = None if self._action is None else self.problem.selection(context, self._action)
        return contact_sheet(self.problem, context, selection)

    def _require_context(self) -> torch.Tensor:
        if self._context is None:
            raise RuntimeError("there is no episode yet: call reset() first")
        return self._context
