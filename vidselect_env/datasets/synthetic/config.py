"""The kinds of synthetic sets, and what decides the bytes of one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from vidselect_env.datasets.synthetic.motions import MOTIONS

# Version of the videos -> format of its files: raise one with every change of what its files show, for it is part
# of the folder's name. The first version is frozen: published figures are of it.
FORMAT_VERSIONS = {1: 2, 2: 3}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the sets of a kind have in common.

    number: of its random numbers, never used again for another kind.
    suffix: how the set's name ends.
    num_frames, least_frames: of a video, and the fewest that hold what happens in it.
    num_videos: of the splits train, val and test, unless told otherwise.
    """

    number: int
    version: int
    suffix: str
    is_trimmed: bool
    class_names: tuple[str, ...] = MOTIONS
    num_frames: int
    least_frames: int = 2
    num_videos: tuple[int, int, int] = (6000, 400, 800)


SPEEDS = ("still", *(f"{speed} {way}" for speed in ("slow", "fast") for way in ("left", "right", "up", "down")))
UNTRIMMED_VIDEOS = (800, 200, 400)
# The fewest frames hold the longest action, the most other pieces, and a rest before, between and after them.
KINDS = {
    "untrimmed": Kind(
        number=3, version=2, suffix="", is_trimmed=False, num_frames=150, least_frames=120, num_videos=UNTRIMMED_VIDEOS
    ),
    "trimmed": Kind(number=4, version=2, suffix="-trimmed", is_trimmed=True, num_frames=12),
    "v1": Kind(
        number=0,
        version=1,
        suffix="-v1",
        is_trimmed=False,
        num_frames=180,
        least_frames=80,
        num_videos=UNTRIMMED_VIDEOS,
    ),
    "v1-trimmed": Kind(number=1, version=1, suffix="-v1-trimmed", is_trimmed=True, num_frames=12),
    "speeds": Kind(number=2, version=1, suffix="-speeds", is_trimmed=True, class_names=SPEEDS, num_frames=20),
}


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """What the videos of a synthetic set are like; their number is not part of it.

    kind: of `KINDS`. num_frames: 0 for the kind's own.

    Raises:
        ValueError: a value is out of range.
    """

    seed: int = 0
    kind: str = "untrimmed"
    width: int = 160
    height: int = 120
    fps: int = 15
    num_frames: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind ({self.kind!r}) must be one of {', '.join(KINDS)}")
        if not self.num_frames:
            object.__setattr__(self, "num_frames", self.traits.num_frames)
        least = {"seed": 0, "width": 64, "height": 64, "fps": 1, "num_frames": self.traits.least_frames}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least {smallest}")
        if self.width % 2 or self.height % 2:
            raise ValueError(f"width ({self.width}) and height ({self.height}) must be even, for H.264")

    @property
    def traits(self) -> Kind:
        return KINDS[self.kind]

    @property
    def name(self) -> str:
        return f"synthetic{self.traits.suffix}"

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.traits.class_names

    @property
    def folder_name(self) -> str:
        text = json.dumps([FORMAT_VERSIONS[self.traits.version], dataclasses.asdict(self)], sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
