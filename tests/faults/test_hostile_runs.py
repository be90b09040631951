"""Runs, weights, banks and lists that a stranger may have sent: nothing of them is executed."""

from __future__ import annotations

import os
import py_compile
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile import MARK, at_most, change, module_with_a_mark, open_all, pickled, zipped

from vidselect_agents import commands
from vidselect_agents.base import FILE_NAME
from vidselect_agents.commands.saved import open_run

AGENT, CLASSIFIER = ("experiment", "agent"), ("experiment", "classifier", "classifier")
WEIGHTS = ("experiment", "classifier", "weights")
Attack = Callable[[Path, Path], None]


def _in_the_run(attribute: tuple, *, file: str = "evil_plugin.py", name: str = "evil_plugin:Evil") -> Attack:
    """A module in the run's folder, which stands on Python's path."""

    def attack(folder: Path, mark: Path) -> None:
        module_with_a_mark(folder / file, mark)
        sys.path.insert(0, str(folder))
        change(folder, attribute, name)

    return attack


def _own_package(folder: Path, mark: Path) -> None:
    """The folder itself as a package, from the folder that it lies in."""
    module_with_a_mark(folder / "inner.py", mark)
    sys.path.insert(0, str(folder.parent))
    change(folder, AGENT, f"{folder.name}.inner:Evil")


def _own_entry_point(folder: Path, mark: Path) -> None:
    """A distribution "installed" inside the run's folder, from which Python was started."""
    info = folder / "evil-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vidselect.agents]\nevil = evil_entry:Evil\n")
    _in_the_run(AGENT, file="evil_entry.py", name="evil")(folder, mark)


def _link_to_own_module(folder: Path, mark: Path) -> None:
    """From a folder beside, whose module is a link into the run's."""
    module_with_a_mark(folder / "linked.py", mark)
    beside = folder.parent / "beside"
    beside.mkdir()
    (beside / "evil_link.py").symlink_to(folder / "linked.py")
    sys.path.insert(0, str(beside))
    change(folder, AGENT, "evil_link:Evil")


def _path_through_a_link(folder: Path, mark: Path) -> None:
    """The run's folder by another name."""
    module_with_a_mark(folder / "evil_through.py", mark)
    (folder.parent / "other_name").symlink_to(folder)
    sys.path.insert(0, str(folder.parent / "other_name"))
    change(folder, AGENT, "evil_through:Evil")


def _from_within(folder: Path, mark: Path) -> None:
    """Python was started in the run's folder, which is on its path as ''."""
    module_with_a_mark(folder / "evil_within.py", mark)
    os.chdir(folder)
    sys.path.insert(0, "")
    change(folder, AGENT, "evil_within:Evil")


def _archive_of_modules(folder: Path, mark: Path) -> None:
    module_with_a_mark(folder / "evil_zipped.py", mark)
    with zipfile.ZipFile(folder / "evil.zip", "w") as archive:
        archive.write(folder / "evil_zipped.py", "evil_zipped.py")
    (folder / "evil_zipped.py").unlink()
    sys.path.insert(0, str(folder / "evil.zip"))
    change(folder, AGENT, "evil_zipped:Evil")


def _compiled_module(folder: Path, mark: Path) -> None:
    """Bytes of Python without their source."""
    module_with_a_mark(folder / "source.py", mark)
    py_compile.compile(str(folder / "source.py"), cfile=str(folder / "evil_compiled.pyc"))
    sys.path.insert(0, str(folder))
    change(folder, AGENT, "evil_compiled:Evil")


def _named(path: tuple, name: str) -> Attack:
    """A function of an installed package that would unpickle a file of the run, or run a command."""

    def attack(folder: Path, mark: Path) -> None:
        pickled(FILE_NAME)(folder, mark)
        change(folder, path, name)

    return attack


def _weights_of_its_own(make: Callable[[str], Attack], name: str) -> Attack:
    """The run names weights that lie in it."""

    def attack(folder: Path, mark: Path) -> None:
        make(name)(folder, mark)
        change(folder, WEIGHTS, str(folder / name))

    return attack


def _filters_of_its_own(folder: Path, mark: Path) -> None:
    """Of an agent whose settings name a file."""
    pickled("filters.pt")(folder, mark)
    change(folder, AGENT, "mgsampler")
    change(folder, ("agent_settings",), {"difference": "feature", "filters": str(folder / "filters.pt")})


def _endless(name: str, make: Callable[[Path], object]) -> Attack:
    """What reads it waits, or fills the memory, for ever."""

    def attack(folder: Path, mark: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return attack


def to_zero(file: Path) -> None:
    file.symlink_to("/dev/zero")


def huge(file: Path) -> None:
    """A terabyte, none of which is on the disk."""
    with file.open("wb") as stream:
        stream.truncate(1 << 40)


ATTACKS: dict[str, Attack] = {
    "an agent's module in the run": _in_the_run(AGENT),
    "the run as a package": _own_package,
    "a namespace in the run": _in_the_run(AGENT, file="evil_space/inner.py", name="evil_space.inner:Evil"),
    "a classifier's module in the run": _in_the_run(CLASSIFIER),
    "an entry point in the run": _own_entry_point,
    "a link into the run": _link_to_own_module,
    "a path through a link": _path_through_a_link,
    "from within the run": _from_within,
    "an archive of modules in the run": _archive_of_modules,
    "a compiled module in the run": _compiled_module,
    "a pickled agent": pickled(FILE_NAME),
    "a zipped agent": zipped(FILE_NAME),
    "a pickled head": pickled("head.safetensors"),
    "a zipped head": zipped("head.safetensors"),
    "a pickled configuration": pickled("config.json"),
    "pickled weights beside": pickled("weights.safetensors"),
    "zipped weights beside": zipped("weights.safetensors"),
    "pickled weights of its own": _weights_of_its_own(pickled, "own.pt"),
    "zipped weights of its own": _weights_of_its_own(zipped, "own.pth"),
    "pickled filters of its own": _filters_of_its_own,
    "Stable-Baselines3's archive beside": zipped("agent.zip"),
    **{f"{name}: {kind.__name__}": _endless(name, kind)
       for name in ("config.json", FILE_NAME, "head.safetensors", "weights.safetensors")
       for kind in (os.mkfifo, to_zero, huge)},
    **{f"agent {name}": _named(AGENT, name) for name in (
        "stable_baselines3:PPO", "pickle:load", "pickle:Unpickler", "os:system", "os.path:join", "builtins:eval",
        "torch:load", "torch.hub:load", "cloudpickle:load", "subprocess:run", ".relative:Evil", "../up:Evil", ":", "a:",
        "runpy:run_path", "vidselect_agents.commands:main", "logging.config:fileConfig", "site:addsitedir",
    )},
    **{f"classifier {name}": _named(CLASSIFIER, name) for name in (
        "os:system", "torch.hub:load", "builtins:exec", "pickle:load", "code:interact", "/tmp/x.py:f",
        "torch.package:PackageImporter", "hf:.", "hf:../..", "hf:someone/model",
    )},
}  # fmt: skip
UNREAD = ("Stable-Baselines3's archive beside",)


@pytest.mark.parametrize("trust", [False, True], ids=["untrusted", "trusted"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_opening_a_run_executes_nothing(received, tmp_path, monkeypatch, count_trial, attack, trust):
    """With `trust` an installed module may be imported, but still nothing from inside the folder."""
    if trust and attack.startswith(("agent ", "classifier ")):
        pytest.skip("an installed module that the user says to trust may do what it likes")
    mark = tmp_path / MARK
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    ATTACKS[attack](received, mark)
    with at_most(60):
        if attack in UNREAD:
            open_all(received, trust=trust, classifier=True)
        else:
            with pytest.raises((ValueError, ImportError), match=r".+") as refused:
                open_all(received, trust=trust, classifier=True)
            assert isinstance(refused.value, ValueError) or "vidselect-env[hf]" in str(refused.value)
    assert not mark.exists()
    count_trial("hostile runs", "nothing executed")


COMMANDS = {
    "evaluate": ["evaluate", "RUN"],
    "recognise": ["recognise", "--run", "RUN", "x.mp4"],
    "train --resume": ["train", "--resume", "RUN"],
    "evaluate --fuse": ["evaluate", "--fuse", "RUN", "RUN"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", [AGENT, CLASSIFIER], ids=["agent", "classifier"])
def test_the_commands_execute_nothing_of_a_run_and_say_what_would_allow_it(
    received, tmp_path, monkeypatch, capsys, count_trial, command, name
):
    module_with_a_mark(tmp_path / "beside" / "evil_beside.py", tmp_path / MARK)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "beside"), *sys.path])
    change(received, name, "evil_beside:Evil")
    with pytest.raises(SystemExit) as end:
        commands.main([str(received) if each == "RUN" else each for each in COMMANDS[command]])
    said = capsys.readouterr().err.strip()
    assert end.value.code == 2
    assert said.count("\n") == 0
    assert "--trust" in said
    assert not (tmp_path / MARK).exists()
    count_trial("hostile runs", "nothing executed")


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
