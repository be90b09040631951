"""Programs whose calls that write fail or are recorded (`calls.c`), and what is right about what they leave."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from vidselect_agents.commands.saved import open_run
from vidselect_env.bank import BankError, open_bank

TIMEOUT_S = 1800
FAULTS = {"disk full": (errno.ENOSPC, 1), "no writing": (errno.EACCES, 0)}  # the error, and whether it stays
TRAIN = ("train", "--agent", "dsn", "--total-timesteps", "16", "--num-envs", "4", "--samples-per-context", "2")
TRAIN = (*TRAIN, "--observation", "features", "--evaluate-every", "0", "--checkpoint-every", "8", "--runs", "out/runs")
BENCHMARK = ("benchmark", "--agents", "dsn", "uniform", "--seeds", "1", "--total-timesteps", "8", "--num-envs", "4")
BENCHMARK = (*BENCHMARK, "--observation", "features", "--out", "out/benchmark")
TIMES = ("ms", "seconds", "steps_per_second")


def run(watched, program: str, place: Path, **calls) -> dict:
    """What became of a program in the folder `place`; of the calls `folder` is the one that is watched."""
    (place / "out").mkdir(parents=True, exist_ok=True)
    task = {"program": program, "folder": str(place), "calls": calls or None, "draw": False}
    return watched.run(task, timeout_s=TIMEOUT_S)


def every_call(watched, program: str, base: Path, fault: str, judge: Callable) -> tuple[int, list[str]]:
    """The number of calls in `out`, and what was broken; `judge` gets the folder and how the program ended."""
    number, stays = FAULTS[fault]
    before = run(watched, program, base / "whole", folder=str(base / "whole" / "out"))
    assert before["status"] == 0, before["stderr"]
    broken = []
    for nth in range(1, before["count"] + 1):
        folder = base / f"call-{nth}"
        ended = run(watched, program, folder, folder=str(folder / "out"), nth=nth, number=number, stays=stays)
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


# What is right --------------------------------------------------------------------------------------------------------


def check_message(ended: dict) -> None:
    """Exit status 2, and one line that says what went wrong with which file."""
    assert ended["status"] == 2, ended
    assert "Traceback" not in ended["stderr"], ended["stderr"]
    lines = [line for line in ended["stderr"].replace("\r", "\n").splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, ended["stderr"]
    assert "out" in lines[0], lines


def check_unfinished_bank(folder: Path) -> None:
    if not (folder / "manifest.json").exists():
        with pytest.raises(BankError, match=r"is not finished|is no bank"):
            open_bank(folder)


def bank_files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.name != "build.lock"}


def state_of(folder: Path) -> tuple[tuple[str, bytes], ...]:
    """What `folder/out` holds, as far as going on depends on it: names and bytes without times and process numbers.

    Of figures, tables and logs, which nothing reads, it is the names.
    """
    found = []
    for file in sorted(each for each in (folder / "out").rglob("*") if each.is_file()):
        name, data = str(file.relative_to(folder)), b""
        if file.suffix in (".json", ".pt", ".safetensors", ".sha256", ".part"):
            data = re.sub(rb"\.pt\.[0-9]+", b".pt", file.read_bytes())  # archives of torch hold their file's name
        if file.name == "result.json":
            data = json.dumps(without_times(json.loads(data))).encode()
        name = re.sub(r"-[0-9]{8}-[0-9]{6}", "", name)
        found.append((re.sub(r"tfevents.*", "tfevents", re.sub(r"[0-9]+\.part", "part", name)), data))
    return tuple(found)


def check_run(watched, folder: Path, whole: Path) -> str | None:
    """What is in `folder` after a training that ended early: no run, or one that ends up as the one in `whole`.

    None: there is nothing to go on with. Otherwise how the run was found.
    """
    [finished] = (whole / "out" / "runs").iterdir()
    wanted = (finished / "agent.safetensors").read_bytes()
    runs = list(folder.glob("out/runs/*"))
    if not runs or not (runs[0] / "config.json").exists():
        for each in runs:
            with pytest.raises(ValueError, match="is no run"):
                open_run(each)
        return None
    [run_folder] = runs
    found = "unfinished, and goes on to the same agent"
    if (run_folder / "agent.safetensors").exists():
        found = "the same agent"
        open_run(run_folder).load_agent()
        assert (run_folder / "agent.safetensors").read_bytes() == wanted
    else:
        with pytest.raises(ValueError, match="is not finished"):
            open_run(run_folder)
    if not (run_folder / "report.md").exists():
        again = run(watched, f"COMMAND(['train', '--resume', {str(run_folder)!r}])", folder)
        assert again["status"] == 0, again["stderr"]
        assert (run_folder / "agent.safetensors").read_bytes() == wanted
    lacking = {file.name for file in finished.iterdir()} - {file.name for file in run_folder.iterdir()}
    assert {name for name in lacking if "tfevents" not in name} == set()  # whose names have a time in them
    return found


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if not any(each in name for each in TIMES)}


def benchmark_content(out: Path) -> dict[str, Any]:
    """All results, agents and rows, and what was left that nobody wants."""
    results = {
        str(file.relative_to(out)): without_times(json.loads(file.read_text())) for file in out.glob("*/result.json")
    }
    agents = {str(file.relative_to(out)): file.read_bytes() for file in out.glob("*/agent.safetensors")}
    with (out / "results.csv").open() as stream:
        rows = [without_times(row) for row in csv.DictReader(stream)]
    leftovers = [file for file in out.rglob("*") if file.name.endswith(".part") or file.name.startswith(".tmp")]
    return {"results": results, "agents": agents, "rows": rows, "leftovers": leftovers}


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
        self.root = root
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
            self.sync(done.path, done.data)
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

    def sync(self, path: str, data: bytes) -> None:
        """data: the file's bytes, or the folder's names: safetensors renames its own file without being seen."""
        file = self.now[path]
        if file is not None:
            file.now, file.kept = bytearray(data), data
            return
        names = {os.path.join(path, name) for name in data.decode().splitlines()}
        inside = {each for each in (*self.now, *self.kept) if os.path.dirname(each) == path}
        for each in inside:
            if each not in names:
                self.now.pop(each, None)
            if each in self.now:
                self.kept[each] = self.now[each]
            else:
                self.kept.pop(each, None)

    def left(self, *, names_kept: bool) -> dict[str, bytes | None]:
        """From each path under the root to its bytes after a loss of power; None is a folder."""
        entries = self.now if names_kept else self.kept
        found: dict[str, bytes | None] = {".": None}
        for path in sorted(entries):
            name = os.path.relpath(path, self.root)
            if os.path.dirname(name) in ("", *found):  # or the folder that it was in is gone
                file = entries[path]
                found[name] = None if file is None else file.kept
        return found


def write_files(files: dict[str, bytes | None], to: Path) -> None:
    """Make the folder `to` of what `Disk.left` gave."""
    shutil.rmtree(to, ignore_errors=True)
    for name, data in files.items():
        if data is None:
            (to / name).mkdir(parents=True)
        else:
            (to / name).write_bytes(data)
