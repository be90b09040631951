"""The rows of a bank's field, in as many tensors as it has shards.

Shapes: R candidates of all videos together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Rows:
    """The rows of one field, from one memory-mapped tensor a shard: like one (R, ...) tensor, unjoined."""

    def __init__(self, parts: Sequence[Tensor]) -> None:
        self._parts = list(parts)
        self._ends = torch.tensor([len(part) for part in parts]).cumsum(0)
        self.shape = (int(self._ends[-1]), *parts[0].shape[1:])
        self.dtype = parts[0].dtype

    @property
    def device(self) -> torch.device:
        return self._parts[0].device

    @property
    def num_bytes(self) -> int:
        """Of all rows, in memory or on disk."""
        return sum(part.numel() * part.element_size() for part in self._parts)

    def part(self, number: int) -> Tensor:
        """The tensor of a shard."""
        return self._parts[number]

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, rows: Tensor) -> Tensor:
        """The rows at `rows` (K,) int64, in that order: (K, ...)."""
        if len(self._parts) == 1:
            return self.part(0).index_select(0, rows)
        part_of_row = torch.bucketize(rows, self._ends, right=True)
        taken = torch.empty(len(rows), *self.shape[1:], dtype=self.dtype, device=self.part(0).device)
        for part in part_of_row.unique().tolist():
            here = (part_of_row == part).nonzero().squeeze(1)
            start = int(self._ends[part]) - len(self._parts[part])
            taken[here] = self.part(part).index_select(0, rows[here] - start)
        return taken

    def joined(self) -> Tensor:
        """All rows in one tensor, (R, ...); with several shards a copy in memory."""
        return self.part(0) if len(self._parts) == 1 else torch.cat([self.part(n) for n in range(len(self._parts))])

    def to(self, device: torch.device) -> Rows:
        """The rows in the memory of `device`, joined."""
        return Rows([self.joined().to(device)])
