"""What the sections of videos offer: the middle clips of their parts, or others that are drawn.

Shapes: B contexts, V videos, G sections of a context, N clips a section.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vidselect_env.envs.problem import section_candidates_of_videos
from vidselect_env.video.clips import section_parts

NUM_DRAWS = 1 << 31  # of a context's clips, each with a number of its own


class Sections:
    """The candidates that contexts offer.

    Context number c is of `c % num_contexts`; the first `num_contexts` numbers offer the middle clips, every other a
    draw that follows from its number alone.

    Args:
        num_candidates: (V,) of the videos.
        num_sections: M of a video. num_clips: N.
        per_context: G, M or 1.
    """

    def __init__(
        self, num_candidates: Tensor, num_sections: int, num_clips: int, *, per_context: int, device: torch.device
    ) -> None:
        middles = section_candidates_of_videos(num_candidates, num_sections, num_clips)
        self.middles = middles.view(-1, per_context, num_clips).to(device)
        parts = torch.empty(*middles.shape, 2, dtype=torch.int64)
        for count in num_candidates.unique().tolist():
            parts[num_candidates == count] = section_parts(count, num_sections, num_clips)
        self._first, end = parts.view(-1, per_context, num_clips, 2).to(device).unbind(-1)
        self._size = end - self._first

    @property
    def num_contexts(self) -> int:
        return len(self.middles)

    def offered(self, contexts: Tensor) -> Tensor:
        """Candidates of each section, (B, G, N): the middles."""
        return self.middles.index_select(0, contexts)

    def drawn(self, contexts: Tensor) -> Tensor:
        """The same, of numbers up to `num_contexts * NUM_DRAWS`: drawn, each within its part."""
        numbers = contexts % self.num_contexts
        slots = torch.arange(self.middles[0].numel(), device=contexts.device).view(1, *self.middles.shape[1:])
        bits = mixed_bits(contexts.view(-1, 1, 1) * slots.numel() + slots)
        chosen = self._first.index_select(0, numbers) + bits % self._size.index_select(0, numbers)
        return torch.where((contexts < self.num_contexts).view(-1, 1, 1), self.offered(numbers), chosen)


def mixed_bits(numbers: Tensor) -> Tensor:
    """Numbers (...) int64 as if drawn at random, the same for the same ones: (...) int64, from 0 to 2**62 - 1.

    The finaliser of SplitMix64 (Steele, Lea and Flood, 2014), whose products wrap around.
    """
    bits = numbers * -7046029254386353131  # 0x9E3779B97F4A7C15
    bits = (bits ^ _shifted(bits, 30)) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    bits = (bits ^ _shifted(bits, 27)) * -7723592293110705685  # 0x94D049BB133111EB
    return _shifted(bits ^ _shifted(bits, 31), 2)


def _shifted(bits: Tensor, places: int) -> Tensor:
    """A logical shift to the right."""
    return (bits >> places) & ((1 << (64 - places)) - 1)
