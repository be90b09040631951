"""What is known of a shard before it is whole, in pieces beside it: a build that is stopped loses a few seconds.

progress-00003-00000.safetensors    videos that were done, and what the classifier said, since the piece before
progress-00003-00000.safetensors.sha256    hash of its bytes

Batches do not cross shards, and they do not change either when a shard is gone on with: the bytes are the same.
Shapes: L candidates of a video, U of them different, T clips of these as the classifier sees them (U * crops).
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from vidselect_classifiers import ClipOutput
from vidselect_env.bank import format
from vidselect_env.bank.spec import OUTPUTS, BankError, BankSpec

SAVE_EVERY_S = 2.0
_SAID, _CLIP_OF, _BEGIN = "said.", "clip_of", "begin"  # of a piece's tensors, beside the decoded fields


def piece_file(shard: Path, number: int) -> Path:
    """The file of a shard's piece."""
    return shard.with_name(f"{shard.stem.replace('shard', 'progress', 1)}-{number:05d}{shard.suffix}")


def remove(piece: Path) -> None:
    """Remove a piece and its hash."""
    for each in (piece, format.hash_file(piece)):
        each.unlink(missing_ok=True)


class ShardProgress:
    """A shard on its way: what earlier pieces hold, and what comes to it.

    videos, skipped: that are done, as in `Shard`. fields, spans_s, clip_of: of each of the videos its decoded fields
        (L, ...), (L, 2) spans, and (L,) which of its different clips each candidate is.
    outputs: of each batch; the last may be about clips of a video that is not among `videos`.

    Args:
        file: of the shard.
        names: of its videos, in order.
        batch_size: with another, batches would be others: pieces are then left alone.
    """

    def __init__(self, file: Path, names: Sequence[str], spec: BankSpec, *, batch_size: int) -> None:
        self.file, self.spec, self._names, self._batch_size = file, spec, names, batch_size
        self.videos: list[format.BankVideo] = []
        self.skipped: list[tuple[str, str]] = []
        self.fields: list[dict[str, Tensor]] = []
        self.spans_s: list[Tensor] = []
        self.clip_of: list[Tensor] = []
        self.outputs: list[ClipOutput] = []
        self._could_read: list[bool] = []  # of each video that was taken
        self._saved = (0, 0)  # videos that were taken, and batches, in pieces
        self._saved_s: float | None = None
        self._num_pieces = 0
        while self._take(piece_file(file, self._num_pieces)):
            self._num_pieces += 1

    @property
    def num_taken(self) -> int:
        """Videos that are done, or were skipped: the first so many."""
        return len(self._could_read)

    @property
    def num_said(self) -> int:
        """Clips (T of all videos) that are classified."""
        return sum(len(output.logits) for output in self.outputs)

    @property
    def num_clips(self) -> int:
        """Clips (T) of the videos that are taken."""
        return self.spec.crops * sum(_num_different(each) for each in self.clip_of)

    def rows(self) -> Tensor:
        """Of what is classified, which is each candidate's: (L of all videos,) int64."""
        ends = torch.tensor([0, *(_num_different(each) for each in self.clip_of)]).cumsum(0)
        return torch.cat([each + end for each, end in zip(self.clip_of, ends[:-1], strict=True)])

    def skip(self, name: str, reason: str) -> None:
        """The next video could not be read."""
        self.skipped.append((name, reason))
        self._could_read.append(False)

    def add(self, video: format.BankVideo, fields: dict[str, Tensor], spans_s: Tensor, clip_of: Tensor) -> None:
        """The next video is decoded; its clips are not classified yet."""
        self.videos.append(video)
        self.fields.append(fields)
        self.spans_s.append(spans_s)
        self.clip_of.append(clip_of)
        self._could_read.append(True)

    def save_if_due(self) -> None:
        """Write a piece, if the last is a few seconds old; to be asked after a whole batch."""
        now_s = time.monotonic()
        self._saved_s = now_s if self._saved_s is None else self._saved_s
        if now_s - self._saved_s < SAVE_EVERY_S:
            return
        (taken, batches), done = self._saved, self._num_done()
        first, last = sum(self._could_read[:taken]), sum(self._could_read[:done])
        mine = self.fields[first:last]
        tensors = {name: torch.cat([fields[name] for fields in mine]) for name in (mine[0] if mine else ())}
        if last > first:
            tensors[_CLIP_OF] = torch.cat(self.clip_of[first:last])
        said = self.outputs[batches:]
        for name in _said_by(said):
            tensors[_SAID + name] = torch.cat([getattr(output, name) for output in said])
        tensors[_BEGIN] = torch.tensor([taken, batches, self._batch_size])
        piece = format.Shard(
            self.spec.sha256(),
            tuple(self.videos[first:last]),
            tuple(self.skipped[taken - first : done - last]),
            tensors,
            torch.cat([torch.zeros(0, 2, dtype=torch.float64), *self.spans_s[first:last]]),
        )
        format.write_shard(piece_file(self.file, self._num_pieces), piece)
        self._num_pieces += 1
        self._saved, self._saved_s = (done, len(self.outputs)), now_s

    def clear(self) -> None:
        """The shard is whole: forget it, and remove the pieces, those of an earlier build too."""
        for part in (self.fields, self.spans_s, self.clip_of, self.outputs):
            part.clear()
        for number in count():
            piece = piece_file(self.file, number)
            if not piece.exists() and number >= self._num_pieces:
                return
            remove(piece)

    def _num_done(self) -> int:
        """Videos that need nothing more: all their clips are classified, and those of the videos before them."""
        left, videos = self.num_said, iter(self.clip_of)
        for number, could_read in enumerate(self._could_read):
            if could_read:
                left -= self.spec.crops * _num_different(next(videos))
            if left < 0:
                return number
        return len(self._could_read)

    def _take(self, file: Path) -> bool:
        """Take what a piece holds; False where there is none that goes on from here."""
        if not file.exists():
            return False
        with contextlib.suppress(Exception):  # whatever a damaged file makes of its readers: it is done again
            format.check_hash(file)
            piece = _read(file, self.spec)
            taken, batches, batch_size = piece.fields.pop(_BEGIN).tolist()
            names = [video.path for video in piece.videos]
            left_out = {name for name, _ in piece.skipped}
            mine = self._names[taken : taken + len(names) + len(left_out)]
            follows = (taken, batches, batch_size) == (self.num_taken, len(self.outputs), self._batch_size)
            if not follows or [name for name in mine if name not in left_out] != names:
                return False
            self._append(piece, could_read=[name not in left_out for name in mine])
            return True
        return False

    def _append(self, piece: format.Shard, *, could_read: Sequence[bool]) -> None:
        sizes = [video.num_clips for video in piece.videos]
        said = {name: piece.fields.pop(_SAID + name).split(self._batch_size) for name in _in_piece(piece.fields)}
        clip_of = piece.fields.pop(_CLIP_OF).split(sizes) if sizes else ()
        fields = {name: value.split(sizes) for name, value in piece.fields.items()}
        self.videos += piece.videos
        self.skipped += piece.skipped
        self.clip_of += clip_of
        self.spans_s += piece.spans_s.split(sizes) if sizes else ()
        self.fields += [{name: parts[number] for name, parts in fields.items()} for number in range(len(sizes))]
        self._could_read += could_read
        nothing = [None] * len(said["logits"])
        outputs = zip(said["logits"], said["features"], said.get("num_bins", nothing), strict=True)
        self.outputs += [ClipOutput(*each) for each in outputs]
        self._saved = (self.num_taken, len(self.outputs))


def _num_different(clip_of: Tensor) -> int:
    return int(clip_of.max()) + 1


def _said_by(outputs: Sequence[ClipOutput]) -> list[str]:
    return [name for name in OUTPUTS if outputs and getattr(outputs[0], name) is not None]


def _in_piece(tensors: dict[str, Tensor]) -> list[str]:
    return [name for name in OUTPUTS if _SAID + name in tensors]


def _read(file: Path, spec: BankSpec) -> format.Shard:
    """A piece, in memory: its file may go.

    Raises:
        BankError: it is of another bank.
        Exception: whatever a damaged file makes of its readers.
    """
    with safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()["vidselect"])
        fields = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
    if header["spec_sha256"] != spec.sha256():
        raise BankError("it is of another bank")
    videos = tuple(format.BankVideo(**video) for video in header["videos"])
    skipped = tuple((name, reason) for name, reason in header["skipped"])
    return format.Shard(header["spec_sha256"], videos, skipped, fields, fields.pop(format.SPANS))
