"""Where made data lives between runs: `$VIDSELECT_CACHE`, or the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """The folder for synthetic videos and banks; it need not exist yet."""
    chosen = os.environ.get("VIDSELECT_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("vidselect")


def writable_folder(path: Path) -> Path:
    """`path`, made if it is not there.

    Raises:
        PermissionError: it cannot be made or written to; the message names it and `VIDSELECT_CACHE`.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        writable = os.access(path, os.W_OK)
    except OSError as error:
        raise PermissionError(_refusal(path, error)) from error
    if not writable:
        raise PermissionError(_refusal(path, "no permission to write"))
    return path


def _refusal(path: Path, reason: object) -> str:
    return f"cannot write to {str(path)!r} ({reason}): make it writable, or set VIDSELECT_CACHE to another folder"
