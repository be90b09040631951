"""What the scalar and the batched search share: how it begins, goes on and ends, as tensor functions.

Shapes: B searches, K candidates each, C classes, S samples.
"""

from __future__ import annotations

import dataclasses

import gymnasium
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from vidselect_env.envs.choice import BestOf
from vidselect_env.envs.clip_select import OBSERVATIONS
from vidselect_env.envs.problem import SelectionProblem, spread_candidates
from vidselect_env.envs.rewards import WORTHS, is_correct, prediction_worth
from vidselect_env.envs.search.observation import flat_space, flattened, observation_of, observation_space
from vidselect_env.envs.search.state import SearchState, SearchView
from vidselect_env.envs.sources.base import Source

Observation = Tensor | dict[str, Tensor]


class SearchProblem(SelectionProblem):
    """Classify one clip after another, until it is enough.

    Action k asks for candidate k. With free looks it is classified; with paid ones it is looked at first, and
    classified if asked for once more. Action K stops. What changes nothing (a candidate that was classified, or
    padding) is paid for like a classification.

    The sum of an episode's rewards is `prediction_worth` of the fused prediction, less `price` times what was spent:
    1 for each classification and `look_share` for each paid look. What is spent is charged when it is; what
    was given at the start, with the first step.

    A selector of one step may choose here too: up to `max_clips` at once, without seeing an answer.

    Args:
        source: where looks and answers come from; it knows all answers.
        num_candidates: K, evenly spread over the video; None for all of each.
        observation: `skim`, `mel` (the sound) or `features`.
        looks: `free`, or `paid`: seen once asked for. look_share: what a paid look costs, in classifications.
        price: of one classification, in units of reward; where `price_range` is given, that of evaluations.
        price_range: least and largest price, of which each episode draws one, its logarithm uniformly.
        max_clips: classifications after which an episode ends; None for K.
        reward: `correct`, `log_prob` or `margin`, see `prediction_worth`. An empty prediction is never correct.
        start: `none`, or `first`: the middle clip is classified from the start, as FrameExit's order begins.
        shaping: weight of the potential, the logarithm of the labels' fused probability over an even one, whose
            change is added to each step's reward (Ng, Harada and Russell, 1999). It is 0 at the end, so that no
            policy gains by it.
        discount: of the learner, for shaping.
        flat: observations are one vector.

    Raises:
        ValueError: a setting out of range.
    """

    environment = "VideoClipSearch-v0"

    def __init__(
        self,
        source: Source,
        *,
        num_candidates: int | None = 18,
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
    ) -> None:
        if not source.knows_all:
            raise ValueError("a search asks again and again for what the classifier said: give it a bank")
        table, valid = spread_candidates(source.num_candidates, num_candidates)
        self.source, self._asked = source, num_candidates
        self._table, self._valid = table.to(source.device), valid.to(source.device)
        self.num_contexts, self.num_candidates = table.shape
        self.max_clips = self.num_candidates if max_clips is None else max_clips
        self.observation, self.looks_are, self.look_share = observation, looks, look_share
        self.price, self.price_range = price, price_range
        self.reward, self.start, self.shaping, self.discount, self.flat = reward, start, shaping, discount, flat
        self._check()
        self.choice = BestOf(self.max_clips)
        self.description = (
            f"at most {self.max_clips} of {self.num_candidates} candidates, one after another, seen by {observation}, "
            f"at a price of {price:g} each"
        )

    def _check(self) -> None:
        for name, value, known in (
            ("observation", self.observation, OBSERVATIONS),
            ("looks", self.looks_are, ("free", "paid")),
            ("reward", self.reward, WORTHS),
            ("start", self.start, ("none", "first")),
        ):
            if value not in known:
                raise ValueError(f"{name} ({value!r}) must be one of {', '.join(known)}")
        fewest = 2 if self.start == "first" else 1
        if not fewest <= self.max_clips <= self.num_candidates:
            raise ValueError(f"max_clips ({self.max_clips}) must be {fewest} to num_candidates ({self.num_candidates})")
        for name in ("price", "look_share", "shaping"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 0")
        if self.price_range is not None and not 0 < self.price_range[0] <= self.price_range[1]:
            raise ValueError(f"price_range {self.price_range} must be two prices above 0, the least first")

    @property
    def is_paid(self) -> bool:
        return self.looks_are == "paid"

    @property
    def is_ragged(self) -> bool:
        return not bool(self._valid.all())

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        return gymnasium.spaces.Discrete(self.num_candidates + 1)

    @property
    def observation_space(self) -> gymnasium.Space:  # type: ignore[override]
        space = observation_space(self.shapes)
        return flat_space(space) if self.flat else space

    def changed(self, **options: object) -> SearchProblem:
        """The same problem with other options."""
        names = ("observation", "look_share", "price", "price_range", "max_clips", "reward", "start")
        mine = {name: getattr(self, name) for name in (*names, "shaping", "discount", "flat")}
        mine |= {"source": self.source, "num_candidates": self._asked, "looks": self.looks_are}
        return SearchProblem(**(mine | options))

    def budgets(self) -> dict[int, SelectionProblem]:
        """About eight largest numbers of clips, from 1 (2 where one is given) to K."""
        step = max(self.num_candidates // 8, 1)
        numbers = sorted({1, *range(step, self.num_candidates, step), self.max_clips, self.num_candidates})
        return {number: self.changed(max_clips=number) for number in numbers if number > (self.start == "first")}

    def videos(self, contexts: Tensor) -> Tensor:
        return contexts

    def candidates(self, contexts: Tensor) -> Tensor:
        return self._table.index_select(0, contexts)

    def valid(self, contexts: Tensor) -> Tensor:
        return self._valid.index_select(0, contexts)

    def begin(self, contexts: Tensor, price: Tensor | None = None) -> SearchState:
        """Searches in contexts (B,), at prices (B,) or the problem's own."""
        rows, device = len(contexts), contexts.device
        zeros = torch.zeros(rows, dtype=torch.int64, device=device)
        order = torch.zeros(rows, self.num_candidates, dtype=torch.int64, device=device)
        valid = self.valid(contexts)
        total = torch.zeros(rows, self.source.num_classes, device=device)
        if self.start == "first":
            middle = valid.sum(-1, keepdim=True) // 2
            order = order.scatter(1, middle, 1)
            total = self.source.probabilities(contexts, self.candidates(contexts).gather(1, middle))[:, 0]
        return SearchState(
            contexts=contexts,
            price=torch.full((rows,), self.price, device=device) if price is None else price.float(),
            order=order,
            looked=order > 0 if self.is_paid else valid,
            total=total,
            num_clips=order.sum(-1),
            num_steps=zeros,
            earned=torch.zeros(rows, device=device),
        )

    def step(self, state: SearchState, actions: Tensor) -> tuple[SearchState, Tensor, Tensor]:
        """What actions (B,) int64 lead to: the states, rewards (B,) float32, and which searches have ended (B,)."""
        asked = one_hot(actions.long(), self.num_candidates + 1)[:, :-1].bool()
        valid = self.valid(state.contexts)
        looks = asked & valid & ~state.looked
        pays = (asked & ~looks).any(-1)
        new = asked & ~looks & valid & ~state.classified
        place = actions.long().clamp(max=self.num_candidates - 1)[:, None]
        said = self.source.probabilities(state.contexts, self.candidates(state.contexts).gather(1, place))[:, 0]
        after = dataclasses.replace(
            state,
            order=state.order + new * (state.order.amax(-1, keepdim=True) + 1),
            looked=state.looked | looks,
            total=state.total + said * new.any(-1, keepdim=True),
            num_clips=state.num_clips + pays,
            num_steps=state.num_steps + 1,
        )
        is_exhausted = ~(valid & ~after.classified).any(-1)
        ended = (actions == self.num_candidates) | (after.num_clips >= self.max_clips) | is_exhausted
        spent = pays + self.look_share * looks.any(-1) + (state.num_steps == 0) * self._given_cost
        rewards = torch.where(ended, self.worth(after), 0.0) - state.price * spent
        if self.shaping:
            rewards = rewards + self.discount * torch.where(ended, 0.0, self.potential(after)) - self.potential(state)
        return dataclasses.replace(after, earned=state.earned + rewards), rewards, ended

    @property
    def clip_cost(self) -> float:
        """Of classifying one more candidate, in classifications: with paid looks it must have been looked at."""
        return 1 + self.look_share * self.is_paid

    @property
    def _given_cost(self) -> float:
        return self.clip_cost * (self.start == "first")

    def worth(self, state: SearchState) -> Tensor:
        """What the fused predictions are worth, (B,); of nothing at all it is never correct."""
        worth = prediction_worth(self.reward, state.fused, self.targets(state.contexts))
        return worth * state.classified.any(-1) if self.reward == "correct" else worth

    def potential(self, state: SearchState) -> Tensor:
        """Of shaping, (B,): 0 where nothing was classified."""
        targets = self.targets(state.contexts)
        even = torch.full_like(state.fused, 1 / state.fused.shape[-1])
        gain = prediction_worth("log_prob", state.fused, targets) - prediction_worth("log_prob", even, targets)
        return self.shaping * gain

    def masks(self, state: SearchState) -> Tensor:
        """Which actions do something, (B, K + 1) bool; stopping always does."""
        open_ = self.valid(state.contexts) & ~state.classified
        return torch.cat([open_, torch.ones_like(open_[:, :1])], 1)

    def view(self, state: SearchState, fields: tuple[str, ...] | None = None) -> SearchView:
        """What a searcher may see; `fields` None for those that are shown."""
        looks = self.looks(state.contexts, fields)
        if self.is_paid:
            hidden = {name: _shown(value, state.looked) for name, value in looks.fields.items()}
            looks = dataclasses.replace(looks, fields=hidden)
        return SearchView(
            looks=looks,
            seen=state.looked,
            classified=state.classified,
            answers=_shown(self.probabilities(state.contexts), state.classified),
            fused=state.fused,
            price=state.price,
            left=(1 - state.num_clips / self.max_clips).clamp(min=0),
            mask=self.masks(state),
            is_paid=self.is_paid,
        )

    def observe_search(self, state: SearchState) -> Observation:
        """The `observation_space` batched."""
        parts = observation_of(self.view(state), self.shown)
        return flattened(parts) if self.flat else parts

    def infos(self, state: SearchState) -> dict[str, Tensor]:
        """Of searches that may have ended, each (B,)."""
        right = is_correct(state.fused, self.targets(state.contexts)) & state.classified.any(-1)
        return {
            "video_index": self.videos(state.contexts),
            "is_correct": right,
            "num_clips": state.num_clips,
            "num_looks": state.looked.sum(-1),
            "price": state.price,
            "return": state.earned,
            "length": state.num_steps,
        }

    def decision_rewards(self, contexts: Tensor, actions: Tensor) -> Tensor:
        return torch.stack([self.outcome(contexts, each)[0] for each in actions])[..., None]

    def outcome(self, contexts: Tensor, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Of a set that is taken at once, (B, K): the return of an episode that classifies it, in any order."""
        chosen = self.selection(contexts, actions)
        begun = self.begin(contexts)
        order = chosen.cumsum(-1) * chosen
        total = (self.probabilities(contexts) * chosen[..., None]).sum(1)
        state = dataclasses.replace(begun, order=order, looked=chosen, total=total, num_clips=chosen.sum(-1))
        rewards = self.worth(state) - state.price * self.clip_cost * state.num_clips
        return rewards, {**self.infos(state), "num_kept": state.num_clips}


def _shown(values: Tensor, seen: Tensor) -> Tensor:
    """Values (B, K, ...) with 0 for candidates not in seen (B, K) bool."""
    return values.masked_fill(~seen.view(*seen.shape, *[1] * (values.ndim - 2)), 0)
