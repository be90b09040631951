"""SIGKILL at random moments: what was killed is seen as unfinished, and goes on to the bytes of what was not."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from failing_disks import bank_files, benchmark_content, check_unfinished_bank, without_times

from vidselect_agents.commands.saved import open_run

NUM_KILLS = 15
TIMEOUT_S = 500
TRAIN = ("train", "--agent", "dsn", "--total-timesteps", "48", "--num-envs", "4", "--samples-per-context", "2")
TRAIN = (*TRAIN, "--evaluate-every", "16", "--checkpoint-every", "8")
BENCHMARK = ("benchmark", "--agents", "dsn", "max_response", "uniform", "--seeds", "2", "--total-timesteps", "24")
BENCHMARK = (*BENCHMARK, "--num-envs", "4")


class Job(NamedTuple):
    """program: what is killed. again: what goes on in a folder. content: what must be the same. check: once killed."""

    program: str
    again: Callable[[Path], str]
    content: Callable[[Path], Any]
    check: Callable[[Path], None]


def the_run(folder: Path) -> Path | None:
    """The run that can be gone on with, or None."""
    runs = [run for run in folder.glob("runs/*") if (run / "config.json").exists()]
    assert len(runs) <= 1
    return runs[0] if runs else None


def run_content(folder: Path) -> dict[str, Any]:
    run = the_run(folder)
    assert run is not None
    with (run / "results.csv").open() as stream:
        rows = [without_times(row) for row in csv.DictReader(stream)]
    names = {file.name for file in run.iterdir() if "tfevents" not in file.name and "metrics" not in file.name}
    return {
        "names": names - {"checkpoint.pt"},
        "agent": (run / "agent.safetensors").read_bytes(),
        "rows": rows,
        "pictures": {file.name: file.read_bytes() for file in run.glob("*.png")},
    }


def check_run(folder: Path) -> None:
    run = the_run(folder)
    for each in folder.glob("runs/*"):
        if run is None:
            with pytest.raises(ValueError, match="is no run"):
                open_run(each)
        elif not (run / "agent.safetensors").exists():
            with pytest.raises(ValueError, match="is not finished"):
                open_run(each)
        else:
            open_run(each).load_agent()


def go_on_with_run(world) -> Callable[[Path], str]:
    def again(folder: Path) -> str:
        run = the_run(folder)
        if run is None:
            return world.command(*TRAIN, "--runs", "runs")
        if (run / "report.md").exists():
            return "pass"  # it was all but at its end
        return f"COMMAND(['train', '--resume', {str(run)!r}])"

    return again


@pytest.fixture(scope="module")
def jobs(world) -> dict[str, Job]:
    benchmark = world.command(*BENCHMARK, "--out", "out")
    return {
        "build": Job(
            world.build(Path("bank")),
            lambda _: world.build(Path("bank")),
            lambda folder: bank_files(folder / "bank"),
            lambda folder: check_unfinished_bank(folder / "bank"),
        ),
        "training": Job(world.command(*TRAIN, "--runs", "runs"), go_on_with_run(world), run_content, check_run),
        "benchmark": Job(
            benchmark, lambda _: benchmark, lambda folder: benchmark_content(folder / "out"), lambda _: None
        ),
    }


@pytest.fixture(scope="module")
def unbroken(jobs, forked, tmp_path_factory) -> Callable[[str], tuple[Any, float]]:
    """What a job gives when it is not killed, and how long it takes; the second time, when the banks are there."""
    done: dict[str, tuple[Any, float]] = {}

    def of(kind: str) -> tuple[Any, float]:
        if kind not in done:
            for _ in range(2):
                folder = tmp_path_factory.mktemp(kind)
                ended = forked.run({"program": jobs[kind].program, "folder": str(folder)}, timeout_s=TIMEOUT_S)
                assert ended["status"] == 0, ended["stderr"]
            done[kind] = (jobs[kind].content(folder), ended["seconds"])
        return done[kind]

    return of


@pytest.mark.slow
@pytest.mark.parametrize("number", range(NUM_KILLS))
@pytest.mark.parametrize("kind", ["build", "training", "benchmark"])
def test_what_is_killed_goes_on_to_the_same_bytes(jobs, unbroken, forked, tmp_path, count_trial, kind, number):
    job, (wanted, seconds) = jobs[kind], unbroken(kind)
    rng = random.Random(f"{kind} {number}")
    outcome = "broken"
    try:
        for attempt in range(8):
            folder = tmp_path / str(attempt)
            folder.mkdir()
            task = {"program": job.program, "folder": str(folder), "kill_after_s": rng.uniform(0.03, 1) * seconds}
            if forked.run(task, timeout_s=TIMEOUT_S)["status"] == -9:
                break
        else:
            pytest.fail("it ended before every kill")
        job.check(folder)
        ended = forked.run({"program": job.again(folder), "folder": str(folder)}, timeout_s=TIMEOUT_S)
        assert ended["status"] == 0, ended["stderr"]
        assert job.content(folder) == wanted
        outcome = "the same bytes"
    finally:
        count_trial(f"kills of a {kind}", outcome)
