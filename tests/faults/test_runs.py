"""Runs and weights that somebody else may have sent: nothing of them is executed, and what is damaged is one error."""

from __future__ import annotations

import copy
import itertools
import json
import os
import pickle
import shutil
import stat
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from vidselect_agents import commands, make_agent
from vidselect_agents.base import FILE_NAME
from vidselect_agents.commands.benchmark_jobs import TimedResult
from vidselect_agents.commands.checkpoint import CHECKPOINT, Checkpoints
from vidselect_agents.commands.saved import open_run, read_run
from vidselect_agents.commands.train import TrainConfig
from vidselect_agents.registry import settings_of
from vidselect_classifiers import load_weights, make_classifier, save_weights
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.splits import read_results
from vidselect_env.experiment.run import write_config
from vidselect_env.fitting.head import load_head, save_head

ODD_VALUES: list[Any] = [None, True, -1, 0, 1.5, 10**30, float("nan"), "", "x", [], {}, [None], {"a": 1}]
MARK = "executed"


def make_env(bank) -> SelectVectorEnv:
    return SelectVectorEnv(ClipSelectProblem(BankSource(bank), observation="features"), num_envs=4)


@pytest.fixture(scope="module")
def sent(tmp_path_factory, make_bank) -> Path:
    """A run of DSN with a head, as `train` leaves it."""
    folder = tmp_path_factory.mktemp("sent") / "dsn-run"
    folder.mkdir()
    env = make_env(make_bank())
    agent = make_agent("dsn", env)
    classes = ("north", "east", "south", "west")
    settings = settings_of("dsn")
    write_config(
        folder, experiment=TrainConfig(), agent_settings=settings, class_names=classes, shapes=env.shapes.to_json()
    )
    save_head(torch.nn.Linear(5, 4), folder / "head.safetensors")
    agent.save(folder / FILE_NAME)
    return folder


@pytest.fixture
def received(sent, tmp_path) -> Path:
    return shutil.copytree(sent, tmp_path / "received")


@pytest.fixture
def count_in(record_property):
    def count(suite: str, outcome: str) -> None:
        record_property("fault_trial", [suite, outcome])

    return count


def open_all(folder: Path, *, trust: bool = False) -> None:
    """What evaluating and recognising do with a run's files."""
    saved = open_run(folder, trust=trust)
    saved.load_head()
    saved.load_agent()


def change(folder: Path, path: tuple, value: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (folder / "config.json").write_text(json.dumps(config))


def test_the_run_that_all_others_are_made_of_opens(received):
    open_all(received)


# Code -----------------------------------------------------------------------------------------------------------------


class Payload:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


def module_with_a_mark(file: Path, mark: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f"import os\nos.mkdir({str(mark)!r})\ndef Evil(*a, **k): os.mkdir({str(mark)!r})\nEvil.load = Evil\n"
    )


AGENT, CLASSIFIER = ("experiment", "agent"), ("experiment", "classifier", "classifier")


def _own_module(folder: Path, mark: Path) -> None:
    module_with_a_mark(folder / "evil_plugin.py", mark)
    sys.path.insert(0, str(folder))
    change(folder, AGENT, "evil_plugin:Evil")


def _own_package(folder: Path, mark: Path) -> None:
    """The folder itself as a package, from the folder that it lies in."""
    module_with_a_mark(folder / "inner.py", mark)
    sys.path.insert(0, str(folder.parent))
    change(folder, AGENT, f"{folder.name}.inner:Evil")


def _own_classifier(folder: Path, mark: Path) -> None:
    module_with_a_mark(folder / "evil_network.py", mark)
    sys.path.insert(0, str(folder))
    change(folder, CLASSIFIER, "evil_network:Evil")


def _own_entry_point(folder: Path, mark: Path) -> None:
    """A distribution "installed" inside the run's folder, from which Python was started."""
    module_with_a_mark(folder / "evil_entry.py", mark)
    info = folder / "evil-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vidselect.agents]\nevil = evil_entry:Evil\n")
    sys.path.insert(0, str(folder))
    change(folder, AGENT, "evil")


def _link_to_own_module(folder: Path, mark: Path) -> None:
    """From a folder beside, whose module is a link into the run's."""
    module_with_a_mark(folder / "linked.py", mark)
    beside = folder.parent / "beside"
    beside.mkdir()
    (beside / "evil_link.py").symlink_to(folder / "linked.py")
    sys.path.insert(0, str(beside))
    change(folder, AGENT, "evil_link:Evil")


def _pickled(name: str) -> Callable[[Path, Path], None]:
    def attack(folder: Path, mark: Path) -> None:
        (folder / name).write_bytes(pickle.dumps(Payload(mark)))

    return attack


def _zipped(name: str) -> Callable[[Path, Path], None]:
    """As `torch.save` and Stable-Baselines3 pack what they write."""

    def attack(folder: Path, mark: Path) -> None:
        with zipfile.ZipFile(folder / name, "w") as archive:
            for inside in ("archive/data.pkl", "data", "data.pkl", "policy.pth"):
                archive.writestr(inside, pickle.dumps(Payload(mark)))
            archive.writestr("archive/version", "3")

    return attack


def _named(path: tuple, name: str) -> Callable[[Path, Path], None]:
    """A function of an installed package that would unpickle a file of the run, or run a command."""

    def attack(folder: Path, mark: Path) -> None:
        _pickled(FILE_NAME)(folder, mark)
        change(folder, path, name)

    return attack


ATTACKS: dict[str, Callable[[Path, Path], None]] = {
    "an agent's module in the run": _own_module,
    "the run as a package": _own_package,
    "a classifier's module in the run": _own_classifier,
    "an entry point in the run": _own_entry_point,
    "a link into the run": _link_to_own_module,
    "a pickled agent": _pickled(FILE_NAME),
    "a zipped agent": _zipped(FILE_NAME),
    "a pickled head": _pickled("head.safetensors"),
    "a zipped head": _zipped("head.safetensors"),
    "a pickled configuration": _pickled("config.json"),
    "Stable-Baselines3's archive beside": _zipped("agent.zip"),
    **{f"agent {name}": _named(AGENT, name) for name in (
        "stable_baselines3:PPO", "pickle:load", "pickle:Unpickler", "os:system", "os.path:join", "builtins:eval",
        "torch:load", "torch.hub:load", "cloudpickle:load", "subprocess:run", ".relative:Evil", "../up:Evil", ":", "a:",
    )},
    **{f"classifier {name}": _named(CLASSIFIER, name) for name in (
        "os:system", "torch.hub:load", "builtins:exec", "pickle:load", "code:interact", "/tmp/x.py:f",
    )},
}  # fmt: skip


@pytest.mark.parametrize("trust", [False, True], ids=["untrusted", "trusted"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_opening_a_run_executes_nothing(received, tmp_path, monkeypatch, count_in, attack, trust):
    """With `trust` an installed module may be imported, but still nothing from inside the folder."""
    if trust and attack.startswith(("agent ", "classifier ")):
        pytest.skip("an installed module that the user says to trust may do what it likes")
    mark = tmp_path / MARK
    monkeypatch.setattr(sys, "path", list(sys.path))
    ATTACKS[attack](received, mark)
    if attack == "Stable-Baselines3's archive beside":
        open_all(received, trust=trust)  # nobody reads it
    else:
        with pytest.raises(ValueError, match=r".+"):
            open_all(received, trust=trust)
    assert not mark.exists()
    count_in("hostile runs", "nothing executed")


@pytest.mark.parametrize("command", ["evaluate", "recognise", "train --resume"])
def test_the_commands_execute_nothing_of_a_run_and_say_what_would_allow_it(
    received, tmp_path, monkeypatch, capsys, command
):
    module_with_a_mark(tmp_path / "beside" / "evil_beside.py", tmp_path / MARK)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "beside"), *sys.path])
    change(received, AGENT, "evil_beside:Evil")
    given = {"recognise": ["recognise", "--run", str(received), "x.mp4"]}.get(
        command, [*command.split(), str(received)]
    )
    with pytest.raises(SystemExit) as end:
        commands.main(given)
    said = capsys.readouterr().err.strip()
    assert end.value.code == 2
    assert said.count("\n") == 0
    assert "--trust" in said
    assert not (tmp_path / MARK).exists()


def test_a_plugin_beside_the_run_is_imported_with_trust(received, tmp_path, monkeypatch):
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "honest_plugin.py").write_text(
        "class Honest:\n    def select(self, looks): return looks.valid\n"
        "    @classmethod\n    def load(cls, path): return cls()\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path / "beside"), *sys.path])
    change(received, AGENT, "honest_plugin:Honest")
    change(received, ("agent_settings",), {})
    with pytest.raises(ValueError, match="--trust"):
        open_run(received)
    assert open_run(received, trust=True).load_agent().inner.__class__.__name__ == "Honest"


# Values ---------------------------------------------------------------------------------------------------------------


def config_mutations(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each value of a `config.json` that is read gone, and in the place of odd ones."""
    for path in _leaves(config):
        if path[0] in ("versions", "commit"):
            continue
        for value in [_GONE, *ODD_VALUES]:
            changed = copy.deepcopy(config)
            place = changed
            for key in path[:-1]:
                place = place[key]
            if value is _GONE:
                del place[path[-1]]
            else:
                place[path[-1]] = value
            yield f"{'.'.join(map(str, path))} = {'(gone)' if value is _GONE else repr(value)}", changed


_GONE = object()


def _leaves(value: Any, path: tuple = ()) -> Iterator[tuple]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _leaves(value[key], (*path, key))


@pytest.mark.slow
def test_a_run_with_a_mutated_configuration_opens_or_is_one_value_error(received, count_in):
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
        count_in("runs, configurations", outcome)
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
def test_a_damaged_file_of_tensors_is_one_value_error_or_reads(received, count_in, name):
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
        count_in("runs and weights, tensors", outcome)
    file.write_bytes(whole)
    read()
    assert not broken, "\n".join(broken)
    assert refused > 20


def test_weights_as_a_pickle_execute_nothing(tmp_path):
    for number, suffix in enumerate((".pt", ".pth", ".pyth", ".safetensors")):
        for attack in (_pickled(f"{number}{suffix}"), _zipped(f"{number}{suffix}")):
            attack(tmp_path, tmp_path / MARK)
            with pytest.raises(ValueError, match="cannot be read"):
                load_weights(make_classifier("tiny_r3d"), tmp_path / f"{number}{suffix}")
    assert not (tmp_path / MARK).exists()


def test_a_pickled_checkpoint_executes_nothing(received, tmp_path, make_bank):
    agent = make_agent("dsn", make_env(make_bank()))
    for attack in (_pickled(CHECKPOINT), _zipped(CHECKPOINT)):
        attack(received, tmp_path / MARK)
        with pytest.raises(ValueError, match="cannot be taken up"):
            Checkpoints(received, None, agent.logger, every=1).resume(agent)
    assert not (tmp_path / MARK).exists()


@pytest.mark.parametrize(
    ("name", "read"),
    [("result.json", TimedResult.read), ("results.csv", read_results)],
    ids=["of a benchmark", "of a run"],
)
def test_pickled_results_execute_nothing(received, tmp_path, count_in, name, read):
    for attack in (_pickled(name), _zipped(name)):
        attack(received, tmp_path / MARK)
        with pytest.raises(ValueError, match=r".+"):
            read(received / name)
    assert not (tmp_path / MARK).exists()
    count_in("hostile runs", "nothing executed")


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
