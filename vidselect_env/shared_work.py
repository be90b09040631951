"""Pieces of work that share a machine, or its device, as processes; what is to be done may follow from what is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What `function(*args)` does, under a name; all of it travels to another process."""

    name: str
    function: Callable[..., Any]
    args: tuple


def share_work(
    ready: Callable[[], Iterable[Piece]],
    *,
    jobs: int,
    until_s: float | None = None,
    say: Callable[[str], None] = lambda line: print(line, flush=True),
) -> list[str]:
    """Do what is ready, the first first, `jobs` pieces at a time, until nothing is; the names of what failed.

    Args:
        ready: what can be done now and is not done yet, asked again whenever a piece is finished; what runs, or
            failed, may still be among it.
        until_s: on `time.monotonic`: no piece is started that would end later, if it took as long as the longest
            so far.
        say: told of every piece that ends: the seconds it took, and its result or its error.
    """
    failed: list[str] = []
    running: dict[Future, tuple[str, float]] = {}
    longest_s = 0.0
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        while True:
            taken = {name for name, _ in running.values()} | set(failed)
            in_time = until_s is None or time.monotonic() + longest_s <= until_s
            for piece in ready() if in_time else ():
                if len(running) == jobs:
                    break
                if piece.name not in taken:
                    running[pool.submit(piece.function, *piece.args)] = piece.name, time.monotonic()
                    taken.add(piece.name)
            if not running:
                return failed
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name, started_s = running.pop(future)
                took_s = time.monotonic() - started_s
                longest_s = max(longest_s, took_s)
                error = future.exception()
                if error:
                    failed.append(name)
                say(f"{took_s:.0f} s, {name}: {f'{type(error).__name__}: {error}' if error else future.result()}")
