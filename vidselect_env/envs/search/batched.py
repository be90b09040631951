"""The batched search: many episodes of different lengths, torch all through.

Shapes: B sub-environments, K candidates each.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidselect_env.bank import ClipBank
from vidselect_env.envs.batched import SelectVectorEnv, each_of
from vidselect_env.envs.contract import Looks
from vidselect_env.envs.options import showing
from vidselect_env.envs.search.problem import Observation, SearchProblem
from vidselect_env.envs.search.render import search_sheet
from vidselect_env.envs.search.scalar import search_problem
from vidselect_env.envs.search.state import SearchState, SearchView, where


class SearchVectorEnv(SelectVectorEnv):
    """`num_envs` searches of one `SearchProblem`, stepped by single tensor operations.

    A search that ends is followed by the next within the same step (`AutoresetMode.SAME_STEP`), each sub-environment
    by itself. `infos["final_info"]` and `infos["final_obs"]` then hold tensors of all B sub-environments, of which
    those with `infos["_final_info"]` have ended.

    Args:
        problem: what to solve.
        num_envs: B.
        render_mode: `rgb_array`: `render()` gives each sub-environment's sheet.
        output: `torch`, or `numpy`, as in `SelectVectorEnv`.
    """

    problem: SearchProblem

    def __init__(
        self, problem: SearchProblem, *, num_envs: int, render_mode: str | None = None, output: str = "torch"
    ) -> None:
        super().__init__(problem, num_envs=num_envs, render_mode=render_mode, output=output)
        self._state: SearchState | None = None

    @property
    def state(self) -> SearchState:
        """How far the searches have come."""
        if self._state is None:
            raise RuntimeError("there is no episode yet: call reset() first")
        return self._state

    @property
    def contexts(self) -> Tensor:
        return self.state.contexts

    def view(self, fields: tuple[str, ...] | None = None) -> SearchView:
        """What a searcher may see now; `fields` None for those of the observation."""
        return self.problem.view(self.state, fields)

    def looks(self, fields: tuple[str, ...] | None = None, *, among: Tensor | None = None) -> Looks:
        """All looks of the present contexts, paid for or not, for who learns from them; see `view`."""
        return self.problem.looks(self.contexts, fields, among=among)

    def action_masks(self) -> Tensor:
        return self.problem.masks(self.state)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin all searches: of drawn videos and prices, or of `options["video_index"]`, `options["price"]`."""
        if seed is not None:
            self._generator.manual_seed(seed)
        fresh = self._fresh()
        given = {name: value for name, value in (options or {}).items() if value is not None}
        contexts, price = fresh.contexts, fresh.price
        if "video_index" in given:
            wanted = np.broadcast_to(np.asarray(given["video_index"]), (self.num_envs,)).tolist()
            contexts = torch.tensor([self.problem.context_of_video(int(video)) for video in wanted], device=self.device)
        if "price" in given:
            price = torch.as_tensor(given["price"], dtype=torch.float32, device=self.device).expand(self.num_envs)
        self._state = self.problem.begin(contexts, price) if given else fresh
        return self._given((self._observe(), {"video_index": self.problem.videos(self.state.contexts)}))

    def step(
        self, actions: Tensor | np.ndarray, *, propensities: Tensor | None = None
    ) -> tuple[Observation, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Rewards (B,) float32 of actions (B,), which searches ended, and what is seen next."""
        actions = torch.as_tensor(actions, device=self.device)
        if actions.shape != (self.num_envs,):
            raise ValueError(f"actions (of shape {tuple(actions.shape)}) must be of shape {(self.num_envs,)}")
        after, rewards, ended = self.problem.step(self.state, actions)
        final_obs = self.problem.observe_search(after)
        self._state = where(ended, self._fresh(), after)
        infos = {
            "video_index": self.problem.videos(self.state.contexts),
            "final_info": self.problem.infos(after),
            "final_obs": final_obs if self.output == "torch" else each_of(final_obs),
            "_final_info": ended,
            "_final_obs": ended,
        }
        return self._given((self._observe(), rewards, ended, self._never.clone(), infos))

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The sheets of the present searches."""
        if self.render_mode is None:
            return None
        return tuple(search_sheet(self.problem, self.state, row) for row in range(self.num_envs))

    def _fresh(self) -> SearchState:
        """A search about to begin in each sub-environment."""
        price, between = None, self.problem.price_range
        if between is not None:
            share = torch.rand(self.num_envs, generator=self._generator, device=self.device)
            least, most = (math.log(each) for each in between)
            price = torch.exp(least + share * (most - least))
        return self.problem.begin(self._draw(), price)

    def _observe(self) -> Any:
        return self.problem.observe_search(self.state)


class ClipSearchVectorEnv(SearchVectorEnv):
    """`ClipSearchEnv` for many videos at once, in torch; see there and `SearchVectorEnv`."""

    @showing(search_problem)
    def __init__(
        self,
        num_envs: int = 1,
        bank: str | ClipBank | None = None,
        *,
        render_mode: str | None = None,
        output: str = "torch",
        **options: Any,
    ) -> None:
        problem = search_problem(bank, **options)
        super().__init__(problem, num_envs=num_envs, render_mode=render_mode, output=output)
