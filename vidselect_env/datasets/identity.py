"""Which files a dataset is of, wherever they lie and however their paths are typed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePath

from vidselect_env.stores import is_url, size_of

PART_BYTES = 1 << 15  # of a file's beginning, and of its end: there containers list what is between
NUM_READERS = 8  # a disk or a file server answers several at once


def root_of(paths: Iterable[str]) -> str:
    """The folder that all files are below, its path absolute; "" where there is none (URLs, several drives).

    Example: `videos/a/1.mp4` and `videos/b/2.mp4`, in the working folder `/data` -> `/data/videos`.
    """
    folders = {os.path.dirname(os.path.abspath(path)) for path in paths if not is_url(path)}
    try:
        return os.path.commonpath(folders) if folders else ""
    except ValueError:  # drives of Windows
        return ""


def name_in(root: str, path: str) -> str:
    """What a file is called below a folder of `root_of`, with `/` between; a URL is its own name."""
    if is_url(path):
        return path
    whole = os.path.abspath(path)
    inside = os.path.join(root, "")
    return PurePath(whole[len(inside) :] if root and whole.startswith(inside) else whole).as_posix()


def contents_of(paths: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Of each file its size in bytes and a hash of its beginning and end; of one that is not there, -1 and "".

    A file as large as another, and with its beginning and end, counts as the same: those of MP4, Matroska and AVI list
    how large every frame is. Of a URL only the size is asked for.
    """
    different = list(dict.fromkeys(paths))
    if len(different) < NUM_READERS:
        return {path: _content(path) for path in different}
    with ThreadPoolExecutor(NUM_READERS) as pool:
        return dict(zip(different, pool.map(_content, different), strict=True))


def _content(path: str) -> tuple[int, str]:
    if is_url(path):
        return size_of(path), ""
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(file.read(PART_BYTES))
            if size > PART_BYTES:
                file.seek(max(size - PART_BYTES, PART_BYTES))
                digest.update(file.read(PART_BYTES))
    except OSError:  # reading it as a video will say so
        return -1, ""
    return size, digest.hexdigest()
