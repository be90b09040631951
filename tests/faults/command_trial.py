"""Runs Python programs in forked processes that may be killed, or whose calls that write may fail.

A line of JSON in, a line of JSON out. The task:

- `program`: Python source; `COMMAND(arguments)` in it is `vidselect ARGUMENTS`, and `GUARDED(work)` calls what is
  no command in the way of one;
- `folder`: where it runs, and where its output is kept;
- `draw`: if false, pictures are of one pixel: drawing is what costs the most in a tiny run;
- `here`: run it without a fork, so that what it imports and prepares is there for those that are forked later; not
  for what learns, since torch refuses gradients in a fork of a process that had some;
- `kill_after_s`: SIGKILL after so many seconds, if it is not done by then;
- `calls`: of `calls.c`, where that is preloaded: the `folder` that is watched, the `nth` call that fails (0: none) with
  error `number` (0: SIGKILL), whether all after it fail too (`stays`), and a `log` of what was done.

The answer: `status` (exit status, or minus the signal), `seconds`, `stderr`, `count` of the calls.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.figure  # what the forked processes need, imported once
import matplotlib.pyplot
import PIL.Image
import tensorboard.summary  # noqa: F401
import torch
import torch.utils.tensorboard
import tqdm

import vidselect_agents.dsn
import vidselect_agents.max_response  # noqa: F401
from vidselect_agents import commands
from vidselect_agents.commands import bank, benchmark, classifier, evaluate, recognise, train  # noqa: F401

LONGEST_S = 1500


def guarded(work: Callable[[], object]) -> None:
    """What a user can cause is one line, as of a command."""
    try:
        work()
    except (ValueError, OSError) as error:
        commands.refuse(" ".join(str(error).split()))


def run_forked(task: dict[str, Any], said: Path, counted: Path) -> None:
    """What the forked process does; it ends there."""
    status = 1
    try:
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(task["folder"])
        if not task.get("draw", True):
            draw_nothing()
        calls = task.get("calls")
        if calls:
            ctypes.CDLL(None).calls_arm(
                str(calls["folder"]).encode(),
                ctypes.c_long(calls.get("nth", 0)),
                calls.get("number", 0),
                calls.get("stays", 0),
                str(calls.get("log", "")).encode(),
            )
        exec(compile(task["program"], "program", "exec"), {"COMMAND": commands.main, "GUARDED": guarded})
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    if task.get("calls"):
        number = ctypes.CDLL(None).calls_count()
        ctypes.CDLL(None).calls_arm(b"", ctypes.c_long(0), 0, 0, b"")
        counted.write_text(str(number))
    os._exit(status)


def run(task: dict[str, Any]) -> dict[str, Any]:
    said, counted = Path(task["folder"]) / "said.txt", Path(task["folder"]) / "counted.txt"
    counted.unlink(missing_ok=True)
    started_s = time.perf_counter()
    process = os.fork()
    if not process:
        run_forked(task, said, counted)
    status: int | None = None
    kill_after_s = task.get("kill_after_s")
    while status is None:
        done, ended = os.waitpid(process, os.WNOHANG)
        spent_s = time.perf_counter() - started_s
        if done:
            status = os.waitstatus_to_exitcode(ended)
        elif spent_s > (LONGEST_S if kill_after_s is None else kill_after_s):
            os.kill(process, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        else:
            time.sleep(0.002)
    count = int(counted.read_text()) if counted.exists() else 0
    return {
        "status": status,
        "seconds": time.perf_counter() - started_s,
        "stderr": said.read_text(errors="replace") if said.exists() else "",
        "count": count,
    }


def run_here(task: dict[str, Any]) -> dict[str, Any]:
    started_s, status = time.perf_counter(), 0
    os.chdir(task["folder"])
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            exec(compile(task["program"], "program", "exec"), {"COMMAND": commands.main, "GUARDED": guarded})
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception:
            status = 1
            traceback.print_exc()
    return {"status": status, "seconds": time.perf_counter() - started_s, "stderr": said.getvalue(), "count": 0}


def draw_nothing() -> None:
    """Pictures of one pixel, written as matplotlib writes its own."""

    def blank(figure: Any, path: Any, *, format: str, **_: Any) -> None:
        PIL.Image.new("RGB", (1, 1)).save(path, format=format)

    matplotlib.figure.Figure.savefig = blank  # type: ignore[method-assign]


def main() -> None:
    torch.set_num_threads(1)
    tqdm.tqdm.monitor_interval = 0  # a thread would be lost in a fork
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        print(json.dumps(run_here(task) if task.get("here") else run(task)), flush=True)


if __name__ == "__main__":
    main()
