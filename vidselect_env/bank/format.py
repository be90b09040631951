"""A bank's files: their names, a shard in and out, hashes, the manifest. What building and opening share.

spec.json                     what the bank is of
shard-00000.safetensors       the fields of up to 64 videos; its header lists them
shard-00000.safetensors.sha256    hash of its bytes, taken when they were written
progress-00001-00000.safetensors  of a shard that is not whole yet, see `progress`
manifest.json                 written last: the shards, what was skipped, and a hash of itself
build.lock                    held by the process that builds
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from vidselect_env.bank.dtypes import dtype_of
from vidselect_env.bank.spec import OUTPUTS, BankError, BankSpec
from vidselect_env.files import check_regular, read_text, sha256_of, write_aside, write_json, write_tensors
from vidselect_env.settings import LARGEST_COUNT, from_json, typed
from vidselect_env.video.segment import check_segment

SPANS = "spans_s"
MANIFEST, SPEC, LOCK = "manifest.json", "spec.json", "build.lock"
REBUILD = "delete it and build the bank again"


@dataclass(frozen=True)
class BankVideo:
    """A video of a shard: its file and part of it, class indices, frames, rows in the fields, where its action is.

    Raises:
        ValueError: a value of another type, or out of range.
    """

    path: str
    labels: tuple[int, ...]
    num_frames: int
    num_clips: int
    segment_s: tuple[float | None, float | None] = (None, None)
    action_spans_s: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        # Of every video of a bank, whenever it is opened: plain checks, several times as quick as `typed`.
        labels, segment_s = tuple(self.labels), tuple(self.segment_s)
        spans_s = tuple((float(start_s), float(end_s)) for start_s, end_s in self.action_spans_s)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "segment_s", segment_s)
        object.__setattr__(self, "action_spans_s", spans_s)
        if not isinstance(self.path, str) or not labels or not all(type(label) is int for label in labels):
            raise ValueError(f"video {self.path!r} with labels {labels!r} must have a path and integer labels")
        for name in ("num_frames", "num_clips"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= LARGEST_COUNT:
                raise ValueError(f"{name} ({value!r}) of {self.path!r} must be a positive integer of 63 bits")
        if len(segment_s) != 2 or not all(value is None or type(value) in (int, float) for value in segment_s):
            raise ValueError(f"segment_s ({segment_s!r}) of {self.path!r} must be two numbers of seconds, or null")
        check_segment(*segment_s)
        for start_s, end_s in spans_s:
            check_segment(start_s, end_s, name="action_")


@dataclass(frozen=True)
class Shard:
    """What a shard holds: its videos, those that could not be read with the reason, and the fields, each (R, ...).

    spans_s: (R, 2) float64, from where to where each candidate is, seconds of its file.
    """

    spec_sha256: str
    videos: tuple[BankVideo, ...]
    skipped: tuple[tuple[str, str], ...]
    fields: dict[str, Tensor]
    spans_s: Tensor


@dataclass(frozen=True)
class ShardEntry:
    """What the manifest says of a shard: the name of its file, and its bytes."""

    file: str
    size_bytes: int


@dataclass(frozen=True)
class Manifest:
    """What the manifest says: what the bank is of, what made it, how many videos, which were skipped and why, shards.

    Raises:
        ValueError: the shards are not the bank's own, each once and in order.
    """

    spec: BankSpec
    versions: dict[str, str]
    num_videos: int
    skipped: tuple[tuple[str, str], ...]
    shards: tuple[ShardEntry, ...]

    def __post_init__(self) -> None:
        for number, shard in enumerate(self.shards):
            if shard.file != shard_name(number):
                raise ValueError(f"shard {number} is called {shard.file[:80]!r}, not {shard_name(number)!r}")


def shard_name(number: int) -> str:
    """`shard-00003.safetensors`."""
    return f"shard-{number:05d}.safetensors"


def shard_file(folder: Path, number: int) -> Path:
    """The file of a shard."""
    return folder / shard_name(number)


def hash_file(shard: Path) -> Path:
    """Where a shard's hash stands."""
    return shard.with_name(f"{shard.name}.sha256")


def write_shard(file: Path, shard: Shard) -> None:
    """Write a shard and, before it has its name, its hash."""
    header = {
        "spec_sha256": shard.spec_sha256,
        "videos": [vars(video) for video in shard.videos],
        "skipped": shard.skipped,
    }

    def write(aside: Path) -> None:
        write_tensors(aside, {**shard.fields, SPANS: shard.spans_s}, header=header)
        digest = sha256_of(aside)
        write_aside(hash_file(file), lambda beside: beside.write_text(digest))

    write_aside(file, write)


def read_shard(file: Path, spec: BankSpec) -> Shard:
    """A shard, its fields memory-mapped, checked against the bank's spec.

    Raises:
        BankError: truncated, not a shard, or not one of this bank.
    """
    try:
        check_regular(file)
        with safe_open(file, framework="pt") as opened:
            header = json.loads((opened.metadata() or {})["vidselect"])
            fields = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        return shard_of(header, fields, fields.pop(SPANS), spec)
    except FileNotFoundError as error:
        raise BankError(f"shard {str(file)!r} is missing: build the bank again") from error
    except Exception as error:  # whatever a damaged file makes of its readers
        raise BankError(f"shard {str(file)!r} is damaged ({error}): {REBUILD}") from error


def shard_of(header: dict[str, Any], fields: dict[str, Tensor], spans_s: Tensor, spec: BankSpec) -> Shard:
    """A shard from its header and tensors, checked against the bank's spec.

    Raises:
        Exception: whatever a damaged header makes of its readers.
    """
    shard = Shard(
        header["spec_sha256"],
        tuple(BankVideo(**video) for video in header["videos"]),
        typed(header["skipped"], tuple[tuple[str, str], ...], name="skipped"),
        fields,
        spans_s,
    )
    _check_shard(shard, spec)
    return shard


def check_hash(file: Path) -> None:
    """Compare a shard's bytes with the hash that was taken when it was written.

    Raises:
        BankError: they differ, or there is no hash.
    """
    try:
        wanted = read_text(hash_file(file))
    except (OSError, ValueError) as error:
        raise BankError(f"shard {str(file)!r} has no hash beside it ({error}): {REBUILD}") from error
    if sha256_of(file) != wanted:
        raise BankError(f"shard {str(file)!r} does not have the hash that it was written with: {REBUILD}")


def write_manifest(folder: Path, spec: BankSpec, shards: Sequence[Shard]) -> None:
    """List the shards; last, so that a bank with a manifest is whole."""
    files = [shard_file(folder, number) for number in range(len(shards))]
    content = {
        "spec": spec.to_json(),
        "versions": versions(),
        "num_videos": sum(len(shard.videos) for shard in shards),
        "skipped": [skipped for shard in shards for skipped in shard.skipped],
        "shards": [{"file": file.name, "size_bytes": file.stat().st_size} for file in files],
    }
    write_json(folder / MANIFEST, content | {"sha256": _hash_of(content)})


def read_manifest(folder: Path) -> Manifest:
    """What `write_manifest` wrote.

    Raises:
        BankError: no or an unfinished bank there, a damaged manifest, or another format version.
    """
    try:
        return parse_manifest(folder / MANIFEST, str(folder))
    except (FileNotFoundError, NotADirectoryError) as error:
        state = "is not finished: build it again, it resumes" if list(folder.glob("shard-*")) else "is no bank"
        raise BankError(f"{str(folder)!r} {state}") from error


def parse_manifest(file: Path, folder: str) -> Manifest:
    """What is in the manifest of the bank called `folder`.

    Raises:
        BankError: it is damaged, or of another format version.
        FileNotFoundError, NotADirectoryError: there is none.
    """
    try:
        manifest = json.loads(read_text(file))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise BankError(f"the manifest of the bank {folder!r} is damaged ({error}): {REBUILD}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("spec"), dict):
        raise BankError(f"the manifest of the bank {folder!r} is damaged (it has no spec): {REBUILD}")
    BankSpec.check_version(manifest["spec"])
    if manifest.pop("sha256", None) != _hash_of(manifest):
        raise BankError(f"the manifest of the bank {folder!r} is damaged (its hash differs): {REBUILD}")
    try:
        return from_json(Manifest, manifest)
    except ValueError as error:
        raise BankError(f"the manifest of the bank {folder!r} is damaged ({error}): {REBUILD}") from error


def write_spec(folder: Path, spec: BankSpec) -> None:
    """Say what the bank in an empty folder is of."""
    write_json(folder / SPEC, spec.to_json())


def read_spec(folder: Path) -> BankSpec | None:
    """What the folder's bank is of; None where nothing was begun.

    Raises:
        BankError: a damaged file, or another format version.
    """
    try:
        return BankSpec.from_json(json.loads(read_text(folder / SPEC)))
    except FileNotFoundError:
        return None
    except BankError:
        raise
    except Exception as error:  # whatever a damaged file makes of its readers
        raise BankError(f"{str(folder / SPEC)!r} is damaged ({error}): delete the folder and build again") from error


def _check_shard(shard: Shard, spec: BankSpec) -> None:
    if shard.spec_sha256 != spec.sha256():
        raise ValueError("it is of another bank")
    num_rows = sum(video.num_clips for video in shard.videos)
    wanted = spec.fields if shard.videos else ()
    if set(shard.fields) != set(wanted):
        raise ValueError(f"its fields are {sorted(shard.fields)}, not {sorted(wanted)}")
    if shard.spans_s.shape != (num_rows, 2):
        raise ValueError(f"{SPANS} is of shape {tuple(shard.spans_s.shape)}, not {(num_rows, 2)}")
    for name, rows in shard.fields.items():
        dtype = dtype_of(name, spec)
        if rows.dtype != dtype or len(rows) != num_rows:
            raise ValueError(f"{name} is {tuple(rows.shape)} {rows.dtype}, not {num_rows} rows of {dtype}")
        if name not in OUTPUTS and tuple(rows.shape[1:]) != spec.shape(name):
            raise ValueError(f"{name} is of shape {tuple(rows.shape[1:])}, not {spec.shape(name)}")
    for video in shard.videos:
        if not all(0 <= label < len(spec.class_names) for label in video.labels):
            raise ValueError(f"labels {video.labels} of {video.path!r} are out of range")


def _hash_of(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def versions() -> dict[str, str]:
    import av
    import torchvision

    return {"torch": torch.__version__, "torchvision": torchvision.__version__, "av": av.__version__}
