"""A build on Ray whose actors, decoders, machines or driver are killed ends with the bytes of the local build, and no
shard is written twice."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from vidselect_env.bank import bank_spec, build_bank
from vidselect_env.datasets import load_dataset

pytestmark = pytest.mark.slow
KILLS = 10
PATIENCE_S = 900
NODE = {"num_cpus": 1, "object_store_memory": 200 * 2**20}
# Nothing that the builds do not need, and patience with a machine that does much else.
RAY = {"USAGE_STATS_ENABLED": "0", "memory_monitor_refresh_ms": "0", "enable_metrics_collection": "0"}
RAY |= {"raylet_start_wait_time_s": "300", "worker_register_timeout_seconds": "300", "worker_niceness": "0"}
RAY |= {"gcs_server_request_timeout_seconds": "300", "gcs_rpc_server_reconnect_timeout_s": "300"}
RAY |= {"health_check_period_ms": "1000", "health_check_timeout_ms": "300000"}
STARTS = 8  # of a machine: Ray gives one 30 seconds, and no setting changes that


@pytest.fixture(scope="module")
def videos(tmp_path_factory, make_video) -> Path:
    """Two classes of thirty videos."""
    root = tmp_path_factory.mktemp("videos")
    for number in range(60):
        make_video(root / "train" / "ab"[number % 2] / f"{number}.mp4", num_frames=60, seed=number, size=64)
    return root


@pytest.fixture(scope="module")
def local(tmp_path_factory, videos, bytes_of) -> dict[str, str]:
    """The bytes of the bank that this process builds alone."""
    folder = tmp_path_factory.mktemp("local")
    build(folder, videos)
    return bytes_of(folder)


@pytest.fixture(scope="module")
def ray_settings() -> Iterator[None]:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'vidselect-env[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in RAY.items():
            patch.setenv(f"RAY_{name}", value)
        yield


@pytest.fixture(scope="module")
def cluster(ray_settings) -> Iterator[Any]:
    """Two machines of one CPU each, that stay for all builds."""
    from ray.cluster_utils import Cluster

    cluster = started(lambda: Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False}))
    started(lambda: cluster.add_node(wait=False, **NODE))
    cluster.wait_for_nodes(timeout=PATIENCE_S)
    yield cluster
    cluster.shutdown()


def started(start: Callable[[], Any]) -> Any:
    """What `start` makes, which may time out; what it had begun is then ended."""
    for left in reversed(range(STARTS)):
        before = children()
        try:
            return start()
        except Exception as error:
            if not left or "timed out" not in str(error).lower():
                raise
            kill_all(sorted(children() - before))
    raise AssertionError


def children() -> set[int]:
    return {pid for pid, (parent, _) in parents().items() if parent == os.getpid()}


def build(folder: Path, videos: Path, **options: Any) -> None:
    from vidselect_classifiers import make_classifier

    dataset = load_dataset(f"folder:{videos}", split="train")
    classifier = make_classifier("tiny_r3d", weights="default")
    spec = bank_spec(dataset, classifier, num_clips=8)
    build_bank(folder, dataset, classifier, spec=spec, shard_videos=1, batch_size=4, progress=False, **options)


class Build:
    """A build on Ray by a process of its own, and every file that was seen under the name of each shard."""

    def __init__(self, folder: Path, videos: Path, *, address: str | None) -> None:
        program = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_ray_kills
from vidselect_env.bank.on_ray import RayEngine
engine = RayEngine(address={address!r}, num_actors=2, decoders_per_actor=2)
test_ray_kills.build(Path({str(folder)!r}), Path({str(videos)!r}), engine=engine)
"""
        self.folder = folder
        self.process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
        self.written: dict[str, set[int]] = {}

    def look(self) -> int:
        """How many shards there are."""
        for file in self.folder.glob("shard-*.safetensors"):
            self.written.setdefault(file.name, set()).add(file.stat().st_ino)
        return len(self.written)

    def wait(self, num_shards: int) -> bool:
        """Until there are so many shards, or the build has ended, which it tells."""
        deadline = time.monotonic() + PATIENCE_S
        while self.look() < num_shards and self.process.poll() is None:
            assert time.monotonic() < deadline, f"{self.look()} of {num_shards} shards after {PATIENCE_S} s"
            time.sleep(0.01)
        return self.process.poll() is None

    def killed(self, kill: Callable[[], bool], *, at_most: int = KILLS) -> int:
        """Kill something so many times, somewhere in the middle of making each next shard; how often it was there."""
        rng, kills = Random(0), 0
        while kills < at_most and self.wait(self.look() + 1):
            time.sleep(rng.uniform(0, 0.2))
            while not (killed := kill()) and self.process.poll() is None:
                time.sleep(0.01)
            kills += killed
        return kills

    def end(self) -> int:
        try:
            while self.wait(10**9):
                pass
        finally:
            self.process.kill()
        self.look()
        return self.process.wait()


def parents() -> dict[int, tuple[int, str]]:
    """Of every process its parent and its command line."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                parent = re.search(r"^PPid:\s*(\d+)", (folder / "status").read_text(), re.MULTILINE)
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(folder.name)] = int(parent[1]) if parent else 0, command
    return found


def workers(nodes: list[Any], name: str) -> list[int]:
    """Workers of these nodes that run what is called so."""
    raylets = {raylet_of(node) for node in nodes}
    return [pid for pid, (parent, command) in parents().items() if parent in raylets and name in command]


def raylet_of(node: Any) -> int:
    return node.all_processes["raylet"][0].process.pid


def kill_all(pids: list[int]) -> bool:
    """Whether there was one."""
    there = False
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            there = True
    return there


def check(made: Build, local: dict[str, str], bytes_of: Callable[[Path], dict[str, str]]) -> None:
    assert made.end() == 0
    assert bytes_of(made.folder) == local
    assert {len(files) for files in made.written.values()} == {1}


@pytest.mark.parametrize("name", ["ray::MapWorker", "ray::_decode"], ids=["actor", "decoder"])
def test_a_build_whose_workers_are_killed_ten_times_has_the_bytes_of_the_local_one(
    tmp_path, videos, cluster, local, bytes_of, count_trial, name
):
    made = Build(tmp_path / "killed", videos, address=cluster.address)
    kills = made.killed(lambda: kill_all(workers(cluster.list_all_nodes(), name)[:1]))
    check(made, local, bytes_of)
    assert kills == KILLS
    for _ in range(kills):
        count_trial("kills of a bank's build on Ray", "the same bytes")


def test_a_build_whose_machines_are_killed_ten_times_has_the_bytes_of_the_local_one(
    tmp_path, videos, cluster, local, bytes_of, count_trial
):
    def kill_node() -> bool:
        """All processes of the second machine, where it has work, and a new one in its place."""
        [node] = cluster.worker_nodes
        if not any(workers([node], name) for name in ("ray::MapWorker", "ray::_decode")):
            return False
        killed = kill_all([raylet_of(node), *workers([node], "")])
        cluster.remove_node(node, allow_graceful=False)
        started(lambda: cluster.add_node(wait=False, **NODE))
        cluster.wait_for_nodes(timeout=PATIENCE_S)
        return killed

    kills = 0
    for number in range(KILLS):  # a machine takes its time to start: a build may end before the tenth is lost
        made = Build(tmp_path / str(number), videos, address=cluster.address)
        kills += made.killed(kill_node, at_most=KILLS - kills)
        check(made, local, bytes_of)
        if kills == KILLS:
            break
    assert kills == KILLS
    for _ in range(kills):
        count_trial("kills of a bank's build on Ray", "the same bytes")


@pytest.mark.parametrize("stays", [False, True], ids=["with its cluster", "from a cluster that stays"])
def test_a_build_whose_driver_is_killed_is_finished_by_the_next(
    tmp_path, videos, request, ray_settings, local, bytes_of, count_trial, stays
):
    folder = tmp_path / "killed"
    address = request.getfixturevalue("cluster").address if stays else None
    written: dict[str, set[int]] = {}
    for least in (3, 8, 13):
        made = Build(folder, videos, address=address)
        made.written = written
        assert made.wait(least)
        made.process.kill()
        assert made.process.wait() == -signal.SIGKILL
        assert not (folder / "manifest.json").exists()
    made = Build(folder, videos, address=address)
    made.written = written
    assert made.end() == 0
    assert bytes_of(folder) == local
    assert {len(files) for files in written.values()} == {1}
    for _ in range(3):
        count_trial("kills of a bank's build on Ray", "the same bytes")
