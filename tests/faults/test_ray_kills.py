"""A build on Ray whose actor, decoders, machines or driver are killed ends with the bytes of the local build."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vidselect_env.bank import bank_spec, build_bank
from vidselect_env.bank.on_ray import RayEngine
from vidselect_env.datasets import load_dataset

pytestmark = pytest.mark.slow
KILLS = 10
PATIENCE_S = 300
NODE = {"num_cpus": 1, "object_store_memory": 200 * 2**20}


@pytest.fixture(scope="module")
def videos(tmp_path_factory, make_video) -> Path:
    """Two classes of twelve videos."""
    root = tmp_path_factory.mktemp("videos")
    for number in range(24):
        make_video(root / "train" / "ab"[number % 2] / f"{number}.mp4", num_frames=60, seed=number, size=64)
    return root


@pytest.fixture
def cluster():
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'vidselect-env[ray]'")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, logging_level="warning")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def build(folder: Path, videos: Path, **options: Any) -> None:
    from vidselect_classifiers import make_classifier

    dataset = load_dataset(f"folder:{videos}", split="train")
    classifier = make_classifier("tiny_r3d", weights="default")
    spec = bank_spec(dataset, classifier, num_clips=8)
    build_bank(folder, dataset, classifier, spec=spec, shard_videos=1, batch_size=4, progress=False, **options)


def parents() -> dict[int, tuple[int, str]]:
    """Of every process its parent and its command line."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = re.search(r"^PPid:\s*(\d+)", (folder / "status").read_text(), re.MULTILINE)
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if parent:
                found[int(folder.name)] = int(parent[1]), command
    return found


def workers(raylets: set[int], name: str) -> list[int]:
    """Workers of these nodes that run what is called so."""
    return [pid for pid, (parent, command) in parents().items() if parent in raylets and name in command]


def raylets(cluster: Any) -> set[int]:
    return {node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()}


class Killer(threading.Thread):
    """Kills something `KILLS` times, once for each new shard."""

    def __init__(self, folder: Path, kill: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self.folder, self.kill, self.kills, self.ended = folder, kill, 0, False

    def run(self) -> None:
        seen = 0
        while self.kills < KILLS and not self.ended:
            done = len(list(self.folder.glob("shard-*.safetensors")))
            if done > seen and self.kill():
                self.kills, seen = self.kills + 1, done
            time.sleep(0.01)


def build_killed(folder: Path, videos: Path, kill: Callable[[], bool]) -> int:
    """The bank, built while that is killed; how often it was."""
    killer = Killer(folder, kill)
    killer.start()
    try:
        build(folder, videos, engine=RayEngine(num_actors=1, decoders_per_actor=2))
    finally:
        killer.ended = True
        killer.join()
    return killer.kills


def kill_one(pids: list[int]) -> bool:
    for pid in pids[:1]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
    return bool(pids)


def check_same(tmp_path: Path, videos: Path, bytes_of: Callable[[Path], dict[str, str]]) -> None:
    build(tmp_path / "local", videos)
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "local")


@pytest.mark.parametrize("name", ["ray::MapWorker", "ray::_decode"], ids=["actor", "decoder"])
def test_a_build_whose_workers_are_killed_ten_times_has_the_bytes_of_the_local_one(
    tmp_path, videos, cluster, bytes_of, name
):
    kills = build_killed(tmp_path / "killed", videos, lambda: kill_one(workers(raylets(cluster), name)))
    assert kills == KILLS
    check_same(tmp_path, videos, bytes_of)


def test_a_build_whose_machines_are_killed_ten_times_has_the_bytes_of_the_local_one(
    tmp_path, videos, cluster, bytes_of
):
    def kill_node() -> bool:
        """All processes of the second machine, and a new one in its place."""
        [node] = cluster.worker_nodes
        raylet = node.all_processes["raylet"][0].process.pid
        for pid in [raylet, *workers({raylet}, "")]:
            kill_one([pid])
        cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(**NODE)
        return True

    assert build_killed(tmp_path / "killed", videos, kill_node) == KILLS
    check_same(tmp_path, videos, bytes_of)


def test_a_build_whose_driver_is_killed_is_finished_by_the_next(tmp_path, videos, bytes_of):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'vidselect-env[ray]'")
    folder = tmp_path / "killed"
    program = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_ray_kills
test_ray_kills.build(Path({str(folder)!r}), Path({str(videos)!r}), engine=test_ray_kills.RayEngine(num_actors=1))
"""
    for least in (3, 9):
        driver = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
        deadline = time.monotonic() + PATIENCE_S
        while len(list(folder.glob("shard-*.safetensors"))) < least and time.monotonic() < deadline:
            time.sleep(0.01)
        driver.kill()
        assert driver.wait() == -signal.SIGKILL
        assert not (folder / "manifest.json").exists()
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
    check_same(tmp_path, videos, bytes_of)
