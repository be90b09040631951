"""What lies under a dataset's root, from one walk: no line of a list costs a look at the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vidselect_env.datasets.folder import VIDEO_SUFFIXES

ANNOTATION_SUFFIXES = frozenset({".txt", ".csv", ".json", ".mat", ".gz"})


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Files under a folder. All paths are relative to `root`, with `/`; those nearest to it come first.

    root: the folder. videos: video files. annotations: files that may be lists.
    frame_folders: folders named by a number, which were not looked into; empty unless asked for.
    """

    root: str
    videos: tuple[str, ...]
    annotations: tuple[str, ...]
    frame_folders: tuple[str, ...]

    def absolute(self, path: str) -> str:
        return f"{self.root}/{path}"

    def find(self, *names: str) -> str | None:
        """The first of some annotation files that is there, the one nearest to the root; None for none.

        Args:
            names: file names, or ends of paths such as `annotations/train.csv`.

        Raises:
            ValueError: two files of that name, equally near, differ.
        """
        for name in names:
            found = [path for path in self.annotations if f"/{path}".endswith(f"/{name}")]
            for other in found[1:]:
                if _depth(other) == _depth(found[0]) and not self._alike(found[0], other):
                    raise ValueError(f"{self.root!r} has two different files {name}: {found[0]!r} and {other!r}")
            if found:
                return self.absolute(found[0])
        return None

    def need(self, *names: str) -> str:
        """As `find`.

        Raises:
            ValueError: none of them is there either.
        """
        found = self.find(*names)
        if found is None:
            others = f" (or {', '.join(names[1:])})" if len(names) > 1 else ""
            raise ValueError(f"there is no file {names[0]!r}{others} under {self.root!r}")
        return found

    def _alike(self, one: str, other: str) -> bool:
        with open(self.absolute(one), "rb") as first, open(self.absolute(other), "rb") as second:
            return first.read() == second.read()


def walk(root: str, *, frame_folders: bool = False) -> Tree:
    """List everything under a folder, following links; names that start with a dot do not count.

    Args:
        frame_folders: do not look into folders that are named by a number.

    Raises:
        ValueError: no such folder.
    """
    top = os.path.expanduser(root)
    if not os.path.isdir(top):
        raise ValueError(f"dataset folder {root!r} is not a folder")
    videos: list[tuple[int, str]] = []  # how deep a path is, and itself
    annotations, frames = videos.copy(), videos.copy()
    pending, followed = [""], {os.path.realpath(top)}
    while pending:
        here = pending.pop()
        depth = _depth(here) + bool(here)
        with os.scandir(os.path.join(top, here)) as entries:
            for entry in entries:
                path = f"{here}/{entry.name}" if here else entry.name
                suffix = os.path.splitext(entry.name)[1].lower()
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    if frame_folders and entry.name.isdigit():
                        frames.append((depth, path))
                    elif not entry.is_symlink() or _follow(entry.path, followed):
                        pending.append(path)
                elif suffix in VIDEO_SUFFIXES and entry.is_file():
                    videos.append((depth, path))
                elif suffix in ANNOTATION_SUFFIXES and entry.is_file():
                    annotations.append((depth, path))
    nearest = [tuple(path for _, path in sorted(paths)) for paths in (videos, annotations, frames)]
    return Tree(root=top.rstrip("/") or "/", videos=nearest[0], annotations=nearest[1], frame_folders=nearest[2])


def _depth(path: str) -> int:
    return path.count("/")


def _follow(link: str, followed: set[str]) -> bool:
    """Whether a link to a folder leads to a new one, and not back to where the walk has been."""
    target, here = os.path.realpath(link), os.path.realpath(os.path.dirname(link))
    if target in followed or f"{here}/".startswith(f"{target}/"):
        return False
    followed.add(target)
    return True


def stem(path: str) -> str:
    """`b` of `a/b.mp4`."""
    return os.path.splitext(path.rpartition("/")[2])[0]


def folder_and_stem(path: str) -> str:
    """`a/b` of `x/a/b.mp4`."""
    folder = path.rpartition("/")[0]
    return f"{folder.rpartition('/')[2]}/{stem(path)}"


def keyed(paths: Iterable[str], key: Callable[[str], str]) -> tuple[dict[str, str], list[str]]:
    """The first path of each key; and the keys that have several."""
    first: dict[str, str] = {}
    several = []
    for path in paths:
        name = key(path)
        if name in first:
            several.append(name)
        else:
            first[name] = path
    return first, list(dict.fromkeys(several))
