"""Files in object stores and other filesystems, by URLs that `fsspec` knows: `s3://`, `gs://`, `memory://`, `file://`.

Who reads a file has a local copy of it, fetched when it is first read and kept in a folder of bounded size. A call that
a store fails is repeated a few times, and then one `StoreError` says which file, how often and why. Nothing is left
half-written on either side: a file has its name once it is whole.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from vidselect_env.files import cache_dir, locked, writable_folder, write_aside

_Value = TypeVar("_Value")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
TRIES, FIRST_WAIT_S = 5, 0.05
FETCHED_GB = "VIDSELECT_FETCHED_GB"
DEFAULT_FETCHED_GB = 20.0
# That repeating does not help against.
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError, ImportError)


# Protocols of fsspec with which a list of videos could make this machine do more than read files.
_REFUSED = {
    "reference": "fills in the templates of a file, which are code for Jinja",
    "dask": "works on a cluster",
    "jupyter": "speaks to a notebook server",
}


class StoreError(OSError):
    """A store fails again and again, or a file of it does not fit.

    What is wrong is not the file: `faults_of` makes no `VideoError` of it, so that no video is left out for it.
    """


def is_url(path: object) -> bool:
    """Whether a path is a URL of `fsspec`: `s3://bucket/a.mp4`, not `a.mp4` or `C:/a.mp4`."""
    return isinstance(path, str) and _URL.match(path) is not None


def check_url(url: str) -> None:
    """See that there is a filesystem for a URL, and none that would run what a file says.

    Raises:
        ValueError: there is not.
    """
    from fsspec.registry import known_implementations, registry

    protocol = url.partition("://")[0]
    if protocol not in known_implementations and protocol not in registry:
        raise ValueError(f"{url!r} is of no known store: fsspec knows no {protocol!r}")
    for part in url.split("::"):
        if (protocol := part.partition("://")[0].lower()) in _REFUSED:
            raise ValueError(f"{url!r} is refused: {protocol} {_REFUSED[protocol]}")


def joined(base: str | Path, name: str) -> str:
    """`name` in the folder `base`, a path or URL; a name that is a URL is itself."""
    if is_url(name):
        return name
    return f"{str(base).rstrip('/')}/{name}" if is_url(str(base)) else str(Path(base) / name)


def local_copy(path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """The path itself; or, of a URL, where the fetched file is.

    Raises:
        FileNotFoundError: the store has no such file.
        StoreError: it fails, or the file is larger than all that may be kept.
    """
    return fetched(path) if isinstance(path, str) and is_url(path) else path


def fetched(url: str) -> Path:
    """The local copy of a file, fetched if it is not there as it is in the store; see `local_copy`."""
    store, path = _opened(url)
    about = _persistently(lambda: store.info(path), url, "ask for")
    if about.get("type") == "directory":
        raise FileNotFoundError(f"{url!r} is a folder, not a file")
    size = int(about["size"])
    marks = [str(about.get(name)) for name in ("ETag", "etag", "mtime", "created", "LastModified", "generation")]
    key = hashlib.sha256("\n".join([url, str(size), *marks]).encode("utf-8", "surrogateescape")).hexdigest()
    folder = writable_folder(cache_dir() / "fetched")
    file = folder / f"{key[:32]}{PurePosixPath(path).suffix}"
    if not file.exists():
        _make_room(folder, size, url)
        write_aside(file, lambda aside: _persistently(lambda: _get(store, path, aside, size), url, "fetch"))
    os.utime(file)  # when it was last used
    return file


def size_of(url: str) -> int:
    """Bytes of a file; -1 where there is none."""
    store, path = _opened(url)
    try:
        return int(_persistently(lambda: store.size(path), url, "ask for"))
    except FileNotFoundError:
        return -1


def read_range(url: str, start: int, end: int) -> bytes:
    """The bytes from `start` to `end` of a file, without the others."""
    store, path = _opened(url)
    return _persistently(lambda: store.cat_file(path, start=start, end=end), url, "read")


def put(file: Path, url: str) -> None:
    """Write a local file to a store, unless it has one of that name and size.

    It is put beside and then moved, so that a process that dies leaves nothing half-written under the name.
    """
    size = file.stat().st_size
    if size_of(url) == size:
        return
    store, path = _opened(url)

    def write() -> None:
        store.put_file(str(file), f"{path}.part")
        store.mv(f"{path}.part", path)

    _persistently(lambda: store.makedirs(path.rpartition("/")[0], exist_ok=True), url, "make the folder of")
    _persistently(write, url, "write")


def _opened(url: str) -> tuple[Any, str]:
    """The filesystem of a URL, and the path in it.

    Raises:
        ValueError: as `check_url`.
        ImportError: what it needs is not installed.
    """
    from fsspec.core import url_to_fs

    check_url(url)
    return url_to_fs(url)


def _get(store: Any, path: str, file: Path, size: int) -> None:
    store.get_file(path, str(file))
    if file.stat().st_size != size:
        raise OSError(f"{file.stat().st_size} bytes came, not {size}")


def _make_room(folder: Path, size: int, url: str) -> None:
    """Delete what was not used for longest, so that `size` bytes more are within the bound."""
    bound = float(os.environ.get(FETCHED_GB, DEFAULT_FETCHED_GB)) * 1e9
    if size > bound:
        raise StoreError(f"{url!r} ({size / 1e9:.3g} GB) is larger than {FETCHED_GB} ({bound / 1e9:.3g})")
    with locked(folder / "room.lock"):
        there = []
        for file in folder.iterdir():
            try:
                about = file.stat()
            except FileNotFoundError:  # another process has just renamed or deleted it
                continue
            if file.suffix not in (".lock", ".part"):
                there.append((about.st_mtime, about.st_size, file))
        left = sum(bytes_ for _, bytes_, _ in there) + size
        for _, bytes_, file in sorted(there):
            if left <= bound:
                return
            file.unlink(missing_ok=True)  # who has it open, or mapped, keeps it
            left -= bytes_


def _persistently(work: Callable[[], _Value], url: str, doing: str) -> _Value:
    """What `work` gives, tried `TRIES` times, each after twice the wait of the one before.

    Stores raise what their libraries do, so that all errors count but those that repeating does not help against.

    Raises:
        StoreError: it failed each time.
    """
    for turn in range(TRIES):
        try:
            return work()
        except _FINAL:
            raise
        except Exception as error:
            last = error
            if turn + 1 < TRIES:
                time.sleep(FIRST_WAIT_S * 2**turn)
    why = f"{TRIES} tries failed, the last with {type(last).__name__}: {last}"
    raise StoreError(f"cannot {doing} {url!r}: {why}") from last
