"""A folder of videos: `<split>/<class>/*` or `<class>/*`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from vidselect_env.datasets.base import SPLITS, LabelledVideo, VideoDataset

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv"})


def folder_dataset(root: str, *, split: str) -> VideoDataset:
    """The videos of one split of a folder.

    With `<split>/<class>/*` the split folders are those named train, val or test. With `<class>/*` there
    are none, and a hash of each file's name puts about a third of the videos in `test` and the rest in
    `train`, the same on every machine. `split="all"` takes every video.

    Raises:
        ValueError: no such folder, no such split, or no video in it.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise ValueError(f"dataset folder {root!r} is not a folder")
    split_folders = [folder / name for name in SPLITS if (folder / name).is_dir()]
    class_folders = [entry for top in split_folders or [folder] for entry in visible_folders(top)]
    class_names = tuple(sorted({entry.name for entry in class_folders}))
    check_split(split, available=[top.name for top in split_folders] or ["train", "test"], where=root)
    videos = [
        LabelledVideo(str(path), (class_names.index(path.parent.name),))
        for class_folder in sorted(class_folders)
        for path in sorted(class_folder.iterdir())
        if path.suffix.lower() in VIDEO_SUFFIXES
        and (split == "all" or split == (path.parts[-3] if split_folders else hashed_split(path.name)))
    ]
    return VideoDataset(name=f"folder:{root}", split=split, class_names=class_names, videos=tuple(videos))


def visible_folders(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]


def hashed_split(name: str) -> str:
    """`test` for about a third of all names and `train` for the others."""
    return "test" if hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[0] % 3 == 0 else "train"


def check_split(split: str, *, available: list[str], where: str) -> None:
    if split != "all" and split not in available:
        raise ValueError(f"unknown split {split!r} of {where!r}: there are {', '.join([*available, 'all'])}")
