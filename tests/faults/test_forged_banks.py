"""Banks with other values and all hashes made right again: each is a `BankError`, or can be used."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from damaged_banks import GONE, ODD_VALUES, Mutation, leaves, outcome_of, replaced, run_all
from safetensors import safe_open
from safetensors.torch import save_file

from vidselect_env.bank import BankError, format, open_bank


def write_forged(folder: Path, manifest: dict[str, Any]) -> None:
    manifest.pop("sha256", None)
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (folder / format.MANIFEST).write_text(json.dumps(manifest | {"sha256": digest}))


def forged_manifests(whole: Path) -> Iterator[Mutation]:
    manifest = json.loads((whole / format.MANIFEST).read_text())
    for path in leaves(manifest):
        for new in [GONE, *ODD_VALUES]:
            title = f"{'.'.join(map(str, path))} = {'(gone)' if new is GONE else repr(new)}"
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
        for new in [GONE, *ODD_VALUES[:-1]]:
            title = f"header {'.'.join(map(str, path))} = {'(gone)' if new is GONE else repr(new)}"
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
def test_a_forged_bank_is_refused_or_can_be_used(whole_bank, tmp_path, count_trial, forge):
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
    assert run_all(forge(whole_bank), whole_bank, tmp_path, judge, lambda how: count_trial(suite, how)) >= 300


def test_a_bank_that_names_a_video_twice_is_refused(whole_bank, tmp_path):
    folder = tmp_path / "twice"
    shutil.copytree(whole_bank, folder)
    file = format.shard_file(folder, 0)
    with safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()["vidselect"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    header["videos"][1]["path"] = header["videos"][0]["path"]
    write_shard(folder, header, tensors)
    with pytest.raises(BankError, match="twice"):
        open_bank(folder)
