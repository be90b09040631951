"""A disk that is full or refuses, at every call that writes; and power that is lost after every one of them.

Each call of building a bank, saving an agent and training a run that opens a file to write, writes, syncs, renames or
makes a folder is made to fail, one trial each: with ENOSPC from then on, or once with EACCES. What is found afterwards
is whole or known to be unfinished, and doing it again gives the bytes of what never failed.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from vidselect_agents.commands.saved import open_run
from vidselect_agents.dsn import DSN
from vidselect_env.bank import BankError, open_bank

TIMEOUT_S = 500
TRAIN = ("train", "--agent", "dsn", "--total-timesteps", "16", "--num-envs", "4", "--samples-per-context", "2")
TRAIN = (*TRAIN, "--evaluate-every", "0", "--checkpoint-every", "8", "--runs", "out/runs")
FAULTS = {"disk full": (errno.ENOSPC, 1), "no writing": (errno.EACCES, 0)}


def run(watched, program: str, place: Path, **calls) -> dict:
    """What became of a program in the folder `place`; of the calls `folder` is the one that is watched."""
    (place / "out").mkdir(parents=True, exist_ok=True)
    task = {"program": program, "folder": str(place), "calls": calls or None}
    return watched.run(task, timeout_s=TIMEOUT_S)


def check_message(ended: dict) -> None:
    """Exit status 2, and one line that says what went wrong."""
    assert ended["status"] == 2, ended
    assert "Traceback" not in ended["stderr"], ended["stderr"]
    lines = [line for line in ended["stderr"].replace("\r", "\n").splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, ended["stderr"]


def bank_files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.name != "build.lock"}


def every_call(watched, program: str, base: Path, fault: str, judge: Callable) -> tuple[int, list[str]]:
    """The number of calls in `out`, and what was broken; `judge` gets the folder and how the program ended."""
    number, stays = FAULTS[fault]
    before = run(watched, program, base / "whole", folder=str(base / "whole" / "out"))
    assert before["status"] == 0, before["stderr"]
    broken = []
    for nth in range(1, before["count"] + 1):
        folder = base / f"call-{nth}"
        calls = {"folder": str(folder / "out"), "nth": nth, "number": number, "stays": stays}
        ended = run(watched, program, folder, **calls)
        try:
            judge(folder, ended)
        except Exception as error:
            broken.append(f"call {nth} of {before['count']}: {type(error).__name__}: {str(error)[-600:]}")
        shutil.rmtree(folder, ignore_errors=True)
    return before["count"], broken


def count_all(count_trial, suite: str, trials: int, broken: list[str]) -> None:
    for number in range(trials):
        count_trial(suite, "broken" if number < len(broken) else "one line, and whole when done again")
    assert not broken, "\n".join(broken[:20])
    assert trials > 0


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_bank_whose_building_fails_at_any_call_is_built_again_to_the_same_bytes(
    world, watched, tmp_path, count_trial, fault
):
    program = world.build(Path("out/bank"))

    def judge(folder: Path, ended: dict) -> None:
        wanted = bank_files(tmp_path / "whole" / "out" / "bank")
        if ended["status"] == 0:
            assert bank_files(folder / "out" / "bank") == wanted
            return
        check_message(ended)
        if not (folder / "out" / "bank" / "manifest.json").exists():
            with pytest.raises(BankError, match=r"is not finished|is no bank"):
                open_bank(folder / "out" / "bank")
        again = run(watched, program, folder)
        assert again["status"] == 0, again["stderr"]
        assert bank_files(folder / "out" / "bank") == wanted

    trials, broken = every_call(watched, program, tmp_path, fault, judge)
    count_all(count_trial, f"{fault}, building a bank", trials, broken)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_an_agent_whose_saving_fails_at_any_call_is_still_the_one_before(
    make_bank, watched, tmp_path, count_trial, fault
):
    agent_of(make_bank, seed=0).save(tmp_path / "first.safetensors")
    agent_of(make_bank, seed=1).save(tmp_path / "second.safetensors")
    first, second = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("first", "second"))
    program = f"""
import shutil
from pathlib import Path
from vidselect_agents.dsn import DSN
agent = DSN.load({str(tmp_path / "second.safetensors")!r})
GUARDED(lambda: agent.save("out/agent.safetensors"))
"""

    def judge(folder: Path, ended: dict) -> None:
        [file] = (folder / "out").iterdir()
        if ended["status"] == 0:
            assert file.read_bytes() == second
            return
        check_message(ended)
        assert file.read_bytes() in (first, second)
        DSN.load(file)

    broken, trials = [], 1
    number, stays = FAULTS[fault]
    for nth in range(20):
        folder = tmp_path / f"call-{nth}"
        (folder / "out").mkdir(parents=True)
        (folder / "out" / "agent.safetensors").write_bytes(first)
        calls = {"folder": str(folder / "out"), "nth": nth, "number": number, "stays": stays}
        ended = run(watched, program, folder, **calls)
        if nth == 0:
            assert ended["status"] == 0, ended["stderr"]
            trials = ended["count"]
        try:
            judge(folder, ended)
        except Exception as error:
            broken.append(f"call {nth}: {type(error).__name__}: {str(error)[-600:]}")
        if nth == trials:
            break
    assert nth == trials
    count_all(count_trial, f"{fault}, saving an agent", trials, broken)


def agent_of(make_bank, *, seed: int) -> DSN:
    from vidselect_env.envs.clip_select import ClipSelectProblem
    from vidselect_env.envs.sources import BankSource

    return DSN(ClipSelectProblem(BankSource(make_bank()), observation="features").shapes, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_whose_training_fails_at_any_call_is_unfinished_and_goes_on_to_the_same_agent(
    world, watched, tmp_path, count_trial, fault
):
    program = world.command(*TRAIN)
    assert run(watched, program, tmp_path / "banks")["status"] == 0  # the banks are in the cache from here on

    def judge(folder: Path, ended: dict) -> None:
        [whole] = (tmp_path / "whole" / "out" / "runs").iterdir()
        wanted = (whole / "agent.safetensors").read_bytes()
        runs = list(folder.glob("out/runs/*"))
        if ended["status"] != 0:
            check_message(ended)
        if not runs or not (runs[0] / "config.json").exists():
            assert ended["status"] != 0
            return
        if (runs[0] / "agent.safetensors").exists():
            open_run(runs[0]).load_agent()
            assert (runs[0] / "agent.safetensors").read_bytes() == wanted
        else:
            with pytest.raises(ValueError, match="is not finished"):
                open_run(runs[0])
        if not (runs[0] / "report.md").exists():
            again = run(watched, f"COMMAND(['train', '--resume', {str(runs[0])!r}])", folder)
            assert again["status"] == 0, again["stderr"]
            assert (runs[0] / "agent.safetensors").read_bytes() == wanted
        assert {file.name for file in whole.iterdir() if "." in file.name} - names(runs[0]) == metrics(whole)

    trials, broken = every_call(watched, program, tmp_path, fault, judge)
    count_all(count_trial, f"{fault}, training a run", trials, broken)


def names(run: Path) -> set[str]:
    return {file.name for file in run.iterdir()}


def metrics(run: Path) -> set[str]:
    """Names that have a time in them."""
    return {name for name in names(run) if "tfevents" in name}


# Power ----------------------------------------------------------------------------------------------------------------


class Done(NamedTuple):
    """What was done: `create`, `truncate`, `write`, `resize`, `sync`, `rename`, `mkdir` or `unlink`."""

    what: str
    path: str
    other: str
    place: int
    data: bytes


def read_log(log: Path) -> Iterator[Done]:
    data = log.read_bytes()
    at = 0
    while at < len(data):
        end = data.index(b"\n", at)
        what, path, other, place, size = data[at:end].decode().split("\t")
        at = end + 1 + int(size)
        yield Done(what, path, other, int(place), data[end + 1 : at])


class File:
    """Bytes as they are now, and as they are on the disk."""

    def __init__(self) -> None:
        self.now, self.kept = bytearray(), b""


class Disk:
    """Folders and files under one folder, as they are now, and what of them a loss of power would leave.

    A file keeps the bytes that it had when it was last synced, a folder the names that it had when it was. With
    `names_kept` the disk had also written down all names by itself, but no bytes: as some file systems do.
    """

    def __init__(self, root: str) -> None:
        self.now: dict[str, File | None] = {root: None}  # None: a folder
        self.kept: dict[str, File | None] = {root: None}

    def do(self, done: Done) -> None:
        if done.what == "mkdir":
            self.now[done.path] = None
        elif done.what == "create":
            self.now[done.path] = File()
        elif done.what == "unlink":
            self.now.pop(done.path, None)
        elif done.what == "rename":
            self.now[done.other] = self.now.pop(done.path)
        elif done.what == "sync":
            self.sync(done.path)
        else:
            self.change(done)

    def change(self, done: Done) -> None:
        file = self.now[done.path]
        assert file is not None
        if done.what == "truncate":
            file.now = bytearray()
        elif done.what == "resize":
            file.now = file.now[: done.place].ljust(done.place, b"\0")
        else:
            file.now = file.now.ljust(done.place, b"\0")
            file.now[done.place : done.place + len(done.data)] = done.data

    def sync(self, path: str) -> None:
        file = self.now[path]
        if file is not None:
            file.kept = bytes(file.now)
            return
        inside = {each for each in (*self.now, *self.kept) if os.path.dirname(each) == path}
        for each in inside:
            if each in self.now:
                self.kept[each] = self.now[each]
            else:
                del self.kept[each]

    def write(self, root: str, to: Path, *, names_kept: bool) -> None:
        """Make `to` what `root` would be after a loss of power."""
        entries = self.now if names_kept else self.kept
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir(parents=True)
        for path in sorted(entries):
            place, file = to / os.path.relpath(path, root), entries[path]
            if not place.parent.exists():
                continue  # the folder that it was in is gone
            if file is None:
                place.mkdir(exist_ok=True)
            else:
                place.write_bytes(file.kept)


@pytest.mark.slow
@pytest.mark.parametrize("names_kept", [False, True], ids=["names-dropped", "names-kept"])
def test_a_bank_after_a_loss_of_power_is_whole_or_refused_and_built_again_to_the_same_bytes(
    world, watched, tmp_path, count_trial, names_kept
):
    """After every call of a build, all that was not synced is dropped."""
    root, log, program = tmp_path / "whole", tmp_path / "log", world.build(Path("out/banks/bank"))
    ended = run(watched, program, root, folder=str(root / "out"), log=str(log))
    assert ended["status"] == 0, ended["stderr"]
    wanted = bank_files(root / "out" / "banks" / "bank")
    disk, folder, broken, outcomes = Disk(str(root / "out")), tmp_path / "after", [], []
    for number, done in enumerate([*read_log(log)]):
        disk.do(done)
        disk.write(str(root / "out"), folder / "out", names_kept=names_kept)
        try:
            outcomes.append(after_power_loss(watched, program, folder, wanted))
        except Exception as error:
            outcomes.append("broken")
            broken.append(f"after call {number} ({done[:3]}): {type(error).__name__}: {str(error)[-600:]}")
    for outcome in outcomes:
        count_trial("loss of power, building a bank", outcome)
    assert not broken, "\n".join(broken[:20])
    assert outcomes[-1] == "whole"  # what was said to be done stays
    assert len(outcomes) >= 30


def after_power_loss(watched, program: str, folder: Path, wanted: dict[str, bytes]) -> str:
    outcome = "whole"
    try:
        open_bank(folder / "out" / "banks" / "bank", verify=True)
    except BankError:
        outcome = "refused, and built again"
    ended = run(watched, program, folder)
    assert ended["status"] == 0, ended["stderr"]
    assert bank_files(folder / "out" / "banks" / "bank") == wanted
    return outcome
