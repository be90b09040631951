"""Scripts in forks of a process that has imported what they need, which is most of the time that a tiny run takes.

What only a process of its own can show (installing, imports, threads, signals, several processes) is tested by one.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Ended(NamedTuple):
    """How a script ended: its exit status, and what it printed, stderr too."""

    status: int
    output: str


class WarmScripts:
    """Runs scripts one after the other; `close` ends the process that they are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def run(self, script: str | Path, *arguments: str, folder: Path, environment: Mapping[str, str]) -> Ended:
        """`python SCRIPT ARGUMENTS` in a folder; the environment's PYTHONPATH comes before what is there already."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.NamedTemporaryFile("r") as said:
            task = {"script": str(script), "arguments": arguments, "folder": str(folder), "said": said.name}
            self._process.stdin.write(json.dumps(task | {"environment": dict(environment)}) + "\n")
            self._process.stdin.flush()
            return Ended(json.loads(self._process.stdout.readline()), said.read())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def _run(task: dict[str, Any]) -> int:
    """What the fork does; its exit status."""
    said = os.open(task["said"], os.O_WRONLY)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.chdir(task["folder"])
    os.environ.update(task["environment"])
    sys.argv = [task["script"], *task["arguments"]]
    paths = task["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [str(Path(task["script"]).parent), *filter(None, paths)]
    try:
        runpy.run_path(task["script"], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _serve() -> None:
    import matplotlib.figure  # noqa: F401
    import tensorboard.summary  # noqa: F401
    import torch
    import torch.utils.tensorboard
    import tqdm

    from vidselect_agents import attention, dsn, max_response, mgsampler, scsampler  # noqa: F401
    from vidselect_agents.commands import bank, benchmark, classifier, evaluate, recognise, train  # noqa: F401

    torch.set_num_threads(1)
    tqdm.tqdm.monitor_interval = 0  # a thread would be lost in a fork
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if not child:
            sys.exit(_run(task))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
