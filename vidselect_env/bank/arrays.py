"""Arrays that somebody has already of a dataset's videos: where they are, and what they must be.

Three forms: `NAME.npz` for each video; a folder for each field with `NAME.npy` in it (`features/NAME.npy`,
`logits/NAME.npy`, `times_s/NAME.npy`); one `.npz` of all videos, with `names`, and `offsets` where videos have
different numbers of clips.
Shapes: V videos, L clips of a video, R of all, C classes, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidselect_env.bank.dtypes import DTYPES
from vidselect_env.bank.spec import BankError
from vidselect_env.datasets.base import LabelledVideo

ARRAYS = ("logits", "features", "skim")  # that a bank is made of, as far as they are there
TIMES, NAMES, OFFSETS = "times_s", "names", "offsets"
RANKS = {"logits": 2, "features": 2, "skim": 5}


@dataclass(frozen=True)
class VideoArrays:
    """What is known of the clips of one video.

    fields: of `ARRAYS`, at least one: `logits` (L, C) and `features` (L, D) float32, `skim` (L, T, 3, h, w) uint8.
    spans_s: (L, 2) float64, from where to where each clip is, seconds of the file.

    Raises:
        BankError: a shape, type or number that does not fit.
    """

    fields: dict[str, Tensor]
    spans_s: Tensor

    def __post_init__(self) -> None:
        if not self.fields:
            raise BankError(f"there is none of {', '.join(ARRAYS)}")
        for name, value in self.fields.items():
            if value.dtype != DTYPES[name] or value.ndim != RANKS[name] or 0 in value.shape:
                raise BankError(
                    f"{name} ({tuple(value.shape)}, {value.dtype}) must have {RANKS[name]} dimensions of {DTYPES[name]}"
                )
            if value.is_floating_point() and not value.isfinite().all():
                raise BankError(f"{name} are not all finite")
            if len(value) != len(self.spans_s):
                raise BankError(f"{name} are of {len(value)} clips, and times of {len(self.spans_s)}")
        begin, end = self.spans_s.unbind(-1)
        if not (self.spans_s.isfinite().all() and (begin < end).all() and (begin.diff() >= 0).all()):
            raise BankError(f"{TIMES} must be finite, each clip end after it starts, and none start before the last")

    def within(self, start_s: float | None, end_s: float | None) -> VideoArrays:
        """The clips whose middle lies in [start_s, end_s) seconds; None is the file's own start or end.

        Raises:
            BankError: there is none.
        """
        middles = self.spans_s.mean(-1)
        inside = (middles >= (start_s or 0.0)) & (middles < (float("inf") if end_s is None else end_s))
        if start_s is None and end_s is None:
            return self
        if not inside.any():
            raise BankError(
                f"no clip has its middle in its segment [{start_s or 0:g}, {end_s or self.spans_s.max():g}) s"
            )
        return VideoArrays({name: value[inside] for name, value in self.fields.items()}, self.spans_s[inside])


@dataclass(frozen=True, kw_only=True)
class ClipTimes:
    """When clips are, where no array says it: clip i begins at i * every_s and lasts clip_s (None: up to the next)."""

    every_s: float | None = None
    clip_s: float | None = None

    def spans_s(self, given: NDArray[Any] | None, num_clips: int) -> Tensor:
        """(L, 2) float64 of `times_s` (L, 2), from where to where, or (L,), the starts; None where there is none.

        Raises:
            BankError: it cannot be told.
        """
        if given is not None and given.ndim == 2 and given.shape[1] == 2:
            return torch.from_numpy(given.astype(np.float64))
        length_s = self.clip_s or self.every_s
        if length_s is None:
            what = "there is no" if given is None else f"({given.shape}) without clip_s must be of shape (L, 2):"
            raise BankError(f"{TIMES} {what} telling when clips are; say it with every_s, or with starts and clip_s")
        if given is None:
            if self.every_s is None:
                raise BankError(f"there is no {TIMES}, and clip_s alone does not tell when clips begin: give every_s")
            starts = torch.arange(num_clips, dtype=torch.float64) * self.every_s
        else:
            starts = torch.from_numpy(given.astype(np.float64).reshape(-1))
        return torch.stack([starts, starts + length_s], dim=1)


class Arrays(Protocol):
    """Where arrays are found by a video."""

    def of(self, video: LabelledVideo) -> dict[str, NDArray[Any]]:
        """What there is of a video's file, by name; a `BankError` where there is nothing."""


def open_arrays(path: Path) -> Arrays:
    """The arrays of a folder or of one `.npz`.

    Raises:
        BankError: there is neither, or it is damaged.
    """
    if path.is_dir():
        return _Folder(path)
    if path.suffix == ".npz" and path.is_file():
        return _OneFile(path)
    raise BankError(f"arrays {str(path)!r} must be a folder, or a file .npz")


def video_arrays(arrays: Arrays, video: LabelledVideo, *, times: ClipTimes) -> VideoArrays:
    """What is known of a video, or of the segment of a file that it is.

    Raises:
        BankError: nothing, or what does not fit; the message names the video.
    """
    found = arrays.of(video)
    try:
        fields = {name: _tensor(name, found[name]) for name in ARRAYS if name in found}
        num_clips = len(next(iter(fields.values()), ()))
        whole = VideoArrays(fields, times.spans_s(found.get(TIMES), num_clips))
        return whole.within(video.start_s, video.end_s)
    except (BankError, TypeError, ValueError) as error:
        raise BankError(f"arrays of {video.path!r}: {error}") from error


def _tensor(name: str, array: NDArray[Any]) -> Tensor:
    """Numbers as a bank keeps them; floats of any size are taken, pixels must be pixels."""
    if name != "skim":
        if array.dtype.kind not in "fiu":
            raise BankError(f"{name} ({array.dtype}) must be numbers")
        array = array.astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(array))


class _Folder:
    """`NAME.npz` a video, or `FIELD/NAME.npy`; NAME is the video's own without its suffix, or with its folders'."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by_field = [name for name in (*ARRAYS, TIMES) if (folder / name).is_dir()]

    def of(self, video: LabelledVideo) -> dict[str, NDArray[Any]]:
        for name in _names_of(video.path):
            if (file := self.folder / f"{name}.npz").is_file():
                return _load(file)
            files = {field: self.folder / field / f"{name}.npy" for field in self.by_field}
            if found := {field: _load(file)[field] for field, file in files.items() if file.is_file()}:
                return found
        places = " or ".join(["NAME.npz", *(f"{field}/NAME.npy" for field in self.by_field)])
        raise BankError(f"there are no arrays of {video.path!r} in {str(self.folder)!r}: {places} is looked for")


class _OneFile:
    """All videos in one file: `names` (V,), and arrays (V, L, ...), or (R, ...) with `offsets` (V + 1,)."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._whole = _load(file)
        if NAMES not in self._whole:
            raise BankError(f"{str(file)!r} must have {NAMES}, a text a video: it has {', '.join(self._whole)}")
        listed = [str(name) for name in self._whole.pop(NAMES).reshape(-1)]
        self._places = {name: place for place, name in enumerate(listed)}
        if len(self._places) < len(listed):
            raise BankError(f"{NAMES} of {str(file)!r} hold a video twice")

    def of(self, video: LabelledVideo) -> dict[str, NDArray[Any]]:
        place = next((self._places[name] for name in _names_of(video.path) if name in self._places), None)
        if place is None:
            raise BankError(f"{video.path!r} is none of the {len(self._places)} {NAMES} of {str(self.file)!r}")
        arrays = {name: value for name, value in self._whole.items() if name != OFFSETS}
        if OFFSETS not in self._whole:
            return {name: value[place] for name, value in arrays.items()}
        first, last = self._whole[OFFSETS][place : place + 2].tolist()
        return {name: value[first:last] for name, value in arrays.items()}


def _names_of(path: str) -> Sequence[str]:
    """What a video's arrays may be called, the longest first. Example: a/b/c.mp4 -> a/b/c, b/c, c."""
    parts = [part for part in Path(path).with_suffix("").parts if part not in ("/", ".", "..")]
    return ["/".join(parts[first:]) for first in range(len(parts))]


def _load(file: Path) -> dict[str, NDArray[Any]]:
    """The known arrays of an archive, or the one of a file `FIELD/NAME.npy`; nothing is unpickled.

    Raises:
        BankError: it is damaged, or holds objects.
    """
    try:
        opened = np.load(file, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            return dict.fromkeys((*ARRAYS, TIMES), opened)
        with opened:
            return {name: opened[name] for name in (*ARRAYS, TIMES, NAMES, OFFSETS) if name in opened.files}
    except Exception as error:  # whatever a damaged file makes of its reader
        raise BankError(f"arrays {str(file)!r} cannot be read: {error}") from error
