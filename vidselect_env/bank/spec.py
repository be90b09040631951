"""What a bank holds: everything that decides its bytes, written into it and compared when it is used."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from vidselect_env.video.clips import ClipGrid
from vidselect_env.video.decode import FrameSize

FORMAT_VERSION = 1
FIELDS = ("logits", "features", "skim")


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
class BankSpec:
    """Dataset, classifier, grid and fields of a bank.

    dataset_fingerprint: `VideoDataset.fingerprint()` of its videos and labels.
    weights_sha256: hash of the classifier's parameters.
    fields: of `FIELDS`, what is stored for every candidate.
    classifier_gmacs: multiply-adds of one clip.
    crops: of each clip that the classifier saw: 1, the centre; or 10, the four corners, the centre, and all five
        mirrored. With 10, `logits` and `features` have a second dimension of them.
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
    grid: ClipGrid
    fields: tuple[str, ...]
    skim: SkimSpec | None
    crops: int = 1
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        unknown = set(self.fields) - set(FIELDS)
        if unknown or not self.fields:
            raise ValueError(f"fields {self.fields} must be some of {FIELDS}")
        if self.crops not in (1, 10):
            raise ValueError(f"crops ({self.crops}) must be 1 or 10")
        if ("skim" in self.fields) != (self.skim is not None):
            raise ValueError(f"fields {self.fields} and skim ({self.skim}) must agree")

    def to_json(self) -> dict[str, Any]:
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> BankSpec:
        if data.get("format_version") != FORMAT_VERSION:
            raise BankError(
                f"bank format {data.get('format_version')} is not the one this version reads ({FORMAT_VERSION}): "
                "build it again"
            )
        skim = data["skim"]
        return cls(
            **{
                **data,
                "class_names": tuple(data["class_names"]),
                "fields": tuple(data["fields"]),
                "clip_resize": _pair_or_int(data["clip_resize"]),
                "clip_crop": tuple(data["clip_crop"]),
                "grid": ClipGrid(**data["grid"]),
                "skim": None
                if skim is None
                else SkimSpec(
                    num_frames=skim["num_frames"],
                    resize=_pair_or_int(skim["resize"]),
                    crop=tuple(skim["crop"]),
                ),
            }
        )

    def sha256(self) -> str:
        """A name for the whole content: two banks of one hash have the same bytes."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def difference(self, other: BankSpec) -> list[str]:
        """What differs, a line each: `grid: {...} here, {...} there`."""
        mine, theirs = self.to_json(), other.to_json()
        return [f"{key}: {mine[key]} here, {theirs[key]} there" for key in mine if mine[key] != theirs[key]]


def _pair_or_int(value: Any) -> int | tuple[int, int]:
    return value if isinstance(value, int) else (value[0], value[1])
