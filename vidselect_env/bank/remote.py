"""Banks in object stores: opened by their headers, each shard fetched whole when rows of it are first asked for.

Shapes: R candidates of all videos together.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from vidselect_env.bank import format
from vidselect_env.bank.rows import Rows
from vidselect_env.bank.spec import BankError, BankSpec
from vidselect_env.files import sha256_of
from vidselect_env.stores import fetched, joined, put, read_range, size_of

# Of safetensors' headers, what our fields and spans may be.
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "I64": torch.int64,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
}
OPEN_SHARDS = 8  # mapped at once: what is mapped takes room on the disk even where its file was deleted
_MOST_HEADER_BYTES = 1 << 28


def read_remote_manifest(url: str) -> format.Manifest:
    """The manifest of a bank in a store.

    Raises:
        BankError: there is no finished bank, or a damaged manifest.
    """
    try:
        file = fetched(joined(url, format.MANIFEST))
    except FileNotFoundError as error:
        raise BankError(f"{url!r} is no bank, or is not finished") from error
    return format.parse_manifest(file, url)


def read_remote_shard(url: str, spec: BankSpec) -> format.Shard:
    """A shard by its header and spans alone: its fields have shapes and types, and no numbers.

    Raises:
        BankError: missing, damaged, or not one of this bank.
    """
    try:
        length = int.from_bytes(read_range(url, 0, 8), "little")
        if not 0 < length < _MOST_HEADER_BYTES:
            raise ValueError(f"its header would have {length} bytes")
        header = json.loads(read_range(url, 8, 8 + length))
        about = header.pop("__metadata__")
        start, end = (8 + length + place for place in header[format.SPANS]["data_offsets"])
        spans = torch.frombuffer(bytearray(read_range(url, start, end)), dtype=torch.float64) if end > start else None
        tensors = {
            name: torch.empty(entry["shape"], dtype=_DTYPES[entry["dtype"]], device="meta")
            for name, entry in header.items()
        }
        shape = tensors.pop(format.SPANS).shape
        spans_s = torch.zeros(shape, dtype=torch.float64) if spans is None else spans.view(shape)
        return format.shard_of(json.loads(about["vidselect"]), tensors, spans_s, spec)
    except OSError:  # of the store: `StoreError` says what, or there is no such file
        raise
    except Exception as error:  # whatever a damaged file makes of its readers
        raise BankError(f"shard {url!r} is damaged ({error}): {format.REBUILD}") from error


def check_remote_shard(url: str, size_bytes: int, *, verify: bool) -> None:
    """See that a shard is as large as the manifest says; with `verify`, fetch it and compare its hash.

    Raises:
        BankError: it is not.
    """
    size = size_of(url)
    if size != size_bytes:
        raise BankError(f"shard {url!r} has {size} bytes but the manifest says {size_bytes}")
    if verify and sha256_of(fetched(url)) != fetched(f"{url}.sha256").read_text():
        raise BankError(f"shard {url!r} does not have the hash that it was written with: {format.REBUILD}")


class FetchedShards:
    """The shards of a bank in a store, each fetched when it is first asked for; a few are mapped at once."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = list(urls)
        self._open: OrderedDict[int, dict[str, Tensor]] = OrderedDict()

    def tensor(self, number: int, name: str) -> Tensor:
        """A field of a shard, memory-mapped from its local copy."""
        if number not in self._open:
            with safe_open(fetched(self._urls[number]), framework="pt") as opened:
                self._open[number] = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            while len(self._open) > OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number][name]


class FetchedRows(Rows):
    """The rows of one field of a bank in a store.

    Args:
        parts: of each shard, the field's shape and type, as a tensor without numbers.
        shards: where they come from, in the same order.
    """

    def __init__(self, parts: Sequence[Tensor], *, name: str, shards: FetchedShards) -> None:
        super().__init__(parts)
        self._name, self._shards = name, shards

    def part(self, number: int) -> Tensor:
        return self._shards.tensor(number, self._name)


def claim_store(url: str, spec: BankSpec) -> None:
    """See that a finished bank at a URL, if there is one, is of this spec.

    Raises:
        BankError: it is of something else; the message lists what differs.
    """
    if size_of(joined(url, format.MANIFEST)) >= 0:
        found = read_remote_manifest(url).spec
        if differences := found.difference(spec):
            raise BankError(f"{url!r} holds another bank; {'; '.join(differences)}")


def publish(folder: Path, url: str) -> None:
    """Copy a finished bank into a store, its manifest last; what is there already, of the same size, stays.

    Raises:
        StoreError: the store fails; the bank there is not finished, and this can be repeated.
    """
    files = [entry.file for entry in format.read_manifest(folder).shards]
    names = [name for file in files for name in (file, format.hash_file(Path(file)).name)]
    for name in (format.SPEC, *names, format.MANIFEST):
        put(folder / name, joined(url, name))
