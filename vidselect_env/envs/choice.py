"""What may be taken of a context's candidates: one in each section, or the best few of all.

Shapes: B contexts, K candidates a context, M sections of N clips each, S samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import gymnasium
import torch
from torch import Tensor

from vidselect_env.video.clips import even_frames


class Choice(ABC):
    """A rule of what may be taken, and the action that takes it."""

    @abstractmethod
    def action(self, scores: Tensor) -> Tensor:
        """The actions (B, ...) that take the candidates of largest score, from scores (B, K)."""

    @abstractmethod
    def selection(self, actions: Tensor) -> Tensor:
        """Which candidates actions (B, ...) take: (B, K) bool."""

    @abstractmethod
    def uniform(self, valid: Tensor) -> Tensor:
        """The evenly spaced selection among valid candidates (B, K) bool: (B, K) bool."""

    @abstractmethod
    def action_space(self, num_candidates: int) -> gymnasium.Space:
        """Of the environment with K candidates."""

    @abstractmethod
    def limits(self, num_candidates: int) -> tuple[Tensor, int, int]:
        """Parts (G, K) bool of the candidates, and the fewest and the most that may be taken of each part."""

    def best(self, scores: Tensor) -> Tensor:
        """The selection (B, K) bool of the candidates of largest score (B, K)."""
        return self.selection(self.action(scores))

    def to_json(self) -> dict[str, Any]:
        return {"kind": type(self).__name__, **vars(self)}


@dataclass(frozen=True)
class OneInEach(Choice):
    """One of N neighbouring candidates in each section (DSN): those of section m are m * N to m * N + N - 1."""

    num_clips: int

    def action(self, scores: Tensor) -> Tensor:
        """The clip in each section, (B, M) int64; (B,) where there is one section."""
        best = scores.view(len(scores), -1, self.num_clips).argmax(-1)
        return best.squeeze(1) if best.shape[1] == 1 else best

    def selection(self, actions: Tensor) -> Tensor:
        chosen = torch.nn.functional.one_hot(actions.view(len(actions), -1).long(), self.num_clips)
        return chosen.bool().flatten(1)

    def uniform(self, valid: Tensor) -> Tensor:
        """The middle candidate of each section."""
        is_middle = torch.arange(self.num_clips, device=valid.device) == self.num_clips // 2
        return is_middle.repeat(len(valid), valid.shape[1] // self.num_clips)

    def action_space(self, num_candidates: int) -> gymnasium.Space:
        num_sections = num_candidates // self.num_clips
        if num_sections == 1:
            return gymnasium.spaces.Discrete(self.num_clips)
        return gymnasium.spaces.MultiDiscrete([self.num_clips] * num_sections)

    def limits(self, num_candidates: int) -> tuple[Tensor, int, int]:
        sections = torch.eye(num_candidates // self.num_clips, dtype=torch.bool)
        return sections.repeat_interleave(self.num_clips, dim=1), 1, 1


@dataclass(frozen=True)
class BestOf(Choice):
    """The m best of all candidates, or all where there are fewer (AS, Algorithm 2; SCSampler's K of L)."""

    num_kept: int

    def action(self, scores: Tensor) -> Tensor:
        """1 for a candidate that is kept, (B, K) int8."""
        return largest(scores, self.num_kept).to(torch.int8)

    def selection(self, actions: Tensor) -> Tensor:
        return actions.view(len(actions), -1).bool()

    def uniform(self, valid: Tensor) -> Tensor:
        kept = torch.zeros_like(valid)
        for count in valid.sum(-1).unique().tolist():
            spread = torch.zeros(valid.shape[1], dtype=torch.bool)
            spread[even_frames(count, self.num_kept)] = True
            kept[valid.sum(-1) == count] = spread.to(valid.device)
        return kept

    def action_space(self, num_candidates: int) -> gymnasium.Space:
        return gymnasium.spaces.MultiBinary(num_candidates)

    def limits(self, num_candidates: int) -> tuple[Tensor, int, int]:
        return torch.ones(1, num_candidates, dtype=torch.bool), 1, self.num_kept


def largest(scores: Tensor, count: int) -> Tensor:
    """The `count` candidates of largest score, or all where there are fewer: (..., K) -> (..., K) bool."""
    best = scores.topk(min(count, scores.shape[-1]), dim=-1).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, best, True)


def choice_from_json(data: dict[str, Any]) -> Choice:
    """What `to_json` gave.

    Raises:
        ValueError: there is no such choice.
    """
    kinds: dict[str, type[Choice]] = {"OneInEach": OneInEach, "BestOf": BestOf}
    options = {name: value for name, value in data.items() if name != "kind"}
    if data.get("kind") not in kinds:
        raise ValueError(f"unknown choice {data.get('kind')!r}: it is one of {', '.join(kinds)}")
    if not all(type(count) is int and count > 0 for count in options.values()):
        raise ValueError(f"the counts of a choice ({options}) must be integers of at least 1")
    return kinds[data["kind"]](**options)
