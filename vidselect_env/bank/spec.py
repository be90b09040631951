"""What a bank holds: everything that decides its bytes, written into it and compared when it is used."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from vidselect_env.datasets.flow import is_flow
from vidselect_env.datasets.identity import name_in
from vidselect_env.settings import from_json
from vidselect_env.video.audio import SILENCE_POWER
from vidselect_env.video.clips import ClipGrid
from vidselect_env.video.decode import FrameSize

FORMAT_VERSION = 4
# What a classifier said; a cheap look at the pixels; the signals of compressed video, and of sound.
OUTPUTS = ("logits", "features", "num_bins")
SIGNALS = ("vectors", "residual", "intra", "mel")
FIELDS = (*OUTPUTS, "skim", *SIGNALS)
MEL_SHAPE = (40, 200)
SILENCE = math.log(SILENCE_POWER)  # of a mel picture


class BankError(ValueError):
    """A bank that is missing, damaged, or of another dataset, classifier or grid than asked for."""


@dataclass(frozen=True, kw_only=True)
class SkimSpec:
    """The cheap look at a candidate: its `num_frames` middle frames, at a low resolution.

    resize, crop: as in `ClipGeometry`. DSN's paper takes 8 frames of 112 x 112.
    """

    num_frames: int = 8
    resize: int | tuple[int, int] = (32, 32)
    crop: tuple[int, int] = (32, 32)

    @property
    def frame_size(self) -> FrameSize:
        return FrameSize(self.resize, self.crop)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of one skim: (T, 3, h, w), uint8."""
        return (self.num_frames, 3, *self.crop)


@dataclass(frozen=True, kw_only=True)
class SignalSpec:
    """The compressed-domain signals of a candidate (SCSampler, section 3.3.1), brought to one size for all videos.

    num_frames: frames of a candidate, evenly taken, that vectors and residuals are kept of.
    cells: (height, width) that fields of motion vectors are averaged to; in the file a cell is 16 x 16 pixels.
    resize, crop: of residuals and I-frames, as in `ClipGeometry`.
    residual_bits: 8, and what lies outside [-128, 127] is cut off there; or 16, which holds all of [-255, 255].

    Raises:
        ValueError: neither 8 nor 16 bits.
    """

    num_frames: int = 4
    cells: tuple[int, int] = (8, 10)
    resize: int | tuple[int, int] = (32, 32)
    crop: tuple[int, int] = (32, 32)
    residual_bits: int = 8

    def __post_init__(self) -> None:
        if self.residual_bits not in (8, 16):
            raise ValueError(f"residual_bits ({self.residual_bits}) must be 8 or 16")

    @property
    def frame_size(self) -> FrameSize:
        return FrameSize(self.resize, self.crop)

    def shape(self, field: str) -> tuple[int, ...]:
        """Of one candidate's `vectors`, `residual`, `intra` or `mel`."""
        return {
            "vectors": (self.num_frames, 2, *self.cells),
            "residual": (self.num_frames, 3, *self.crop),
            "intra": (3, *self.crop),
            "mel": MEL_SHAPE,
        }[field]


@dataclass(frozen=True, kw_only=True)
class BankSpec:
    """Dataset, classifier, grid and fields of a bank.

    dataset: its name, as it was given. root: the folder that its files were below when the bank was begun, which names
        are relative to; None in banks from before names were. Where a bank's videos lie is no part of what it is of.
    dataset_fingerprint: `VideoDataset.fingerprint()` of its videos and labels.
    weights_sha256: hash of the classifier's parameters.
    clip_resize, clip_crop, clip_mean, clip_std, grid: its `ClipGeometry`.
    fields: of `FIELDS`, what is stored for every candidate.
    classifier_gmacs: multiply-adds of one clip, in units of 1e9; the most, where clips differ.
    bins_gmacs: those of a clip that keeps 1, 2, ... maps, of a classifier with similarity guided sampling.
    crops: of each clip that the classifier saw: 1, the centre; or 10, the four corners, the centre, and all five
        mirrored. With 10, `logits` and `features` have a second dimension of them.
    allow_corrupt: damaged frames were taken as the decoder gave them; else their videos were skipped.
    """

    dataset: str
    split: str
    dataset_fingerprint: str
    class_names: tuple[str, ...]
    classifier: str
    weights_sha256: str
    classifier_gmacs: float
    clip_resize: int | tuple[int, int]
    clip_crop: tuple[int, int]
    clip_mean: tuple[float, ...]
    clip_std: tuple[float, ...]
    grid: ClipGrid
    fields: tuple[str, ...]
    skim: SkimSpec | None
    signals: SignalSpec | None = None
    bins_gmacs: tuple[float, ...] = ()
    crops: int = 1
    allow_corrupt: bool = False
    root: str | None = None
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        for name in ("clip_mean", "clip_std", "bins_gmacs"):  # 0 and 0.0 are the same, and are to have the same hash
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        object.__setattr__(self, "classifier_gmacs", float(self.classifier_gmacs))
        unknown = set(self.fields) - set(FIELDS)
        if unknown or not self.fields:
            raise ValueError(f"fields {self.fields} must be some of {FIELDS}")
        if self.crops not in (1, 10):
            raise ValueError(f"crops ({self.crops}) must be 1 or 10")
        if self.crops == 10 and self.clip_crop == self.clip_resize:
            raise ValueError(f"ten crops {self.clip_crop} must be smaller than the frames, {self.clip_resize}")
        for name, value, wanted in (
            ("skim", self.skim, "skim" in self.fields),
            ("signals", self.signals, bool(set(SIGNALS) & set(self.fields))),
            ("bins_gmacs", self.bins_gmacs or None, "num_bins" in self.fields),
        ):
            if wanted != (value is not None):
                raise ValueError(f"fields {self.fields} and {name} ({value}) must agree")

    def name_of(self, path: str) -> str:
        """What the bank calls the video of a file."""
        return path if self.root is None else name_in(self.root, path)

    def shape(self, field: str) -> tuple[int, ...]:
        """Of one candidate's skim or signal.

        Raises:
            ValueError: the spec has no such field.
        """
        if field not in self.fields or field in OUTPUTS:
            raise ValueError(f"there is no {field!r} in fields {self.fields}: give the spec one")
        if field == "skim":
            assert self.skim is not None
            return self.skim.shape
        assert self.signals is not None
        return self.signals.shape(field)

    def to_json(self) -> dict[str, Any]:
        data = json.loads(json.dumps(dataclasses.asdict(self)))
        if not self.allow_corrupt:  # as banks say it that were built before there was the choice
            del data["allow_corrupt"]
        if self.signals is not None and self.signals.residual_bits == 8:  # likewise
            del data["signals"]["residual_bits"]
        if self.root is None:
            del data["root"]
        return data

    def identity(self) -> dict[str, Any]:
        """`to_json` without the places of things."""
        data = self.to_json()
        if self.root is not None:
            del data["root"]
            data["dataset"] = "flow" if is_flow(self.dataset) else ""
        return data

    @staticmethod
    def check_version(data: Any) -> None:
        """Refuse a spec of another format.

        Raises:
            BankError: it is of another.
        """
        found = data.get("format_version") if isinstance(data, dict) else None
        if found != FORMAT_VERSION:
            raise BankError(f"bank format {found} is not the one this version reads ({FORMAT_VERSION}): build it again")

    @classmethod
    def from_json(cls, data: Any) -> BankSpec:
        """What `to_json` gave.

        Raises:
            BankError: of another format version, or a field that is missing, of another type or out of range.
        """
        cls.check_version(data)
        try:
            data = {"allow_corrupt": False, "root": None} | data
            if isinstance(data.get("signals"), dict):
                data["signals"] = {"residual_bits": 8} | data["signals"]
            return from_json(cls, data)
        except ValueError as error:
            raise BankError(f"the spec of a bank is damaged: {error}") from error

    def sha256(self) -> str:
        """A name for the whole content: two banks of one hash have the same bytes."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()

    def difference(self, other: BankSpec) -> list[str]:
        """What differs, a line each: `grid: {...} here, {...} there`."""
        mine, theirs = self.identity(), other.identity()
        keys = dict.fromkeys((*mine, *theirs))
        return [
            f"{key}: {mine.get(key)} here, {theirs.get(key)} there" for key in keys if mine.get(key) != theirs.get(key)
        ]
