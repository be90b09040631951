"""Damaged and unfinished runs and weights: what is wrong is one error, and what is written is right."""

from __future__ import annotations

import copy
import itertools
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from damaged_banks import GONE, leaves
from hostile import open_all
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vidselect_agents import make_agent
from vidselect_agents.base import FILE_NAME
from vidselect_agents.commands.saved import open_run, read_run
from vidselect_agents.commands.train import TrainConfig
from vidselect_classifiers import load_weights, make_classifier, save_weights
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.experiment.run import write_config
from vidselect_env.fitting.head import load_head, save_head

ODD_VALUES: list[Any] = [None, True, -1, 0, 1.5, 10**30, float("nan"), "", "x", [], {}, [None], {"a": 1}]


def make_env(bank) -> SelectVectorEnv:
    return SelectVectorEnv(ClipSelectProblem(BankSource(bank), observation="features"), num_envs=4)


def test_the_run_that_all_others_are_made_of_opens(received):
    open_all(received, classifier=True)


def config_mutations(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each value of a `config.json` that is read gone, and in the place of odd ones."""
    for path in leaves(config):
        if path[0] in ("versions", "commit"):
            continue
        for value in [GONE, *ODD_VALUES]:
            changed = copy.deepcopy(config)
            place = changed
            for key in path[:-1]:
                place = place[key]
            if value is GONE:
                del place[path[-1]]
            else:
                place[path[-1]] = value
            yield f"{'.'.join(map(str, path))} = {'(gone)' if value is GONE else repr(value)}", changed


@pytest.mark.slow
def test_a_run_with_a_mutated_configuration_opens_or_is_one_value_error(received, count_trial):
    config = json.loads((received / "config.json").read_text())
    broken, trials = [], 0
    for title, changed in config_mutations(config):
        trials += 1
        (received / "config.json").write_text(json.dumps(changed))
        outcome = "opened"
        try:
            open_all(received)
        except ValueError as error:
            outcome = "refused"
            if not str(error):
                broken.append(f"{title}: says nothing")
        except Exception as error:
            outcome = "broken"
            broken.append(f"{title}: {type(error).__name__}: {str(error)[:150]}")
        count_trial("runs, configurations", outcome)
    assert trials >= 300
    assert not broken, f"{len(broken)} of {trials}: " + "\n".join(broken[:40])


def tensor_files(file: Path) -> Iterator[tuple[str, bytes]]:
    """A file of tensors with its bytes damaged."""
    data = file.read_bytes()
    for at in range(0, len(data), max(len(data) // 12, 1)):
        yield f"cut at {at}", data[:at]
        yield f"flipped at {at}", data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]
    yield "empty", b""
    yield "noise", bytes(range(256)) * 4
    yield "long header", (2**40).to_bytes(8, "little") + data[8:]
    yield "deep header", len(b"[" * 90_000).to_bytes(8, "little") + b"[" * 90_000


def forged_tensors(file: Path) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    tensors = load_file(file)
    for name, value in itertools.islice(tensors.items(), 6):
        yield f"without {name}", {key: each for key, each in tensors.items() if key != name}
        for kind, other in {
            "nan": torch.full_like(value.float(), float("nan")),
            "shape": torch.zeros(3),
            "no dimension": torch.zeros(()),
            "empty": torch.zeros(0, 4),
            "integers": torch.zeros(value.shape, dtype=torch.int64),
        }.items():
            yield f"{name}: {kind}", tensors | {name: other}
    yield "one more", tensors | {"more": torch.zeros(2)}


def readers(folder: Path) -> dict[str, Callable[[], object]]:
    weights = folder / "weights.safetensors"
    return {
        FILE_NAME: lambda: open_run(folder).load_agent(),
        "head.safetensors": lambda: load_head(folder / "head.safetensors"),
        "weights.safetensors": lambda: load_weights(make_classifier("tiny_r3d"), weights),
    }


@pytest.mark.parametrize("name", [FILE_NAME, "head.safetensors", "weights.safetensors"])
def test_a_damaged_file_of_tensors_is_one_value_error_or_reads(received, count_trial, name):
    """A bit of a number may be another: only hashes tell, which banks have. No other error, and never a nan."""
    save_weights(make_classifier("tiny_r3d"), received / "weights.safetensors")
    file, read = received / name, readers(received)[name]
    whole, broken, refused = file.read_bytes(), [], 0
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    trials: list[tuple[str, Callable[[], object]]] = [
        (title, lambda data=data: file.write_bytes(data)) for title, data in tensor_files(file)
    ]
    trials += [
        (title, lambda tensors=tensors: save_file(tensors, file, metadata=metadata))
        for title, mapped in list(forged_tensors(file))
        for tensors in [{key: value.clone() for key, value in mapped.items()}]  # of the file that is written over
    ]
    for title, write in trials:
        write()
        try:
            read()
            outcome = "read"
            if "nan" in title:
                broken.append(f"{title}: accepted")
        except ValueError:
            outcome, refused = "refused", refused + 1
        except Exception as error:
            outcome = "broken"
            broken.append(f"{title}: {type(error).__name__}: {str(error)[:150]}")
        count_trial("runs and weights, tensors", outcome)
    file.write_bytes(whole)
    read()
    assert not broken, "\n".join(broken)
    assert refused > 20


# What is there of a run that was killed -------------------------------------------------------------------------------


def test_a_run_without_its_agent_is_said_to_be_unfinished(received):
    (received / FILE_NAME).unlink()
    with pytest.raises(ValueError, match=r"is not finished: it has no agent.safetensors"):
        open_run(received)
    assert read_run(received)[0].agent == "dsn"


def test_a_folder_without_configuration_is_no_run(received):
    (received / "config.json").unlink()
    with pytest.raises(ValueError, match=r"is no run: it has no config.json"):
        open_run(received)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002], ids=oct)
def test_written_files_follow_the_umask(tmp_path, make_bank, umask):
    agent = make_agent("dsn", make_env(make_bank()))
    before = os.umask(umask)
    try:
        agent.save(tmp_path / "agent.safetensors")
        save_head(torch.nn.Linear(2, 2), tmp_path / "head.safetensors")
        save_weights(make_classifier("tiny_r3d"), tmp_path / "weights.safetensors")
        write_config(tmp_path, experiment=TrainConfig())
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert len(modes) == 4
    assert set(modes.values()) == {0o666 & ~umask}


def test_weights_that_are_not_finite_are_not_saved(tmp_path, make_bank):
    agent = make_agent("dsn", make_env(make_bank()))
    with torch.no_grad():
        next(agent.modules().parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        agent.save(tmp_path / "agent.safetensors")
    classifier = make_classifier("tiny_r3d")
    with torch.no_grad():
        next(classifier.network.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="nan"):
        save_weights(classifier, tmp_path / "weights.safetensors")
    assert list(tmp_path.iterdir()) == []
