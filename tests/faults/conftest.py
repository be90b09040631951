"""What the suites of damaged input share: a process that may hang or crash, and the table of what was tried."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

START_S = 120  # until a process has imported what it needs, on a machine that does much else
HERE = Path(__file__).parent


class TrialError(AssertionError):
    """A trial hung, or its process died."""


class TrialProcess:
    """A script that reads tasks as lines of JSON and answers each with one; started anew after a hang or a crash."""

    def __init__(self, script: str) -> None:
        self._script = HERE / script
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
            [sys.executable, "-u", str(self._script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
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
