"""The jobs of a benchmark on a Ray cluster: workers that open the same banks and take one job after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vidselect_env.ray_cluster import running

Job = tuple[str, int]  # an agent and a seed


def work_on_ray(
    todo: Sequence[Job],
    *,
    enter: Callable[[], object],
    work: Callable[[str, int, dict[str, Any]], str | None],
    options: Mapping[str, Any],
    jobs: int,
    address: str | None,
    device: str,
) -> Generator[tuple[Job, str | None]]:
    """Every job with the reason for which it failed, or None, as they end.

    The results' folder and the cache folder have the same paths on all machines. A job whose worker is lost is begun
    again by the worker that takes its place.

    Args:
        enter: called once in every worker, before its first job.
        work: one job.
        options: of `work`; `out` is a folder.
        jobs: workers.
        address: of the cluster, see `running`.
        device: cpu, cuda or auto, that jobs run on; workers share the GPUs that there are.
    """
    told = dict(options) | {"out": Path(options["out"]).absolute()}
    environment = {name: os.environ[name] for name in ("VIDSELECT_CACHE",) if name in os.environ}
    with running(address) as ray:

        class Worker:
            def __init__(self, folder: str) -> None:
                os.environ.update(environment)
                os.chdir(folder)
                enter()

            def do(self, job: Job) -> tuple[Job, str | None]:
                return job, work(*job, told)

        num_gpus = gpus_of(device, jobs, ray.cluster_resources().get("GPU", 0))
        remote = ray.remote(num_cpus=1, num_gpus=num_gpus, max_restarts=-1, max_task_retries=-1)(Worker)
        pool = ray.util.ActorPool([remote.remote(os.getcwd()) for _ in range(min(jobs, len(todo)))])
        yield from pool.map_unordered(lambda worker, job: worker.do.remote(job), list(todo))


def gpus_of(device: str, jobs: int, cluster_gpus: float) -> float:
    """GPUs of each worker: an equal share of the cluster's, at most one, where a GPU is wanted.

    Example: 8 jobs on 2 GPUs -> 0.25.
    """
    if device == "cpu" or not cluster_gpus:
        return 0.0
    return min(1.0, cluster_gpus / jobs)
