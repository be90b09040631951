"""Banks built on Ray beside those that one process builds.

python scripts/measure/ray_build.py same --dataset synthetic --split test
    the bytes of both, on a cluster of two machines that are processes of this one

python scripts/measure/ray_build.py speed --classifier r3d_18 --weights None --num-videos 8 --candidates 12
    clips a second of both in turn, from the first finished shard to the last, and how long the first takes

python scripts/measure/ray_build.py shards --num-shards 10000
    what a shard costs with a classifier that does nothing, and the memory of the process that builds
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import av
import numpy as np
import torch
import tyro
from rich.console import Console
from torch import nn
from tyro.conf import subcommand

from vidselect_agents.commands.bank import load, spec_of
from vidselect_agents.commands.options.bank import BuildConfig
from vidselect_classifiers import ClipClassifier, ClipGeometry
from vidselect_env.bank import BankSpec, bank_spec, build_bank
from vidselect_env.bank.decode import decode_video
from vidselect_env.bank.on_ray import RayEngine
from vidselect_env.bank.shards import BuildBar, Engine, ThisProcess
from vidselect_env.datasets.base import LabelledVideo, VideoDataset
from vidselect_env.files import sha256_of
from vidselect_env.settings import check_settings

NODE = {"num_cpus": 1, "object_store_memory": 400 * 2**20}
_CONSOLE = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class SameConfig(BuildConfig):
    """Which bank; as of `vidselect bank build`.

    Args:
        shard_videos: videos a shard.
    """

    out: str = "."
    classifier: str = "tiny_r3d"
    weights: str | None = "default"
    shard_videos: int = 16


@dataclass(frozen=True, kw_only=True)
class SpeedConfig(BuildConfig):
    """Which bank; as of `vidselect bank build`.

    Args:
        shard_videos: videos a shard.
        rounds: of both.
    """

    out: str = "."
    split: str = "train"
    shard_videos: int = 2
    rounds: int = 1


@dataclass(frozen=True, kw_only=True)
class ShardsConfig:
    """How many shards, of one small video each.

    Args:
        local: are made by one process too, to compare; 0 for none.
    """

    num_shards: int = 1000
    local: int = 1000

    def __post_init__(self) -> None:
        check_settings(self, at_least={"num_shards": 10, "local": 0})


class Watched(BuildBar):
    """Of the process that builds: when videos were done, and its memory meanwhile.

    Args:
        engine: that builds.
        every: videos, between two looks at the memory.
    """

    def __init__(self, engine: Engine, *, every: int) -> None:
        super().__init__(0, shown=False)
        self.engine, self.every = engine, every
        self.ended_s: list[float] = []
        self.memory_mb: list[float] = []

    def __call__(self, todo: Any, classifier: ClipClassifier, *, bar: BuildBar, **options: Any) -> None:
        self.engine(todo, classifier, bar=self, **options)

    def add(self, *, num_videos: int, num_clips: int) -> None:
        self.ended_s.append(time.perf_counter())
        if len(self.ended_s) % self.every == 0:
            self.memory_mb.append(resident_mb())


def main() -> None:
    config = tyro.cli(
        Annotated[SameConfig, subcommand("same")]
        | Annotated[SpeedConfig, subcommand("speed")]
        | Annotated[ShardsConfig, subcommand("shards")],
        description=__doc__,
    )
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(config, SameConfig):
            same(config, Path(folder))
        elif isinstance(config, SpeedConfig):
            speed(config, Path(folder))
        else:
            shards(config, Path(folder))


def options_of(config: Any) -> dict[str, Any]:
    """Of both builds, as `vidselect bank` hands them on."""
    batch_size = None if config.batch_size == "auto" else config.batch_size
    return {"batch_size": batch_size, "shard_videos": config.shard_videos, "progress": False}


def same(config: SameConfig, folder: Path) -> None:
    """Build a bank locally and on two machines, and compare every file."""
    dataset, classifier = load(config), config.make_classifier()
    spec = spec_of(config, dataset, classifier)
    options = options_of(config)
    build_bank(folder / "local", dataset, classifier, spec=spec, **options)
    with two_machines():
        engine = RayEngine(num_actors=config.classifier_actors or 2, decoders_per_actor=config.decoders_per_actor)
        bank = build_bank(folder / "ray", dataset, classifier, spec=spec, engine=engine, **options)
    hashes = [
        {file.name: sha256_of(file) for file in sorted((folder / name).iterdir()) if file.name != "build.lock"}
        for name in ("local", "ray")
    ]
    equal = sum(hashes[0].get(name) == value for name, value in hashes[1].items())
    size_mb = sum(file.stat().st_size for file in (folder / "ray").iterdir()) / 1e6
    _CONSOLE.print("| bank | videos | clips | MB | files of the local build | of the build on Ray | equal |")
    _CONSOLE.print("|---|---:|---:|---:|---:|---:|---:|")
    _CONSOLE.print(
        f"| {config.dataset} {config.split} | {bank.num_videos} | {int(bank.offsets[-1])} | {size_mb:.0f} "
        f"| {len(hashes[0])} | {len(hashes[1])} | {equal} |"
    )
    if hashes[0] != hashes[1]:
        raise SystemExit("the banks differ")


def speed(config: SpeedConfig, folder: Path) -> None:
    """Build a bank locally and on Ray, in turn."""
    dataset, classifier = load(config), config.make_classifier()
    spec = spec_of(config, dataset, classifier)
    options = options_of(config)
    _CONSOLE.print(of_videos(dataset, spec))
    ratios = []
    for number in range(config.rounds):
        rates = {}
        for name in ("local", "ray"):
            engine: Engine = ThisProcess(num_workers=config.num_workers, device="cpu")
            if name == "ray":
                engine = RayEngine(num_actors=config.classifier_actors, decoders_per_actor=config.decoders_per_actor)
            made, started_s = folder / f"{name}{number}", time.time()
            bank = build_bank(made, dataset, classifier, spec=spec, engine=engine, **options)
            ended_s, took_s = shard_times_s(made), time.time() - started_s
            clips = int(bank.offsets[-1])
            rates[name] = clips * (1 - 1 / len(ended_s)) / (ended_s[-1] - ended_s[0])
            _CONSOLE.print(
                f"{name}: {rates[name]:.2f} clips/s; the first of {len(ended_s)} shards after "
                f"{ended_s[0] - started_s:.1f} s; whole {took_s:.1f} s, {clips / took_s:.2f} clips/s"
            )
        ratios.append(rates["ray"] / rates["local"])
        _CONSOLE.print(f"ratio {ratios[-1]:.2f}")
    told = f"{config.classifier}, {len(dataset)} videos of {config.candidates} clips, {config.shard_videos} a shard"
    _CONSOLE.print(f"median ratio {median(ratios):.2f} ({told})")


def shard_times_s(folder: Path) -> list[float]:
    """When each shard of a bank was finished, in order."""
    return sorted(file.stat().st_mtime_ns / 1e9 for file in folder.glob("shard-*.safetensors"))


def of_videos(dataset: VideoDataset, spec: BankSpec) -> str:
    """What a video takes: CPU seconds of decoding, and bytes."""
    started_s = time.process_time()
    for video in dataset.videos:
        decode_video(video, spec=spec)
    decode_s = (time.process_time() - started_s) / len(dataset)
    size_mb = sum(Path(video.path).stat().st_size for video in dataset.videos) / len(dataset) / 1e6
    return f"a video: {decode_s:.2f} CPU seconds of decoding, {size_mb:.2f} MB"


def shards(config: ShardsConfig, folder: Path) -> None:
    """Build banks of as many shards as videos, of one small video under many names."""
    film = small_video(folder / "film.mp4")
    made_ms = {}
    for name, number in (("local", config.local), ("ray", config.num_shards)):
        if number:
            dataset = many(film, folder / f"{name}-videos", number)
            engine: Engine = ThisProcess(num_workers=2, device="cpu") if name == "local" else RayEngine(num_actors=1)
            watched = Watched(engine, every=number // 10)
            classifier = nothing()
            spec = bank_spec(dataset, classifier, num_clips=1, fields=("logits",))
            build_bank(folder / name, dataset, classifier, spec=spec, shard_videos=1, engine=watched, progress=False)
            made_ms[name] = 1000 * (watched.ended_s[-1] - watched.ended_s[0]) / (number - 1)
            told = ", ".join(f"{memory:.0f}" for memory in watched.memory_mb)
            _CONSOLE.print(f"{name}: {number} shards, {made_ms[name]:.1f} ms each; MB after each tenth: {told}")
            _CONSOLE.print(f"    at the end, opened: {resident_mb():.0f}; at most {peak_mb():.0f}")
    if config.local:
        _CONSOLE.print(f"overhead of Ray a shard: {made_ms['ray'] - made_ms['local']:.1f} ms")


def nothing() -> ClipClassifier:
    """A classifier that takes the mean colour of a clip of two frames."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(OrderedDict(fc=nn.Linear(3, 2)))
    geometry = ClipGeometry(num_frames=2, resize=16, crop=(16, 16))
    return ClipClassifier(network, head="fc", pool=_mean_colour, geometry=geometry, name="nothing")


def _mean_colour(network: nn.Module, maps: torch.Tensor) -> torch.Tensor:
    return maps.mean((2, 3, 4))


def small_video(file: Path) -> Path:
    """Four frames of 32 x 32."""
    with av.open(file, "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number in range(4):
            pixels = np.full((32, 32, 3), 50 * number, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return file


def many(film: Path, folder: Path, number: int) -> VideoDataset:
    """A dataset of so many names of one file."""
    folder.mkdir()
    files = [folder / f"{each}.mp4" for each in range(number)]
    for file in files:
        file.symlink_to(film)
    videos = tuple(LabelledVideo(str(file), (each % 2,)) for each, file in enumerate(files))
    return VideoDataset(name="many", split="train", class_names=("a", "b"), videos=videos)


@contextmanager
def two_machines() -> Iterator[None]:
    """A cluster of two machines that are processes of this one, connected."""
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    cluster.add_node(wait=False, **NODE)
    cluster.wait_for_nodes(timeout=300)
    ray.init(address=cluster.address, logging_level="warning")
    try:
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
