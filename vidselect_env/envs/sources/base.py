"""What a problem asks of its videos, whoever answers: a bank, the classifier itself, or one new file.

Shapes: B videos of a batch, K candidates of each, V videos in all, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from vidselect_env.bank import BankSpec


class Source(Protocol):
    """What a problem asks.

    shapes: of one candidate, of every field that can be looked at: those of a bank, and `predictions`.
    num_classes: C. num_candidates: (V,) int64. segments_s: V parts of files; empty where all are whole.
    knows_all: every candidate's probabilities are at hand, so rewards of all arms cost nothing.
    """

    spec: BankSpec
    shapes: Mapping[str, tuple[int, ...]]
    num_classes: int
    num_candidates: Tensor
    video_paths: tuple[str, ...]
    segments_s: tuple[tuple[float | None, float | None], ...]
    device: torch.device
    knows_all: bool

    @property
    def targets(self) -> Tensor:
        """(V, C) bool labels."""

    def observe(self, field: str, videos: Tensor, candidates: Tensor) -> Tensor:
        """A field of candidates (B, K) of videos (B,): (B, K, ...); `skim` uint8, `features`, `logits` float32."""

    def probabilities(self, videos: Tensor, candidates: Tensor) -> Tensor:
        """The classifier's probabilities for candidates (B, K) of videos (B,): (B, K, C) float32."""

    def clip_gmacs(self, videos: Tensor, candidates: Tensor) -> Tensor:
        """The classifier's own multiply-adds for candidates (B, K) of videos (B,), in units of 1e9: (B, K)."""

    def first_alike(self, videos: Tensor, candidates: Tensor) -> Tensor:
        """For candidates (B, K) of videos (B,), the first of each video that has the same frames: (B, K) int64."""

    def truth(self, videos: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor] | None:
        """Where candidates (B, K) lie and where the action is, in seconds: (B, K, 2) and (B, A, 2); None if unknown."""

    def prefetch(
        self, videos: Tensor, *, fields: Sequence[str] = (), candidates: Callable[[], Tensor] | None = None
    ) -> None:
        """These videos (B,) will be asked for next; `fields` will be looked at, of what `candidates` gives, (B, K)."""
