"""What the suites of damaged input share: a process that may hang or crash, and the table of what was tried."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from damaged_banks import write_bank
from hostile import write_run

from vidselect_classifiers import make_classifier, save_weights

START_S = 600  # until a process has imported what it needs, on a machine that does much else
HERE = Path(__file__).parent


class TrialError(AssertionError):
    """A trial hung, or its process died."""


class TrialProcess:
    """A script that reads tasks as lines of JSON and answers each with one; started anew after a hang or a crash."""

    def __init__(self, script: str, **environment: str) -> None:
        self._script = HERE / script
        self._environment = os.environ | environment
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()

    def run(self, task: dict, *, timeout_s: float) -> dict:
        """The answer to a task.

        Raises:
            TrialError: it takes longer, or the process ends.
        """
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return json.loads(self._next_line(timeout_s))

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", str(self._script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment,
        )
        self._lines = queue.Queue()
        threading.Thread(target=_read_lines, args=(self._process, self._lines), daemon=True).start()
        self._next_line(START_S)

    def _next_line(self, timeout_s: float) -> str:
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            self.close()
            raise TrialError(f"no answer in {timeout_s} s: it hangs") from None
        if line is None:
            assert self._process is not None
            status = self._process.wait()
            self.close()
            raise TrialError(f"its process died with status {status}")
        return line


def _read_lines(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


@pytest.fixture(scope="session")
def video_trials():
    process = TrialProcess("video_trial.py")
    yield process
    process.close()


@dataclass(frozen=True)
class World:
    """Two classes of two short videos in each split, a classifier's weights for them, and a cache with their banks."""

    videos: Path
    weights: Path
    cache: Path

    def build(self, bank: Path) -> str:
        """The program that builds a bank of four shards."""
        return f"""
from vidselect_classifiers import make_classifier
from vidselect_env.bank import SkimSpec, bank_spec, build_bank
from vidselect_env.datasets import load_dataset
dataset = load_dataset("folder:{self.videos}", split="train")
model = make_classifier("tiny_r3d", weights={str(self.weights)!r})
spec = bank_spec(dataset, model, num_clips=2, skim=SkimSpec(num_frames=2, resize=(8, 8), crop=(8, 8)))
GUARDED(lambda: build_bank(
    {str(bank)!r}, dataset, model, spec=spec, shard_videos=1, batch_size=2, num_workers=1, progress=False))
"""

    def command(self, *arguments: str) -> str:
        """The program that is `vidselect ARGUMENTS` on these videos, whose banks are in the cache."""
        small = ["--candidates", "2", "--sections", "2", "--clips", "1", "--skim-frames", "2", "--skim-size", "8"]
        common = ["--dataset", f"folder:{self.videos}", "--weights", str(self.weights), *small, "--num-workers", "1"]
        return f"COMMAND({[*arguments, *common]!r})"


@pytest.fixture(scope="session")
def world(tmp_path_factory, make_video) -> World:
    root = tmp_path_factory.mktemp("world")
    for split in ("train", "test"):
        for label, name in enumerate(("left", "right")):
            for number in range(2):
                seed = number + 10 * label + 100 * (split == "test")
                make_video(root / "videos" / split / name / f"{number}.mp4", num_frames=10 + number, seed=seed, size=32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = make_classifier("tiny_r3d", num_classes=2)
    classifier.set_class_names(("left", "right"))
    save_weights(classifier, root / "weights.safetensors")
    return World(root / "videos", root / "weights.safetensors", root / "cache")


@pytest.fixture(scope="session")
def forked(world):
    """Programs in forked processes, which may be killed."""
    process = TrialProcess("command_trial.py", VIDSELECT_CACHE=str(world.cache), OMP_NUM_THREADS="1")
    yield process
    process.close()


@pytest.fixture(scope="session")
def watched(world, tmp_path_factory):
    """The same, with the calls that write counted, failing or recorded."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler for Linux: calls.c cannot be made")
    library = tmp_path_factory.mktemp("calls") / "calls.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "calls.c", "-ldl"], check=True)
    environment = {"VIDSELECT_CACHE": str(world.cache), "OMP_NUM_THREADS": "1", "LD_PRELOAD": str(library)}
    process = TrialProcess("command_trial.py", **environment)
    yield process
    process.close()


@pytest.fixture(scope="session")
def warmed(world, watched, tmp_path_factory):
    """The same, with the banks of a run made, and all that a report of one needs imported before the forks."""
    place = tmp_path_factory.mktemp("warmed")
    train = ("train", "--agent", "dsn", "--total-timesteps", "8", "--num-envs", "4", "--runs", "runs")
    train = (*train, "--observation", "features")
    ended = watched.run({"program": world.command(*train), "folder": str(place)}, timeout_s=START_S)
    assert ended["status"] == 0, ended["stderr"]
    [run] = (place / "runs").iterdir()
    evaluate = {"program": f"COMMAND(['evaluate', {str(run)!r}])", "folder": str(place), "here": True}
    ended = watched.run(evaluate, timeout_s=START_S)
    assert ended["status"] == 0, ended["stderr"]
    return watched


@pytest.fixture(scope="session")
def whole_bank(tmp_path_factory) -> Path:
    return write_bank(tmp_path_factory.mktemp("banks") / "whole")


@pytest.fixture(scope="session")
def sent(tmp_path_factory, make_bank) -> Path:
    return write_run(tmp_path_factory.mktemp("sent") / "dsn-run", make_bank())


@pytest.fixture
def received(sent, tmp_path) -> Path:
    """A run of DSN with a head, to be changed."""
    return shutil.copytree(sent, tmp_path / "received")


@pytest.fixture
def count_trial(record_property):
    """Count a trial in the table: the suite that it belongs to, and how it ended (`broken`, or some clean way)."""

    def count(suite: str, outcome: str) -> None:
        record_property("fault_trial", [suite, outcome])

    return count


def pytest_terminal_summary(terminalreporter):
    """A table of all trials of the session, whichever process ran them."""
    outcomes: dict[str, Counter[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "fault_trial" and report.when == "call":
                    outcomes.setdefault(value[0], Counter())[value[1]] += 1
    if not outcomes:
        return
    terminalreporter.section("trials with damaged input")
    terminalreporter.write_line("| suite | trials | clean | broken | clean were |")
    terminalreporter.write_line("|---|---:|---:|---:|---|")
    for suite, counts in sorted(outcomes.items()):
        broken, trials = counts.pop("broken", 0), counts.total()
        ways = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
        terminalreporter.write_line(f"| {suite} | {trials + broken} | {trials} | {broken} | {ways} |")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is slow here is a campaign, which `make faults` runs."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("slow"):
            item.add_marker("campaign")
