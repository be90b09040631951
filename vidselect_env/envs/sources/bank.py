"""Contexts and answers from a bank.

Shapes: B videos of a batch, K candidates of each, C classes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from vidselect_env.bank import BankError, ClipBank
from vidselect_env.bank.rows import ReadRows, Rows
from vidselect_env.bank.spec import OUTPUTS
from vidselect_env.datasets.labels import padded_spans

MOST_DEVICE_BYTES = 8 << 30  # of a field
NUM_AHEAD = 2  # batches that are read ahead: that which is asked for now, and the next


class BankSource:
    """Answers from a bank.

    Args:
        bank: with `logits`, and the field that the environment observes.
        device: where answers are given. A field is taken when it is first asked for. On the CPU all but features stay
            memory-mapped; off it they are moved there, unless they are larger than `most_device_bytes`: those stay
            memory-mapped on the host, and go to the device in pinned batches. Of a field so large that its rows are
            read from the files, a thread reads those of `prefetch` meanwhile.
    """

    knows_all = True

    def __init__(
        self, bank: ClipBank, *, device: str | torch.device = "cpu", most_device_bytes: int = MOST_DEVICE_BYTES
    ) -> None:
        if bank.spec.crops > 1:
            raise BankError(
                f"the bank has {bank.spec.crops} crops a clip: take one of them, bank.crop(4) is the centre"
            )
        outputs = bank.field("logits").shape[1]
        if outputs != bank.num_classes:
            raise BankError(
                f"the bank's logits are of {outputs} classes but its videos of {bank.num_classes}: "
                "`vidselect bank head` fits one"
            )
        self.bank = bank
        self._most_bytes = most_device_bytes
        self.spec = bank.spec
        self.device = torch.device(device)
        self.targets = bank.targets.to(self.device)
        self.num_classes = bank.num_classes
        self.num_candidates = bank.offsets.diff()
        self.video_paths, self.segments_s = bank.video_paths, bank.segments_s
        self._truth: tuple[Tensor, Tensor] | None = None
        if any(bank.action_spans_s) and bank.spans_s is not None:
            self._truth = (bank.spans_s.to(self.device), padded_spans(bank.action_spans_s).to(self.device))
        self._first_alike = _first_alike(bank).to(self.device)
        self._starts = bank.offsets[:-1].to(self.device)
        self._probabilities = bank.field("logits").joined().float().softmax(-1).to(self.device)
        self._taken: dict[str, Rows] = {}
        self._reader: ThreadPoolExecutor | None = None
        self._ahead: deque[tuple[str, Tensor, Future[Tensor]]] = deque(maxlen=NUM_AHEAD * len(bank.fields))
        shapes = {name: tuple(rows.shape[1:]) for name, rows in bank.fields.items()}
        self.shapes: Mapping[str, tuple[int, ...]] = shapes | {"predictions": (bank.num_classes,)}
        self._bins_gmacs = torch.tensor(bank.spec.bins_gmacs, device=self.device)

    def observe(self, field: str, videos: Tensor, candidates: Tensor) -> Tensor:
        if field == "predictions":
            return self.probabilities(videos, candidates)
        rows, held = self._rows(videos, candidates), self._field(field)
        wanted = rows.view(-1).to(held.device)
        found = self._read_ahead(field, wanted)
        found = self._take(held, wanted) if found is None else found
        return found.to(self.device, non_blocking=True).view(*rows.shape, *held.shape[1:])

    def probabilities(self, videos: Tensor, candidates: Tensor) -> Tensor:
        rows = self._rows(videos, candidates)
        return self._probabilities.index_select(0, rows.view(-1)).view(*rows.shape, -1)

    def clip_gmacs(self, videos: Tensor, candidates: Tensor) -> Tensor:
        if not self.spec.bins_gmacs:
            return torch.full(candidates.shape, self.spec.classifier_gmacs, device=self.device)
        rows = self._rows(videos, candidates)
        kept = self._field("num_bins").take(rows.view(-1)).view(rows.shape)
        return self._bins_gmacs[kept - 1]

    def first_alike(self, videos: Tensor, candidates: Tensor) -> Tensor:
        return self._first_alike[self._rows(videos, candidates)]

    def truth(self, videos: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor] | None:
        if self._truth is None:
            return None
        return self._truth[0][self._rows(videos, candidates)], self._truth[1][videos]

    def prefetch(
        self, videos: Tensor, *, fields: Sequence[str] = (), candidates: Callable[[], Tensor] | None = None
    ) -> None:
        """Rows that have to be read from files are read; all others are at hand."""
        held_of = {field: self._field(field) for field in fields if field in self.bank.fields}
        read = {field: held for field, held in held_of.items() if isinstance(held, ReadRows)}
        if candidates is None or not read:
            return
        self._reader = self._reader or ThreadPoolExecutor(1)
        wanted = self._rows(videos, candidates()).view(-1).cpu()
        for field, held in read.items():
            self._ahead.append((field, wanted, self._reader.submit(self._take, held, wanted)))

    def _read_ahead(self, field: str, wanted: Tensor) -> Tensor | None:
        """These rows (K,) of a field, where they were read ahead; they are given once."""
        for place, (name, rows, ahead) in enumerate(self._ahead):
            if name == field and torch.equal(rows, wanted):
                del self._ahead[place]
                return ahead.result()
        return None

    def _field(self, name: str) -> Rows:
        """A field, where it is answered from, since it was asked for first: what nobody looks at is not read."""
        if name not in self._taken:
            rows = self.bank.field(name)
            stays = name not in OUTPUTS and (self.device.type == "cpu" or rows.num_bytes > self._most_bytes)
            self._taken[name] = rows if stays else rows.to(self.device)
        return self._taken[name]

    def _take(self, held: Rows, wanted: Tensor) -> Tensor:
        """Rows (K,) of a field, pinned where they are to go to a GPU."""
        found = held.take(wanted)
        return found.pin_memory() if found.device != self.device else found

    def _rows(self, videos: Tensor, candidates: Tensor) -> Tensor:
        return self._starts[videos][:, None] + candidates


def _first_alike(bank: ClipBank) -> Tensor:
    """The first candidate of the same video with the same frames, of each: (R,) int64.

    Candidates that no grid has laid, of a bank made from tensors, all differ.
    """
    counts, lengths = bank.offsets.diff().tolist(), bank.num_video_frames.tolist()
    of_length: dict[tuple[int, int], Tensor] = {}
    for count, length in dict.fromkeys(zip(counts, lengths, strict=True)):
        alike = bank.spec.grid.first_alike(length) if length else torch.arange(0)
        of_length[count, length] = alike if len(alike) == count else torch.arange(count)
    each = [of_length[key] for key in zip(counts, lengths, strict=True)]
    return torch.cat(each) if each else torch.arange(0)
