"""What the scalar and the batched environment share: a one-step problem, as tensor functions.

Shapes: B contexts, G independent decisions a context, K candidates a context, n of them, C classes, S samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property, partial

import gymnasium
import torch
from torch import Tensor

from vidselect_env.envs.choice import Choice
from vidselect_env.envs.contract import Answers, Looks, LookShapes, side_by_side
from vidselect_env.envs.sources.base import Source
from vidselect_env.video.clips import section_candidates


class SelectionProblem(ABC):
    """One-step problem: look at a context, choose among its candidates, get a reward.

    A context is numbered 0 to `num_contexts - 1`. All methods take contexts (B,) int64 on the source's
    device and answer there. Where candidates are drawn, each context has many more numbers, `num_contexts` apart, one
    for every draw; an environment takes any of the `num_drawable` numbers, an evaluation the first `num_contexts`.

    environment: id that it is registered under. description: in a few words, for reports.
    choice: what may be taken. observation: the fields that are shown, joined by `+`.
    """

    environment: str
    source: Source
    choice: Choice
    observation: str
    num_contexts: int
    num_candidates: int
    description: str

    @abstractmethod
    def videos(self, contexts: Tensor) -> Tensor:
        """The video of each context: (B,) int64."""

    @abstractmethod
    def candidates(self, contexts: Tensor) -> Tensor:
        """Grid positions of each context's candidates: (B, K) int64."""

    @abstractmethod
    def budgets(self) -> dict[int, SelectionProblem]:
        """The same problem where other numbers of clips a video are chosen, by that number."""

    @abstractmethod
    def decision_rewards(self, contexts: Tensor, actions: Tensor) -> Tensor:
        """Reward of each independent decision: actions (S, B, ...) -> (S, B, G); an episode's is their mean."""

    @abstractmethod
    def outcome(self, contexts: Tensor, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Rewards (B,) float32 and infos, each (B, ...), of actions (B, ...)."""

    def valid(self, contexts: Tensor) -> Tensor:
        """Which of the K candidates are a context's own, (B, K) bool, where contexts have different numbers."""
        return torch.ones(len(contexts), self.num_candidates, dtype=torch.bool, device=contexts.device)

    def action_masks(self, contexts: Tensor) -> Tensor:
        """Which arms are worth taking, (B, K) bool, where some are not."""
        raise NotImplementedError(f"{type(self).__name__} has no arm to mask")

    def fusion_weights(self, selection: Tensor) -> Tensor:
        """Weight of each candidate in the fused prediction, from a selection (B, K) bool: (B, K) float."""
        return selection.float()

    @property
    def num_drawable(self) -> int:
        """Numbers of contexts that an environment draws from."""
        return self.num_contexts

    @property
    def dropped_weight(self) -> float:
        """What a candidate counts in the fused prediction that is not chosen, beside 1 for a chosen one."""
        return 0.0

    def whole_videos(self) -> SelectionProblem:
        """The same problem where a context is a whole video."""
        return self

    def full_information(self, contexts: Tensor) -> Tensor:
        """Rewards of all arms, where a decision is among few."""
        raise NotImplementedError(f"{type(self).__name__} has too many actions to list their rewards")

    @property
    def shown(self) -> tuple[str, ...]:
        """The fields that are shown."""
        return tuple(self.observation.split("+"))

    @cached_property
    def shapes(self) -> LookShapes:
        """Of what may be seen of a context."""
        return LookShapes(
            fields=dict(self.source.shapes),
            num_candidates=self.num_candidates,
            num_classes=self.source.num_classes,
            choice=self.choice,
            shown=self.shown,
            is_ragged=self.is_ragged,
        )

    @property
    def is_ragged(self) -> bool:
        """Whether contexts have different numbers of candidates."""
        return False

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        return self.shapes.observation_space

    @property
    def action_space(self) -> gymnasium.Space:
        return self.choice.action_space(self.num_candidates)

    def places(self, contexts: Tensor) -> Tensor:
        """Where in its video each candidate lies, from 0 to 1: (B, K)."""
        counts = self.source.num_candidates.to(contexts.device)[self.videos(contexts)]
        return (self.candidates(contexts) + 0.5) / counts[:, None]

    def prefetch(self, contexts: Tensor) -> None:
        """These contexts will be observed next."""
        candidates = partial(self.candidates, contexts)
        self.source.prefetch(self.videos(contexts), fields=self.shown, candidates=candidates)

    def looks(self, contexts: Tensor, fields: tuple[str, ...] | None = None, *, among: Tensor | None = None) -> Looks:
        """What may be seen of contexts.

        Args:
            fields: that are looked at; None for those that are shown.
            among: (B, n) which of the K candidates; None for all.
        """
        candidates, valid, places = self.candidates(contexts), self.valid(contexts), self.places(contexts)
        if among is not None:
            candidates, valid, places = (each.gather(1, among) for each in (candidates, valid, places))
        videos = self.videos(contexts)
        names = self.shown if fields is None else fields
        return Looks(
            {name: self.source.observe(name, videos, candidates) for name in names}, valid, places, self.choice
        )

    def observe(self, contexts: Tensor) -> Tensor:
        """Observations of every candidate: (B, K, ...), the `observation_space` batched."""
        videos, candidates = self.videos(contexts), self.candidates(contexts)
        return side_by_side({name: self.source.observe(name, videos, candidates) for name in self.shown})

    def answers(self, contexts: Tensor, *, among: Tensor | None = None) -> Answers:
        """What a learner, or a reference that sees labels, is told of contexts; `among` as in `looks`."""
        candidates, videos = self.candidates(contexts), self.videos(contexts)
        if among is not None:
            candidates = candidates.gather(1, among)
        spans_s, action_spans_s = self.source.truth(videos, candidates) or (None, None)
        return Answers(
            self.targets(contexts),
            self.source.probabilities(videos, candidates),
            self.source.observe("logits", videos, candidates),
            spans_s,
            action_spans_s,
            self.dropped_weight,
        )

    def selection(self, contexts: Tensor, actions: Tensor) -> Tensor:
        """Which candidates actions (B, ...) choose: (B, K) bool."""
        return self.choice.selection(actions) & self.valid(contexts)

    def context_of_video(self, video: int) -> int:
        """The first context of a video.

        Raises:
            ValueError: no such video.
        """
        num_videos = len(self.source.video_paths)
        if not 0 <= video < num_videos:
            raise ValueError(f"video_index ({video}) must be 0 to {num_videos - 1}")
        return video * (self.num_contexts // num_videos)

    def probabilities(self, contexts: Tensor) -> Tensor:
        """The classifier's for every candidate: (B, K, C)."""
        return self.source.probabilities(self.videos(contexts), self.candidates(contexts))

    def targets(self, contexts: Tensor) -> Tensor:
        """Labels: (B, C) bool."""
        return self.source.targets[self.videos(contexts)]


def section_candidates_of_videos(num_candidates: Tensor, num_sections: int, num_clips: int) -> Tensor:
    """`section_candidates` of videos with (V,) candidates each: (V, M, N)."""
    table = torch.empty(len(num_candidates), num_sections, num_clips, dtype=torch.int64)
    for count in num_candidates.unique().tolist():
        table[num_candidates == count] = section_candidates(count, num_sections, num_clips)
    return table


def spread_candidates(num_candidates: Tensor, wanted: int | None) -> tuple[Tensor, Tensor]:
    """`wanted` evenly spaced candidates of videos with (V,) candidates each: (V, K), and which are a video's own.

    None for all candidates: short videos are then padded by repeating their last.

    Raises:
        ValueError: a video has fewer than `wanted` candidates.
    """
    fewest, most = int(num_candidates.min()), int(num_candidates.max())
    if wanted is None:
        places = torch.arange(most)
        return places.minimum(num_candidates[:, None] - 1), places < num_candidates[:, None]
    if fewest < wanted:
        raise ValueError(f"num_candidates ({wanted}) must be at most the fewest candidates of a video ({fewest})")
    table = section_candidates_of_videos(num_candidates, wanted, 1).squeeze(-1)
    return table, torch.ones_like(table, dtype=torch.bool)
