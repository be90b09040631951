"""The one error that reading a video raises."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import av

from vidselect_env.stores import StoreError

# What a damaged or hostile file makes the libraries raise, beside FFmpeg's errors: it asks for too much memory (torch
# says RuntimeError), its numbers are out of range, it cannot be read. Errors that only code can make (TypeError,
# AttributeError, NameError, LookupError, AssertionError) are not among them: they are ours and must be seen.
FILE_FAULTS = (OSError, MemoryError, ArithmeticError, ValueError, RuntimeError)


class VideoError(Exception):
    """A file cannot be read as a video; the message names the file and the reason.

    Attributes:
        path: the file.
        reason: what is wrong with it, one line.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)  # both arguments, so that the error can be pickled between processes
        self.path = os.fspath(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot read video {self.path!r}: {self.reason}"


@contextmanager
def faults_of(path: str | os.PathLike[str], *, doing: str = "decode") -> Iterator[None]:
    """Whatever a file makes the libraries raise becomes its `VideoError`, the first error being its cause.

    The one place where that is decided. What is raised for wrong arguments must be raised before. A store that fails
    is not the file's fault.

    Args:
        doing: what is done with the file meanwhile, for the message.
    """
    try:
        yield
    except StoreError:
        raise
    except av.FFmpegError as error:
        raise VideoError(path, f"FFmpeg cannot {doing} it: {error.strerror}") from error
    except FILE_FAULTS as error:
        message = " ".join(str(error).split())[:200]
        raise VideoError(path, f"to {doing} it fails: {type(error).__name__}: {message}") from error
