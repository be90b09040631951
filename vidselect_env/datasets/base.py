"""What a dataset hands over: the videos of one split, with their labels."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from vidselect_env.datasets.identity import contents_of, name_in, root_of
from vidselect_env.video.segment import check_segment

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class LabelledVideo:
    """A video and its class indices: one for most datasets, several for multi-label ones.

    start_s, end_s: the video is the part [start_s, end_s) of its file, in seconds from the file's first frame; None
        stands for the file's own start or end.
    action_spans_s: where the action is, each from and to, seconds of the file too; empty where that is not known.
        It is the truth, for measures and references that see labels: no agent sees it.

    Raises:
        ValueError: a segment or a span begins before the file, or does not end after its start.
    """

    path: str
    labels: tuple[int, ...]
    start_s: float | None = None
    end_s: float | None = None
    action_spans_s: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        try:
            check_segment(self.start_s, self.end_s)
            for start_s, end_s in self.action_spans_s:
                check_segment(start_s, end_s, name="action_")
        except ValueError as error:
            raise ValueError(f"{self.path!r}: {error}") from error

    @property
    def segment_s(self) -> tuple[float | None, float | None]:
        return self.start_s, self.end_s


@dataclass(frozen=True, kw_only=True)
class VideoDataset:
    """The videos of one split.

    Raises:
        ValueError: no video, a video without a label, or a label out of range.
    """

    name: str
    split: str
    class_names: tuple[str, ...]
    videos: tuple[LabelledVideo, ...]

    def __post_init__(self) -> None:
        if not self.videos:
            raise ValueError(f"dataset {self.name!r} has no video in split {self.split!r}")
        for video in self.videos:
            if not video.labels:
                raise ValueError(f"{video.path!r} has no label: every video needs at least one")
            for label in video.labels:
                if not 0 <= label < len(self.class_names):
                    raise ValueError(
                        f"label {label} of {video.path!r} is out of range: "
                        f"there are {len(self.class_names)} classes, 0 to {len(self.class_names) - 1}"
                    )

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def is_multilabel(self) -> bool:
        return any(len(video.labels) > 1 for video in self.videos)

    @property
    def root(self) -> str:
        """The folder that all its files are below, as `root_of` says."""
        return root_of(video.path for video in self.videos)

    def fingerprint(self) -> str:
        """A hash of the split's files and labels, in order: which dataset a bank was made of.

        Of a file, its name below the folder that all are in, its size, and parts of its bytes (`contents_of`): it is
        the same file in another place. Where videos are segments, or it is known where their action is, that is
        covered too.
        """
        root, contents = self.root, contents_of(video.path for video in self.videos)
        listing = [
            [name_in(root, video.path), list(video.labels), *contents[video.path], *_part(video)]
            for video in self.videos
        ]
        text = json.dumps([self.class_names, listing])
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _part(video: LabelledVideo) -> list:
    """What is listed of a segment beside its file; nothing of a whole file, of which nothing more is known."""
    part = [*video.segment_s, [list(span) for span in video.action_spans_s]]
    return part if part != [None, None, []] else []
