"""Damaged and forged banks: each opens as it was, or is a `BankError`; nothing else, and nothing silently wrong."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import itertools
import json
import os
import pickle
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from vidselect_env.bank import BankError, BankSpec, ClipBank, SkimSpec, format, open_bank
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import evaluate
from vidselect_env.evaluation.references import REFERENCES
from vidselect_env.video.clips import ClipGrid

Mutation = tuple[str, Callable[[Path], None]]
ODD_VALUES: list[Any] = [
    *(None, True, -1, 0, 1.5, 10**30, float("nan"), float("inf"), "", "x", [], {}, [None], {"a": 1}, [[[]]], "\ud800"),
]


def make_bank(folder: Path) -> Path:
    """Two shards of three videos with two or three candidates each; one more could not be read."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    spec = BankSpec(
        dataset="made by hand",
        split="train",
        dataset_fingerprint="0" * 64,
        class_names=("left", "right"),
        classifier="none",
        weights_sha256="1" * 64,
        classifier_gmacs=1.0,
        clip_resize=8,
        clip_crop=(8, 8),
        clip_mean=(0.0, 0.0, 0.0),
        clip_std=(1.0, 1.0, 1.0),
        grid=ClipGrid(num_clips=3, num_frames=2),
        fields=("logits", "features", "skim"),
        skim=SkimSpec(num_frames=2, resize=(4, 4), crop=(4, 4)),
    )
    format.write_spec(folder, spec)
    shards = []
    for number in range(2):
        videos = tuple(
            format.BankVideo(f"{number}/{place}.mp4", (place % 2,), 20, 2 + place % 2, action_spans_s=((0.0, 0.5),))
            for place in range(3)
        )
        rows = sum(video.num_clips for video in videos)
        fields = {
            "logits": torch.randn(rows, 2, generator=generator),
            "features": torch.randn(rows, 4, generator=generator),
            "skim": torch.randint(256, (rows, 2, 3, 4, 4), dtype=torch.uint8, generator=generator),
        }
        spans_s = torch.arange(2 * rows, dtype=torch.float64).view(rows, 2)
        skipped = (("1/broken.mp4", "it is no video"),) if number else ()
        shards.append(format.Shard(spec.sha256(), videos, skipped, fields, spans_s))
        format.write_shard(format.shard_file(folder, number), shards[-1])
    format.write_manifest(folder, spec, shards)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return make_bank(tmp_path_factory.mktemp("banks") / "whole")


@pytest.fixture
def count_in(record_property):
    def count(suite: str, outcome: str) -> None:
        record_property("fault_trial", [suite, outcome])

    return count


def content(bank: ClipBank) -> list[Any]:
    """All that a bank says, to be compared."""
    fields = [rows.joined().tolist() for _, rows in sorted(bank.fields.items())]
    spans = bank.candidate_spans_s().tolist()
    return [bank.spec.to_json(), bank.video_paths, bank.targets.tolist(), bank.skipped, spans, fields]


def use(bank: ClipBank) -> None:
    """What an experiment does with a bank."""
    bank.summary()
    problem = ClipSelectProblem(BankSource(bank), num_sections=2, num_clips=1)
    problem.observe(torch.arange(problem.num_contexts))
    assert 0 <= evaluate(REFERENCES["oracle"](), problem, name="oracle").top1 <= 1


def outcome_of(folder: Path, *, verify: bool) -> tuple[str, ClipBank | None]:
    """`refused`, or `opened` and used; everything else raises."""
    try:
        bank = open_bank(folder, verify=verify)
    except BankError:
        return "refused", None
    use(bank)
    return "opened", bank


def run_all(
    mutations: Iterator[Mutation],
    whole: Path,
    tmp_path: Path,
    judge: Callable[[Path], str],
    count: Callable[[str], None],
) -> int:
    """Try each mutation on a copy of the bank; the number of trials. All broken ones are named at the end."""
    broken, trials = [], 0
    for title, mutate in mutations:
        trials += 1
        folder = tmp_path / "trial"
        shutil.copytree(whole, folder)
        try:
            mutate(folder)
            outcome = judge(folder)
        except Exception as error:
            broken.append(f"{title}: {type(error).__name__}: {str(error)[:200]}")
            outcome = "broken"
        count(outcome)
        shutil.rmtree(folder)
    assert not broken, f"{len(broken)} of {trials}: " + "\n".join(broken[:40])
    return trials


# Bytes ----------------------------------------------------------------------------------------------------------------


def byte_mutations(whole: Path, seed: int = 0) -> Iterator[Mutation]:
    """Flipped bits, cut, lengthened, emptied, overwritten and missing files, and files in each other's place."""
    rng = random.Random(seed)
    names = sorted(file.name for file in whole.iterdir())
    for name in names:
        size = (whole / name).stat().st_size
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
        yield f"{name}: a folder", _a_folder(name)
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


def _a_folder(name: str) -> Callable[[Path], None]:
    def mutate(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return mutate


@pytest.mark.slow
def test_a_bank_with_damaged_bytes_is_refused_or_unharmed(whole, tmp_path, count_in):
    before = content(open_bank(whole, verify=True))

    def judge(folder: Path) -> str:
        _, bank = outcome_of(folder, verify=True)
        assert bank is None or content(bank) == before, "opened with other content"
        outcome_of(folder, verify=False)  # may be read as it is, and must not fail in another way
        return "refused" if bank is None else "unharmed"

    trials = run_all(byte_mutations(whole), whole, tmp_path, judge, lambda how: count_in("banks, bytes", how))
    assert trials >= 500


# Values, with all hashes made right again -----------------------------------------------------------------------------


def leaves(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Where in a JSON value something stands."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[key], (*path, key))


def replaced(value: Any, path: tuple, new: Any) -> Any:
    changed = copy.deepcopy(value)
    place = changed
    for key in path[:-1]:
        place = place[key]
    if new is _GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = new
    return changed


_GONE = object()


def write_forged(folder: Path, manifest: dict[str, Any]) -> None:
    manifest.pop("sha256", None)
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (folder / format.MANIFEST).write_text(json.dumps(manifest | {"sha256": digest}))


def forged_manifests(whole: Path) -> Iterator[Mutation]:
    manifest = json.loads((whole / format.MANIFEST).read_text())
    for path in leaves(manifest):
        for new in [_GONE, *ODD_VALUES]:
            title = f"{'.'.join(map(str, path))} = {'(gone)' if new is _GONE else repr(new)}"
            yield title, lambda folder, path=path, new=new: write_forged(folder, replaced(manifest, path, new))
    first, second = manifest["shards"]
    for title, shards in (
        ("one of two", [first]),
        ("none", []),
        ("one twice", [first, first]),
        ("turned", [second, first]),
    ):
        yield f"shards: {title}", lambda f, s=shards: write_forged(f, manifest | {"shards": s})
        yield (
            f"shards, counted: {title}",
            lambda f, s=shards: write_forged(f, manifest | {"shards": s, "num_videos": 3 * len(s)}),
        )
    for away in ("../whole/shard-00000.safetensors", "/etc/passwd", "/dev/zero", "manifest.json"):
        entry = {"file": away, "size_bytes": first["size_bytes"]}
        yield f"file {away}", lambda f, e=entry: write_forged(f, manifest | {"shards": [e, second]})


def forged_shards(whole: Path) -> Iterator[Mutation]:
    file = format.shard_file(whole, 0)
    with safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()["vidselect"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    for path in leaves(header):
        for new in [_GONE, *ODD_VALUES[:-1]]:
            title = f"header {'.'.join(map(str, path))} = {'(gone)' if new is _GONE else repr(new)}"
            yield title, lambda folder, path=path, new=new: write_shard(folder, replaced(header, path, new), tensors)
    for name, value in tensors.items():
        others = [value[:-1], value[:0], value.double(), value.long(), value.half(), value.flatten(), value[None]]
        others += [torch.cat([value, value]), value.bool(), torch.zeros(()), value.float() * float("nan")]
        others += [torch.full_like(value.float(), float("inf"))]
        for other in others:
            changed = tensors | {name: other.contiguous()}
            title = f"{name} {tuple(other.shape)} {other.dtype}"
            yield title, lambda folder, changed=changed: write_shard(folder, header, changed)
        rest = {key: each for key, each in tensors.items() if key != name}
        yield f"without {name}", lambda folder, rest=rest: write_shard(folder, header, rest)
        yield f"{name} twice", lambda f, n=name, v=value: write_shard(f, header, tensors | {f"{n}2": v.clone()})


def write_shard(folder: Path, header: Any, tensors: dict[str, torch.Tensor]) -> None:
    """In the place of the first one, with its hash and its size in the manifest."""
    file = format.shard_file(folder, 0)
    save_file(tensors, file, metadata={"vidselect": json.dumps(header)})
    format.hash_file(file).write_text(hashlib.sha256(file.read_bytes()).hexdigest())
    manifest = json.loads((folder / format.MANIFEST).read_text())
    manifest["shards"][0]["size_bytes"] = file.stat().st_size
    write_forged(folder, manifest)


@pytest.mark.slow
@pytest.mark.parametrize("forge", [forged_manifests, forged_shards], ids=["manifests", "shards"])
def test_a_forged_bank_is_refused_or_can_be_used(whole, tmp_path, count_in, forge):
    def judge(folder: Path) -> str:
        outcome, bank = outcome_of(folder, verify=True)
        if bank is not None:
            assert set(bank.spec.class_names) == {"left", "right"}, "class names that no shard was made with"
            assert bank.num_videos == 6, "videos are missing"
            for name in ("logits", "features"):
                assert bank.field(name).joined().isfinite().all()
        outcome_of(folder, verify=False)
        return outcome

    suite = f"banks, {forge.__name__.replace('_', ' ')}"
    assert run_all(forge(whole), whole, tmp_path, judge, lambda how: count_in(suite, how)) >= 300


def test_a_specs_file_that_is_damaged_is_refused_by_building_on(whole, tmp_path):
    for number, text in enumerate(("", "{}", "[]", "null", '{"format_version": 4}', "[" * 100_000, "\x00")):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        (folder / format.SPEC).write_text(text)
        with pytest.raises(BankError):
            format.read_spec(folder)


class Payload:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("zipped", [False, True], ids=["pickle", "archive"])
@pytest.mark.parametrize(
    "name", ["manifest.json", "spec.json", "shard-00000.safetensors", "shard-00000.safetensors.sha256"]
)
def test_a_pickled_bank_executes_nothing(whole, tmp_path, count_in, name, zipped):
    folder, mark = tmp_path / "pickled", tmp_path / "executed"
    shutil.copytree(whole, folder)
    if zipped:
        torch.save(Payload(mark), folder / name)
    else:
        (folder / name).write_bytes(pickle.dumps(Payload(mark)))
    for read in (lambda: open_bank(folder, verify=True), lambda: format.read_spec(folder)):
        with contextlib.suppress(BankError):
            read()
    assert not mark.exists()
    count_in("hostile runs", "nothing executed")


def test_a_bank_that_names_a_video_twice_is_refused(whole, tmp_path):
    folder = tmp_path / "twice"
    shutil.copytree(whole, folder)
    file = format.shard_file(folder, 0)
    with safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()["vidselect"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    header["videos"][1]["path"] = header["videos"][0]["path"]
    write_shard(folder, header, tensors)
    with pytest.raises(BankError, match="twice"):
        open_bank(folder)
