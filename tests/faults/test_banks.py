"""Damaged banks: each opens as it was, or is a `BankError`; nothing else, and nothing silently wrong."""

from __future__ import annotations

import itertools
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from damaged_banks import Mutation, content, outcome_of, run_all

from vidselect_env.bank import BankError, format, open_bank


def byte_mutations(whole_bank: Path, seed: int = 0) -> Iterator[Mutation]:
    """Flipped bits, cut, lengthened, emptied, overwritten and missing files, and files in each other's place."""
    rng = random.Random(seed)
    names = sorted(file.name for file in whole_bank.iterdir())
    for name in names:
        size = (whole_bank / name).stat().st_size
        for _ in range(30):
            yield f"{name}: bit", _flipped(name, rng.randrange(size), 1 << rng.randrange(8))
        for _ in range(20):
            yield f"{name}: cut", _cut(name, rng.randrange(size))
        for _ in range(15):
            more = rng.randbytes(rng.randrange(1, 40))
            at = rng.randrange(size + 1)
            yield f"{name}: inserted", _edited(name, lambda data, at=at, more=more: data[:at] + more + data[at:])
        for _ in range(10):
            at, length = rng.randrange(size), rng.randrange(1, 64)
            yield f"{name}: zeros", _edited(name, lambda data, a=at, n=length: data[:a] + bytes(n) + data[a + n :])
        for _ in range(10):
            noise = rng.randbytes(size)
            yield f"{name}: noise", _edited(name, lambda data, noise=noise: noise)
        for text in ("", "null", "[]", "{}", "[" * 100_000, '{"spec": {}}', '{"spec": []}', "\x00", "1e999"):
            yield f"{name}: {text[:12]!r}", _edited(name, lambda data, text=text: text.encode())
        yield f"{name}: missing", lambda folder, name=name: (folder / name).unlink()
        yield f"{name}: a folder", in_its_place(name, os.mkdir)
        yield f"{name}: a pipe", in_its_place(name, os.mkfifo)
        yield f"{name}: endless", in_its_place(name, lambda file: os.symlink("/dev/zero", file))
        yield f"{name}: itself", in_its_place(name, lambda file: os.symlink(file, file))
    for one, other in itertools.permutations(names, 2):
        yield f"{one} <- {other}", lambda f, a=one, b=other: (f / a).write_bytes((f / b).read_bytes())


def _flipped(name: str, at: int, bit: int) -> Callable[[Path], None]:
    return _edited(name, lambda data: data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])


def _cut(name: str, at: int) -> Callable[[Path], None]:
    return _edited(name, lambda data: data[:at])


def _edited(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def mutate(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return mutate


def in_its_place(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def mutate(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return mutate


@pytest.mark.slow
def test_a_bank_with_damaged_bytes_is_refused_or_unharmed(whole_bank, tmp_path, count_trial):
    before = content(open_bank(whole_bank, verify=True))

    def judge(folder: Path) -> str:
        _, bank = outcome_of(folder, verify=True)
        assert bank is None or content(bank) == before, "opened with other content"
        outcome_of(folder, verify=False)  # may be read as it is, and must not fail in another way
        return "refused" if bank is None else "unharmed"

    trials = run_all(
        byte_mutations(whole_bank), whole_bank, tmp_path, judge, lambda how: count_trial("banks, bytes", how)
    )
    assert trials >= 500


def test_a_specs_file_that_is_damaged_is_refused_by_building_on(whole_bank, tmp_path):
    for number, text in enumerate(("", "{}", "[]", "null", '{"format_version": 4}', "[" * 100_000, "\x00")):
        folder = tmp_path / str(number)
        shutil.copytree(whole_bank, folder)
        (folder / format.SPEC).write_text(text)
        with pytest.raises(BankError):
            format.read_spec(folder)
