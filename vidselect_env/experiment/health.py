"""What this machine has for the package: libraries, devices, codecs, room; and what it lacks.

Nothing here is required to be there: whatever is missing is said, and never raised.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import av
import torch
from packaging.requirements import Requirement

from vidselect_env.experiment.cache import cached
from vidselect_env.files import cache_dir, writable_folder

DISTRIBUTION = "vidselect-env"
DECODERS = ("h264", "hevc", "av1", "vp9", "mpeg4", "aac", "mp3", "opus")
ENCODERS = ("libx264", "aac")  # of the synthetic videos
LITTLE_ROOM_BYTES = 2 << 30  # the default problem takes less than a gigabyte


@dataclass(frozen=True)
class Finding:
    """One line: what, how it is with it, and whether that keeps something from working."""

    name: str
    value: str
    is_well: bool = True
    is_required: bool = False

    @property
    def fails(self) -> bool:
        return self.is_required and not self.is_well


def examine() -> dict[str, list[Finding]]:
    """Everything, by topic."""
    return {
        "libraries": libraries(),
        "extras": extras(),
        "devices": devices(),
        "codecs": codecs(),
        "cache": cache(),
    }


def libraries() -> list[Finding]:
    """Python, and what the package requires: the versions, and which are not there or not new enough."""
    python = Finding("python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    try:
        own = Finding(DISTRIBUTION, version(DISTRIBUTION))
    except PackageNotFoundError:
        return [python, Finding(DISTRIBUTION, "runs from its folder, and is not installed", is_well=False)]
    return [python, own, *(_of(each, is_required=True) for each in requirements().get("", ()))]


def extras() -> list[Finding]:
    """The extras, each with what is missing for it and how to get that."""
    found = []
    for extra, wanted in requirements().items():
        if not extra:
            continue
        lacking = [each.name for each in (_of(requirement) for requirement in wanted) if not each.is_well]
        install = f"pip install '{DISTRIBUTION}[{extra}]'"
        found.append(Finding(extra, f"{', '.join(lacking)} missing: {install}" if lacking else "there", not lacking))
    return found


def requirements() -> dict[str, list[Requirement]]:
    """What the installed package asks for, by extra; "" for what it cannot do without."""
    found: dict[str, list[Requirement]] = defaultdict(list)
    try:
        own = distribution(DISTRIBUTION)
    except PackageNotFoundError:
        return {}
    known = own.metadata.get_all("Provides-Extra") or []
    for text in own.requires or ():
        each = Requirement(text)
        if each.marker is None or each.marker.evaluate({"extra": ""}):
            found[""].append(each)
            continue
        for extra in known:
            if each.marker.evaluate({"extra": extra}):
                found[extra].append(each)
    return dict(found)


def devices() -> list[Finding]:
    """Processors and accelerators, as torch sees them."""
    found = [Finding("cpu", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads")]
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            traits = torch.cuda.get_device_properties(number)
            memory = f"{traits.total_memory / 2**30:.0f} GiB"
            found.append(Finding(f"cuda:{number}", f"{traits.name}, {memory}, CUDA {torch.version.cuda}"))
    else:
        built = torch.version.cuda
        reason = "this torch is built without it" if built is None else f"torch is built for CUDA {built}: no device"
        found.append(Finding("cuda", reason, is_well=False))
    if torch.backends.mps.is_available():
        found.append(Finding("mps", "Apple's"))
    return found


def codecs() -> list[Finding]:
    """FFmpeg's, as PyAV brings it along: what can be read, and what the synthetic videos are written with."""
    libraries = ", ".join(f"{name} {'.'.join(map(str, found))}" for name, found in sorted(av.library_versions.items()))
    found = [Finding("ffmpeg", libraries)]
    for mode, names in (("read", DECODERS), ("write", ENCODERS)):
        can = [name for name in names if _has_codec(name, mode[0])]
        lacking = [name for name in names if name not in can]
        text = ", ".join(can) + (f"; not {', '.join(lacking)}" if lacking else "")
        found.append(Finding(f"can {mode}", text, not lacking, is_required=mode == "write" or "h264" in lacking))
    return found


def cache() -> list[Finding]:
    """Where banks and made videos are kept, how much that is, and how much room is left."""
    folder = cache_dir()
    chosen = "VIDSELECT_CACHE" if os.environ.get("VIDSELECT_CACHE") else "the user's cache; VIDSELECT_CACHE changes it"
    kept = cached(folder)
    held = size_text(sum(each.size_bytes for each in kept))
    free_bytes = shutil.disk_usage(_nearest(folder)).free
    return [
        Finding("place", f"{folder} ({chosen})"),
        _writing(folder),
        Finding("holds", f"{held} in {len(kept)} folders" + ("; `vidselect cache list` shows them" if kept else "")),
        Finding("disk free", size_text(free_bytes), free_bytes >= LITTLE_ROOM_BYTES),
    ]


def size_text(num_bytes: float) -> str:
    """`1536` -> `1.5 kB`, in powers of 1000."""
    if num_bytes < 1000:
        return f"{num_bytes:.0f} B"
    units = ("kB", "MB", "GB", "TB")
    power = min(int(math.log10(num_bytes)) // 3, len(units))
    return f"{num_bytes / 1000**power:.1f} {units[power - 1]}"


def _of(requirement: Requirement, *, is_required: bool = False) -> Finding:
    """How it is with one requirement."""
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return Finding(requirement.name, "missing", is_well=False, is_required=is_required)
    is_well = requirement.specifier.contains(found, prereleases=True)
    text = found if is_well else f"{found}, and {requirement.specifier} is wanted"
    return Finding(requirement.name, text, is_well, is_required)


def _has_codec(name: str, mode: str) -> bool:
    try:
        av.Codec(name, mode)  # type: ignore[arg-type]
    except ValueError:  # PyAV's UnknownCodecError
        return False
    return True


def _writing(folder: Path) -> Finding:
    nearest = _nearest(folder)
    try:
        writable_folder(nearest)
    except PermissionError as error:
        return Finding("writable", str(error), is_well=False, is_required=True)
    return Finding("writable", "yes")


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(each for each in (folder, *folder.parents) if each.exists())
