"""Doing things ahead, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def ordered_ahead(
    work: Callable[[_Item], _Result], items: Iterable[_Item], *, num_workers: int, ahead: int
) -> Generator[Future[_Result]]:
    """`work` on every item by threads, at most `ahead` of the one asked for: futures in the items' order.

    Closed early, it starts no more work and does not wait for what runs: the garbage collector may close it, and in
    any thread, its own workers' too.
    """
    pool = ThreadPoolExecutor(num_workers)
    waiting: deque[Future[_Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
