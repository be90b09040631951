"""`VideoClipSearch-v0`: one search, NumPy at the door."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import torch

from vidselect_env.bank import ClipBank
from vidselect_env.bank.cached import resolve_bank
from vidselect_env.envs.options import naming, showing
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.envs.search.render import search_sheet
from vidselect_env.envs.search.state import SearchState
from vidselect_env.envs.sources.bank import BankSource


def search_problem(
    bank: str | ClipBank | None = None,
    *,
    device: str = "cpu",
    frames: int | None = 18,
    observation: str = "skim",
    looks: str = "free",
    look_share: float = 0.02,
    price: float = 0.03,
    price_range: tuple[float, float] | None = None,
    max_clips: int | None = None,
    reward: str = "correct",
    start: str = "none",
    shaping: float = 0.0,
    discount: float = 1.0,
    flat: bool = False,
    **unknown: object,
) -> SearchProblem:
    """The problem on a bank, with the command line's names: an opened one, its folder, or None for a small one."""
    with naming(SearchProblem.environment, search_problem, unknown):
        return SearchProblem(
            BankSource(resolve_bank(bank), device=device),
            num_candidates=frames,
            observation=observation,
            looks=looks,
            look_share=look_share,
            price=price,
            price_range=price_range,
            max_clips=max_clips,
            reward=reward,
            start=start,
            shaping=shaping,
            discount=discount,
            flat=flat,
        )


class SearchEnv(gymnasium.Env):
    """A `SearchProblem` behind Gymnasium's API."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012 (Gymnasium's own form)

    def __init__(self, problem: SearchProblem, *, render_mode: str | None = None) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode ({render_mode!r}) must be None or one of {self.metadata['render_modes']}")
        self.problem, self.render_mode = problem, render_mode
        self.observation_space, self.action_space = problem.observation_space, problem.action_space
        self._state: SearchState | None = None
        self._ended = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Draw a video and, with `price_range`, a price; or take `options["video_index"]`, `options["price"]`."""
        super().reset(seed=seed)
        given = options or {}
        video, price = given.get("video_index"), given.get("price")
        if video is None:
            context = int(self.np_random.integers(self.problem.num_contexts))
        else:
            context = self.problem.context_of_video(int(video))
        if price is None and self.problem.price_range is not None:
            least, most = self.problem.price_range
            price = math.exp(self.np_random.uniform(math.log(least), math.log(most)))
        device = self.problem.source.device
        prices = None if price is None else torch.tensor([float(price)], device=device)
        self._state, self._ended = self.problem.begin(torch.tensor([context], device=device), prices), False
        return self._observation(), {"video_index": int(self.problem.videos(self._state.contexts))}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        state = self._require_state()
        if self._ended:
            raise RuntimeError("the episode is over: call reset() first")
        if not self.action_space.contains(action):
            raise ValueError(f"action ({action!r}) is not in {self.action_space}")
        self._state, rewards, ended = self.problem.step(state, torch.tensor([int(action)], device=state.price.device))
        self._ended = bool(ended)
        info = {name: value.item() for name, value in self.problem.infos(self._state).items()}
        return self._observation(), rewards.item(), self._ended, False, info

    def action_masks(self) -> np.ndarray:
        """Which actions do something, (K + 1,) bool: what sb3-contrib's MaskablePPO asks for."""
        return self.problem.masks(self._require_state())[0].cpu().numpy()

    def render(self) -> np.ndarray | None:
        """The candidates, those classified framed, and what was said one after another: (H, W, 3) uint8."""
        if self.render_mode is None:
            return None
        return search_sheet(self.problem, self._require_state(), 0)

    def _observation(self) -> Any:
        seen = self.problem.observe_search(self._require_state())
        if isinstance(seen, torch.Tensor):
            return seen[0].cpu().numpy()
        return {name: part[0].cpu().numpy() for name, part in seen.items()}

    def _require_state(self) -> SearchState:
        if self._state is None:
            raise RuntimeError("there is no episode yet: call reset() first")
        return self._state


class ClipSearchEnv(SearchEnv):
    """Classify clips of a video one after another, and stop when it is enough.

    ## Observation
    A dictionary: `looks` (K, T, 3, h, w) uint8 skims, or (K, D) float32 with `observation="features"`; `seen` and
    `classified` (K,) int8; `answers` (K, C) float32, the classifier's probabilities, 0 where it was not asked; `fused`
    (C,) their mean; `entropy`, of that in nats, `price` and `left`, the share of `max_clips` that is left, (1,) each;
    `mask` (K + 1,) int8, the actions that do something. With `flat=True` all of it as one vector, in this order.

    ## Action
    `Discrete(K + 1)`: classify candidate k; K stops. With `looks="paid"` a candidate is looked at when it is first
    asked for, and classified when it is asked for again.

    ## Reward
    `-price` for each classification, and at the end the worth of the fused prediction: 1 if it is correct, or its
    `log_prob` or `margin`.

    ## Episode
    One video. It terminates when the agent stops, after `max_clips` classifications, or when all is classified.
    `reset(options={"video_index": i, "price": p})` chooses both.

    ## Info
    `video_index`; after a step also `is_correct`, `num_clips`, `num_looks`, `price`, `return` and `length`.

    Args:
        bank: folder of a bank, or None for a small synthetic one, built on first use and cached.
        device: where classifier outputs are kept.
        frames: K, the candidates of a search; None for all of a video's.
        observation, looks, look_share, price, price_range, max_clips, reward, start, shaping, discount, flat: see
            `SearchProblem`.
        render_mode: `rgb_array`, a contact sheet with what was said, in order.
    """

    @showing(search_problem)
    def __init__(self, bank: str | ClipBank | None = None, *, render_mode: str | None = None, **options: Any) -> None:
        super().__init__(search_problem(bank, **options), render_mode=render_mode)
