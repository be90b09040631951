import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from vidselect_env.ahead import ordered_ahead


def test_results_come_in_the_order_of_the_items_and_not_far_ahead():
    started = []

    def work(item):
        started.append(item)
        return 10 * item

    stream = ordered_ahead(work, range(20), num_workers=3, ahead=4)
    assert next(stream).result() == 0
    assert max(started) <= 4
    assert [future.result() for future in stream] == list(range(10, 200, 10))


def test_what_work_raises_waits_in_its_own_future():
    stream = ordered_ahead(lambda item: 6 // item, [1, 0, 2], num_workers=1, ahead=1)
    assert next(stream).result() == 6
    with pytest.raises(ZeroDivisionError):
        next(stream).result()
    assert next(stream).result() == 3


def test_closed_by_one_of_its_own_workers_it_stops_without_waiting():
    """The garbage collector closes a forgotten generator in whatever thread it runs."""
    may_close, closed = threading.Event(), threading.Event()
    done = []

    def work(item):
        if item == 1:
            may_close.wait()
            stream.close()
            closed.set()
        done.append(item)

    stream = ordered_ahead(work, range(4), num_workers=1, ahead=3)
    next(stream).result()
    may_close.set()
    assert closed.wait(timeout=60)
    with ThreadPoolExecutor(1) as pool:  # another thread finds it closed
        assert pool.submit(next, stream, "nothing").result() == "nothing"
    assert set(done) <= {0, 1}
