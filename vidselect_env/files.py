"""Files and folders: where made data is kept, and writing that a kill cannot leave half done."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

MOST_TEXT_BYTES = 1 << 28


def cache_dir() -> Path:
    """The folder for synthetic videos and banks, `$VIDSELECT_CACHE` or the user's cache; it need not exist yet."""
    chosen = os.environ.get("VIDSELECT_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("vidselect")


def writable_folder(path: Path) -> Path:
    """`path`, made if it is not there.

    Raises:
        PermissionError: it cannot be made or written to; the message names it and `VIDSELECT_CACHE`.
    """
    try:
        make_folder(path)
        writable = os.access(path, os.W_OK)
    except OSError as error:
        raise PermissionError(_refusal(path, error)) from error
    if not writable:
        raise PermissionError(_refusal(path, "no permission to write"))
    return path


def make_folder(path: Path, *, exist_ok: bool = True) -> None:
    """Make a folder, and those that it lies in, where there are none, so that a loss of power does not take them.

    Raises:
        FileExistsError: it is there, and that is not `exist_ok`, or it is a file.
    """
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=exist_ok)
    for each in missing:
        _sync(each.parent)


def clear_leftovers(folder: Path) -> None:
    """Remove what a writer that was killed had written aside; nobody may be writing into the folder."""
    for leftover in (*folder.glob("*.part"), *folder.glob(".tmp??????")):  # the latter are of safetensors
        leftover.unlink(missing_ok=True)


def write_aside(path: str | Path, write: Callable[[Path], object]) -> None:
    """Have `write` make a file beside `path`, and rename it to `path` once it is whole and on the disk.

    The file is as readable for others as the user's umask says, and the rename is synced with its folder, so that
    neither a kill nor a loss of power leaves a part of it under its name. What `write` left is removed if it fails.

    Raises:
        OSError: the disk is full, or refuses; the message names the file.
    """
    path = Path(path)
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with naming(path):
            aside.touch()  # with the umask's permissions: safetensors would give 0600 to a file that it makes
            write(aside)
            _sync(aside)
            os.replace(aside, path)
    except (SafetensorError, RuntimeError) as error:  # what writers in Rust and C++ make of a disk that is full
        raise OSError(f"cannot write {str(path)!r}: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
    _sync(path.parent)


def write_json(path: str | Path, data: Any, *, indent: int = 1) -> None:
    """JSON, whole or not at all; what JSON does not know is written as its text."""
    text = json.dumps(data, indent=indent, default=str) + "\n"
    write_aside(path, lambda aside: aside.write_text(text))


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], *, header: Mapping[str, Any] | None = None) -> None:
    """A safetensors file, whole or not at all; `header` is kept in it as JSON under `vidselect`."""
    metadata = None if header is None else {"vidselect": json.dumps(header)}
    whole: dict[str, Tensor] = {}
    for name, value in tensors.items():
        own = value.detach().contiguous().cpu()
        shares = any(own.data_ptr() == other.data_ptr() for other in whole.values())  # safetensors refuses that
        whole[name] = own.clone() if shares else own
    write_aside(path, lambda aside: _save(whole, aside, metadata))


def check_finite(tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """See that the numbers of a file, which is to be written or was read, are finite.

    Raises:
        ValueError: some are not; the message names the file and the tensor.
    """
    for name, value in tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(f"{name} of {str(path)!r} has numbers that are not finite")


def check_regular(path: str | os.PathLike[str]) -> None:
    """See that what somebody else may have sent is a file with an end: a pipe or `/dev/zero` can be read for ever.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is a folder, a pipe, a socket or a device, or a link to one.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{str(path)!r} is no regular file")


def read_bytes(path: str | Path) -> bytes:
    """All of a regular file that is read at once.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, or larger than any of those that are written here.
    """
    check_regular(path)
    if (size := os.stat(path).st_size) > MOST_TEXT_BYTES:
        raise ValueError(f"{str(path)!r} has {size} bytes: at most {MOST_TEXT_BYTES} are read of such a file")
    return Path(path).read_bytes()


def read_text(path: str | Path) -> str:
    """A regular file's text, UTF-8; raises as `read_bytes`, and a ValueError where it is none."""
    return read_bytes(path).decode("utf-8")


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """An `OSError` that names no file, as of a write to one that is open, names this one."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


@contextmanager
def locked(path: str | Path, *, waiting: str | None = None) -> Iterator[None]:
    """Hold a lock that is a file; `waiting` is said where another process holds it.

    Raises:
        OSError: it cannot be made; the message names the file.
    """
    lock = FileLock(path)
    with naming(path):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if waiting is not None:
                tqdm.write(waiting)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def sha256_of(file: Path) -> str:
    """Hash of a file's bytes."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _save(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None) -> None:
    mode = path.stat().st_mode
    save_file(tensors, path, metadata=metadata)
    path.chmod(mode)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
            os.fsync(handle)
    finally:
        os.close(handle)


def _refusal(path: Path, reason: object) -> str:
    return f"cannot write to {str(path)!r} ({reason}): make it writable, or set VIDSELECT_CACHE to another folder"
