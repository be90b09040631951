"""Ray, where it is installed: a cluster that runs somewhere, or a local one for the time of a piece of work."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def running(address: str | None) -> Iterator[Any]:
    """The module `ray`, connected to a cluster: one that this process is connected to, that of the address, or, for
    None, a local one that ends with this.

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError(f"Ray is not installed ({error}): pip install 'vidselect-env[ray]'") from error
    connected = ray.is_initialized()
    if not connected:
        ray.init(address or "local", include_dashboard=False, logging_level=logging.WARNING)
    try:
        yield ray
    finally:
        if not connected:
            ray.shutdown()


def quiet(data: Any) -> Any:
    """Ray Data without its own bars and plans: the build has a bar."""
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    return data
