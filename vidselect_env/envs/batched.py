"""The batched environment: many contexts, torch all through.

Shapes: B sub-environments, S samples, G decisions a context.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from vidselect_env.envs.contract import Answers, Looks, LookShapes
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.render import contact_sheet

OUTPUTS = ("torch", "numpy")


class SelectVectorEnv(VectorEnv):
    """`num_envs` sub-environments of one `SelectionProblem`, stepped by single tensor operations.

    Tensors come and go on the source's device. Every step ends every episode, and the step returns the
    next contexts' observations (`AutoresetMode.SAME_STEP`: with NEXT_STEP every other step would be lost on
    resetting): what belongs to the finished episode is in `infos["final_obs"]` and `infos["final_info"]`, a
    dictionary of tensors, each (B, ...).

    Args:
        problem: what to solve.
        num_envs: B.
        repeat_context: so many neighbouring sub-environments share a context, drawn together (AS,
            Algorithm 1); it divides `num_envs`.
        share: (r, W): W such environments, in as many processes, draw together what one with W * `num_envs`
            sub-environments would, and this one takes part r of it, 0 to W - 1.
        render_mode: `rgb_array`: `render()` gives each sub-environment's contact sheet.
        output: `torch`, or `numpy`: `reset` and `step` give arrays, as Gymnasium's vector wrappers need them.

    Raises:
        ValueError: `repeat_context` does not divide `num_envs`, or there is no such `render_mode` or `output`.
    """

    metadata = {"render_modes": ["rgb_array"], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(
        self,
        problem: SelectionProblem,
        *,
        num_envs: int,
        repeat_context: int = 1,
        share: tuple[int, int] = (0, 1),
        render_mode: str | None = None,
        output: str = "torch",
    ) -> None:
        if output not in OUTPUTS:
            raise ValueError(f"output ({output!r}) must be one of {', '.join(OUTPUTS)}")
        if num_envs < 1 or repeat_context < 1 or num_envs % repeat_context:
            raise ValueError(f"repeat_context ({repeat_context}) must divide num_envs ({num_envs})")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode ({render_mode!r}) must be None or one of {self.metadata['render_modes']}")
        self.problem = problem
        self.num_envs = num_envs
        self.repeat_context = repeat_context
        number, self.num_shares = share
        self._own = slice(number * num_envs, (number + 1) * num_envs)  # of all that are drawn together
        self.render_mode = render_mode
        self.output = output
        self.autoreset_mode = AutoresetMode.SAME_STEP
        self.single_observation_space = problem.observation_space
        self.single_action_space = problem.action_space
        self.observation_space = batch_space(problem.observation_space, num_envs)
        self.action_space = batch_space(problem.action_space, num_envs)
        self._generator = torch.Generator(problem.source.device)
        self._generator.seed()
        self._never = torch.zeros(num_envs, dtype=torch.bool, device=problem.source.device)
        self._ends = ~self._never
        self._contexts: Tensor | None = None
        self._highest = _highest(problem.action_space)

    @property
    def device(self) -> torch.device:
        return self.problem.source.device

    @property
    def shapes(self) -> LookShapes:
        """Of what may be seen of a context: what an agent is made for."""
        return self.problem.shapes

    @property
    def contexts(self) -> Tensor:
        """The present contexts' numbers, (B,) int64."""
        if self._contexts is None:
            raise RuntimeError("there is no episode yet: call reset() first")
        return self._contexts[self._own]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Draw every context, or take the videos of `options["video_index"]` (an int or (B,) ints)."""
        if seed is not None:
            self._generator.manual_seed(seed)
        videos = (options or {}).get("video_index")
        self._upcoming = self._draw()
        if videos is None:
            self._contexts = self._draw()
        else:
            wanted = np.broadcast_to(np.asarray(videos), (self.num_envs,)).tolist()
            contexts = [self.problem.context_of_video(int(video)) for video in wanted]
            self._contexts = torch.tensor(contexts * self.num_shares, device=self.device)
        return self._given(self._enter())

    def step(
        self, actions: Tensor | np.ndarray, *, propensities: Tensor | None = None
    ) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Rewards (B,) float32 of actions (B, ...), and the next contexts' observations.

        Args:
            propensities: (B, G) the probability that each decision was taken with, for a wrapper that logs it.

        Raises:
            ValueError: actions of another shape, or out of range (off the CPU, where looking would wait for the
                device, it is torch's RuntimeError, and comes later).
        """
        contexts = self.contexts
        actions = torch.as_tensor(actions, device=self.device)
        wanted = (self.num_envs, *(self.single_action_space.shape or ()))
        if actions.shape != wanted:
            raise ValueError(f"actions (of shape {tuple(actions.shape)}) must be of shape {wanted}")
        self._check_range(actions)
        rewards, final_info = self.problem.outcome(contexts, actions)
        final_obs = self._observation
        self._contexts, self._upcoming = self._upcoming, self._draw()
        observations, infos = self._enter()
        infos |= {"final_obs": final_obs, "final_info": final_info, "_final_obs": self._ends.clone()}
        if self.output == "numpy":
            infos["final_obs"] = each_of(final_obs)
        return self._given((observations, rewards, self._ends.clone(), self._never.clone(), infos))

    def decision_rewards(self, actions: Tensor) -> Tensor:
        """What actions (S, B, ...) would earn in the present contexts: (S, B, G); nothing is stepped."""
        return self.problem.decision_rewards(self.contexts, actions)

    def full_information(self) -> Tensor:
        """Rewards of all arms in the present contexts, (B, M, N)."""
        return self.problem.full_information(self.contexts)

    def looks(self, fields: tuple[str, ...] | None = None, *, among: Tensor | None = None) -> Looks:
        """What may be seen of the present contexts.

        Args:
            fields: that are looked at; None for those of the observation, which is not read again.
            among: (B, n) which of the K candidates; None for all.
        """
        if fields == self.problem.shown:
            fields = None
        if fields is not None or among is not None or len(self.problem.shown) > 1:
            return self.problem.looks(self.contexts, fields, among=among)
        return replace(self.problem.looks(self.contexts, ()), fields={self.problem.shown[0]: self._observation})

    def action_masks(self) -> Tensor:
        """Which arms are worth taking in the present contexts, (B, K) bool, where some are not."""
        return self.problem.action_masks(self.contexts)

    def answers(self, *, among: Tensor | None = None) -> Answers:
        """Labels, and what the classifier said, in the present contexts, for who learns from these."""
        return self.problem.answers(self.contexts, among=among)

    def every_context(self, fields: tuple[str, ...] = (), *, batch_size: int = 1024) -> Iterator[tuple[Looks, Answers]]:
        """Looks and answers of all contexts, in order; nothing is stepped."""
        for contexts in torch.arange(self.problem.num_contexts, device=self.device).split(batch_size):
            yield self.problem.looks(contexts, fields), self.problem.answers(contexts)

    def state_dict(self) -> dict[str, Tensor]:
        """What decides the contexts that follow: the generator's state, the present contexts and the next, of all."""
        assert self._contexts is not None
        return {"generator": self._generator.get_state(), "contexts": self._contexts, "upcoming": self._upcoming}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on where `state_dict` was asked for."""
        self._generator.set_state(state["generator"].cpu())
        self._contexts, self._upcoming = (state[name].to(self.device) for name in ("contexts", "upcoming"))
        self._enter()

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Contact sheets of the present contexts."""
        if self.render_mode is None:
            return None
        return tuple(contact_sheet(self.problem, context[None], None) for context in self.contexts)

    def _check_range(self, actions: Tensor) -> None:
        if self._highest is None:
            return
        allowed = (actions >= 0) & (actions <= self._highest)
        if actions.device.type != "cpu":
            torch._assert_async(allowed.all(), f"an action is not in {self.single_action_space}")
        elif not allowed.all():
            wrong = actions[~allowed][0].item()
            raise ValueError(
                f"action ({wrong}) of {self.problem.environment} must be 0 to {self._highest}, as of "
                f"{self.single_action_space}"
            )

    def _given(self, values: Any) -> Any:
        """Tensors as the environment gives them, also those in tuples and dictionaries."""
        if self.output == "torch":
            return values
        if isinstance(values, Tensor):
            return values.cpu().numpy()
        if isinstance(values, dict):
            return {name: self._given(value) for name, value in values.items()}
        return tuple(self._given(value) for value in values) if isinstance(values, tuple) else values

    def _draw(self) -> Tensor:
        drawn = torch.randint(
            self.problem.num_drawable,
            (self.num_shares * self.num_envs // self.repeat_context,),
            generator=self._generator,
            device=self.device,
        )
        return drawn.repeat_interleave(self.repeat_context) if self.repeat_context > 1 else drawn

    def _enter(self) -> tuple[Tensor, dict[str, Any]]:
        self.problem.prefetch(self._upcoming[self._own])
        self._observation = self.problem.observe(self.contexts)
        return self._observation, {"video_index": self.problem.videos(self.contexts)}


def _highest(space: gymnasium.Space) -> int | None:
    """The largest value that a part of an action may have, the smallest being 0; None where parts differ."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(space.n) - 1
    if isinstance(space, gymnasium.spaces.MultiDiscrete) and len(set(space.nvec.flat)) == 1:
        return int(space.nvec.flat[0]) - 1
    return 1 if isinstance(space, gymnasium.spaces.MultiBinary) else None


def each_of(observations: Tensor | dict[str, Tensor]) -> np.ndarray:
    """An observation a sub-environment, in an array of objects, which Gymnasium's wrappers may replace."""
    if isinstance(observations, dict):
        parts = {name: part.cpu().numpy() for name, part in observations.items()}
        rows: list[Any] = [dict(zip(parts, row, strict=True)) for row in zip(*parts.values(), strict=True)]
    else:
        rows = list(observations.cpu().numpy())
    each = np.empty(len(rows), dtype=object)
    each[:] = rows
    return each
