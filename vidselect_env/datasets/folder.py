"""A folder of videos: `<split>/<class>/*` or `<class>/*`."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from pathlib import Path

from vidselect_env.datasets.base import SPLITS, LabelledVideo, VideoDataset
from vidselect_env.datasets.checks import Listed, check_apart, warn_left_out
from vidselect_env.datasets.splits import check_split, group_of, hashed_split, in_split

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv"})


def folder_dataset(root: str, *, split: str) -> VideoDataset:
    """The videos of one split of a folder.

    With `<split>/<class>/*` the split folders are those named train, val or test. With `<class>/*` there
    are none, and a hash of each file's name puts about a third of the videos in `test` and the rest in
    `train`, the same on every machine (`splits.py`). Without a folder `val`, that split is a fifth of `train`, and
    `fit` the rest. `split="all"` takes every video.

    What looks like a video and is left out (hidden files, nested folders, folders with the name of a video or of no
    split) is counted in a warning.

    Raises:
        ValueError: no such folder, no such split, no video in it, or one file in two splits or classes.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise ValueError(f"dataset folder {root!r} is not a folder")
    left_out: dict[str, list[str]] = defaultdict(list)
    tops = [folder / name for name in SPLITS if (folder / name).is_dir()]
    files = [file for top in tops or [folder] for file in _videos_of_classes(top, folder, left_out)]
    if tops:
        _note_other_folders(folder, tops, left_out)
    class_names = tuple(sorted({entry.name for top in tops or [folder] for entry in _class_folders(top)}))
    available = [top.name for top in tops] or ["train", "test"]
    check_split(split, available=available, where=root)
    warn_left_out(root, left_out)
    if not tops:
        _tell_groups(root, files)
    split_of = {file: file.parts[-3] if tops else hashed_split(file.name) for file in files}
    listed = [
        Listed(str(file), repr(str(file.relative_to(folder))), frozenset([file.parent.name]), split_of[file])
        for file in files
    ]
    check_apart(root, listed)
    videos = tuple(
        LabelledVideo(str(file), (class_names.index(file.parent.name),))
        for file in sorted(files, key=lambda file: (file.parent, file))
        if in_split(split, own=split_of[file], name=f"{file.parent.name}/{file.name}", available=available)
    )
    return VideoDataset(name=f"folder:{root}", split=split, class_names=class_names, videos=videos)


def _class_folders(top: Path) -> list[Path]:
    return [
        entry
        for entry in sorted(top.iterdir())
        if entry.is_dir() and not entry.name.startswith(".") and not is_video_name(entry)
    ]


def is_video_name(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _videos_of_classes(top: Path, root: Path, left_out: dict[str, list[str]]) -> list[Path]:
    """The videos of every class folder of `top`; what looks like one and is none is noted."""
    classes = _class_folders(top)
    found = []
    for entry in sorted(top.iterdir()):
        if entry not in classes:
            _note(entry, root, "outside of a class folder", left_out)
    for entry in (entry for folder in classes for entry in sorted(folder.iterdir())):
        if is_video_name(entry) and entry.is_file() and not entry.name.startswith("."):
            found.append(entry)
        else:
            _note(entry, root, "in folders inside of class folders", left_out)
    return found


def _note(entry: Path, root: Path, place: str, left_out: dict[str, list[str]]) -> None:
    """Note a file or folder that is not taken, if it looks like a video or holds some."""
    name = str(entry.relative_to(root))
    if entry.is_dir():
        if is_video_name(entry):
            left_out["folders with the name of a video"].append(name)
        if not entry.name.startswith("."):
            left_out[f"videos {place}"] += _videos_below(entry, root)
    elif is_video_name(entry):
        if entry.name.startswith("."):
            left_out["hidden files"].append(name)
        elif entry.is_file():
            left_out[f"videos {place}"].append(name)
        else:
            left_out["entries that are no regular files"].append(name)


def _note_other_folders(folder: Path, tops: list[Path], left_out: dict[str, list[str]]) -> None:
    """Note the videos of folders beside those of the splits."""
    for entry in sorted(folder.iterdir()):
        if entry not in tops:
            _note(entry, folder, f"outside of the split folders ({', '.join(SPLITS)})", left_out)


def _videos_below(folder: Path, root: Path) -> list[str]:
    return [
        str((Path(parent) / name).relative_to(root))
        for parent, _, names in os.walk(folder)
        for name in sorted(names)
        if is_video_name(Path(name)) and not name.startswith(".")
    ]


def _tell_groups(root: str, files: list[Path]) -> None:
    grouped = [file.name for file in files if group_of(file.name) != file.name]
    if grouped:
        num_groups = len({group_of(name) for name in grouped})
        rule = f"the {num_groups} groups of clips that names such as {grouped[0]!r} tell"
        warnings.warn(f"{root!r} has no splits: a hash makes them, and keeps together {rule}", stacklevel=2)
