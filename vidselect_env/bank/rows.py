"""The rows of a bank's field, in as many tensors as it has shards.

Shapes: R candidates of all videos together.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

# Of a field that is larger, rows are read from the files: mapped pages that were once read count as this process's
# memory, in the end those of the whole field.
MOST_MAPPED_BYTES = 2 << 30


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


class ReadRows(Rows):
    """The rows of a field that is too large to be mapped: they are read when they are asked for, and not kept.

    Args:
        parts: memory-mapped; what asks for all rows of a shard takes them.
        files: the shards that they are in.
        name: of the field.
    """

    def __init__(self, parts: Sequence[Tensor], *, files: Sequence[Path], name: str) -> None:
        super().__init__(parts)
        self._files, self._name = list(files), name

    def take(self, rows: Tensor) -> Tensor:
        taken = torch.empty(len(rows), *self.shape[1:], dtype=self.dtype)
        places = taken.flatten(1).view(torch.uint8).numpy()
        part_of_row = torch.bucketize(rows, self._ends, right=True)
        for part in part_of_row.unique().tolist():
            here = (part_of_row == part).nonzero().squeeze(1)
            first = int(self._ends[part]) - len(self._parts[part])
            with open(self._files[part], "rb", buffering=0) as file:
                for place in here[rows[here].argsort()].tolist():  # forward through the file
                    start = self._starts[part] + (int(rows[place]) - first) * places.shape[1]
                    _read_into(memoryview(places[place]), file.fileno(), start)
        return taken

    @cached_property
    def _starts(self) -> list[int]:
        """Where the field begins in each file, in bytes."""
        return [_start_of(file, self._name) for file in self._files]


def field_rows(parts: Sequence[Tensor], *, files: Sequence[Path], name: str) -> Rows:
    """The rows of a field, memory-mapped in `files`; of a large one they are read instead, where the system can."""
    mapped = Rows(parts)
    is_large = mapped.num_bytes > MOST_MAPPED_BYTES and hasattr(os, "preadv")
    return ReadRows(parts, files=files, name=name) if is_large else mapped


def _start_of(file: Path, name: str) -> int:
    """Where a tensor begins in a safetensors file: 8 bytes of length, the header, then the tensors."""
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        return 8 + length + int(json.loads(opened.read(length))[name]["data_offsets"][0])


def _read_into(place: memoryview, descriptor: int, start: int) -> None:
    while len(place):
        count = os.preadv(descriptor, [place], start)
        if not count:
            raise OSError(f"a shard of the bank ends before byte {start}: it was cut while it was read")
        place, start = place[count:], start + count
