"""What the cache folder holds, banks and synthetic videos, and what of it can go.

Nothing is listed, and so nothing is ever removed, but folders that hold only files as this package names them.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from vidselect_env.bank import format
from vidselect_env.bank.spec import BankError
from vidselect_env.datasets.synthetic.making import LISTING

DAY_S = 24 * 60 * 60
_BANK_FILE = re.compile(
    r"(spec|manifest)\.json|build\.lock|(shard-\d+|progress-\d+-\d+)\.safetensors(\.sha256)?|.*\.\d+\.part"
)
_VIDEOS_FILE = re.compile(r"\d+\.mp4(\.part)?|dataset\.json(\.part)?|\.lock")
_VIDEOS_FOLDER = re.compile(r"synthetic-[0-9a-f]+")


@dataclass(frozen=True)
class Kept:
    """A folder of the cache: a bank, or a split of synthetic videos.

    kind: `bank` or `videos`. about: what it is of, a line. state: `whole`, `unfinished`, or `useless` (damaged, or of
        another version of the package: it is never opened again).
    size_bytes: of its files. unused_s: since anything of it was last read or written; file systems tell reading to
        within a day.
    """

    folder: Path
    kind: str
    about: str
    state: str
    size_bytes: int
    unused_s: float

    @property
    def lock(self) -> Path:
        """The file that who writes it holds."""
        return self.folder / (format.LOCK if self.kind == "bank" else ".lock")


def cached(cache: Path) -> list[Kept]:
    """Everything of ours in a cache folder, the longest unused first."""
    banks = [_bank(folder) for folder in _folders(cache / "banks") if _holds_only(folder, _BANK_FILE)]
    sets = [folder for folder in _folders(cache) if _VIDEOS_FOLDER.fullmatch(folder.name)]
    splits = [split for each in sets for split in _folders(each)]
    videos = [_videos(split) for split in splits if _holds_only(split, _VIDEOS_FILE)]
    return sorted([*banks, *videos], key=lambda kept: (-kept.unused_s, str(kept.folder)))


def prunable(
    kept: Iterable[Kept], *, unfinished: bool = False, unused_s: float | None = None, everything: bool = False
) -> list[Kept]:
    """What can go: the useless always, and what the arguments name.

    Args:
        unfinished: what was begun and is not whole. unused_s: what was not used for so long. everything: all.
    """

    def goes(each: Kept) -> bool:
        is_old = unused_s is not None and each.unused_s >= unused_s
        return everything or is_old or each.state == "useless" or (unfinished and each.state == "unfinished")

    return [each for each in kept if goes(each)]


def prune(kept: Sequence[Kept]) -> tuple[list[Kept], list[Kept]]:
    """Remove folders: those that are gone, and those that somebody writes to at the moment, which stay."""
    gone, busy = [], []
    for each in kept:
        lock = FileLock(each.lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            busy.append(each)
            continue
        try:
            for name in (format.MANIFEST, LISTING):  # a folder without it is unfinished, and never taken for whole
                (each.folder / name).unlink(missing_ok=True)
            shutil.rmtree(each.folder)
        finally:
            lock.release()
        if each.kind == "videos" and not any(each.folder.parent.iterdir()):
            each.folder.parent.rmdir()
        gone.append(each)
    return gone, busy


def _bank(folder: Path) -> Kept:
    state = "whole"
    try:
        spec = format.read_spec(folder)
        about = "begun" if spec is None else f"{spec.dataset}, {spec.split}: {spec.classifier}"
        if not (folder / format.MANIFEST).exists():
            state = "unfinished"
        else:
            manifest = format.read_manifest(folder)
            about += f", {manifest.num_videos} videos"
            if not all((folder / shard.file).exists() for shard in manifest.shards):
                state = "unfinished"
    except BankError as error:
        state, about = "useless", str(error).replace(str(folder), folder.name)
    return _measured(folder, "bank", about, state)


def _videos(folder: Path) -> Kept:
    num_videos = len(list(folder.glob("*.mp4")))
    state = "whole" if (folder / LISTING).exists() else "unfinished"
    return _measured(folder, "videos", f"{folder.parent.name}, {folder.name}: {num_videos} made videos", state)


def _measured(folder: Path, kind: str, about: str, state: str) -> Kept:
    stats = {file.name: file.stat() for file in folder.iterdir()}
    # Listing the cache reads the JSON files, which is no use of them.
    of_use = [each for name, each in stats.items() if not name.endswith(".json")] or [folder.stat()]
    used_s = max(max(each.st_atime, each.st_mtime) for each in of_use)
    size_bytes = sum(each.st_size for each in stats.values())
    return Kept(folder, kind, about, state, size_bytes, max(time.time() - used_s, 0.0))


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(each for each in parent.iterdir() if each.is_dir() and not each.is_symlink())


def _holds_only(folder: Path, names: re.Pattern[str]) -> bool:
    return all(names.fullmatch(each.name) and each.is_file() and not each.is_symlink() for each in folder.iterdir())
