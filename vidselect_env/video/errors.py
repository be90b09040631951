"""The one error that reading a video raises."""

from __future__ import annotations

import os


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
