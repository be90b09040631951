"""Building banks on Ray: a stream of shards through CPU decoders into classifiers, on one machine or many.

    shards that are missing --> actors, a classifier each --> one row a shard, to the process that builds
    (Ray Data's blocks)           |  ^   `-> write shard
                     a few videos |  | clips, by the object store
                           ahead  v  |
                           tasks that decode, a CPU each

A shard is the unit of work. It does not travel: decoded, it is gigabytes, and its batches must not be mixed with
another's. So the actor that classifies a shard asks for its videos, as many at once as there is room for, and writes
it. Ray repeats what a lost worker had begun; what it had finished is found on the disk and left alone.
"""

from __future__ import annotations

import math
import os
import pickle
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch

from vidselect_classifiers import ClipClassifier
from vidselect_env.bank import format
from vidselect_env.bank.decode import VideoClips, decode_video
from vidselect_env.bank.shards import BuildBar, Missing, OnError, ShardBuilder
from vidselect_env.bank.spec import BankError, BankSpec
from vidselect_env.datasets.base import LabelledVideo
from vidselect_env.ray_cluster import quiet, running
from vidselect_env.settings import check_settings
from vidselect_env.stores import StoreError
from vidselect_env.video.errors import VideoError

DECODER_RETRIES = 5  # of a video whose decoder dies: it may be the video that kills it
MOST_SHARDS_A_TASK = 8
_TENSORS = ("clips", "clip_of", "spans_s")  # of `VideoClips`, beside the fields
_TOLD = (VideoError, ValueError, OSError)  # what a user can cause: it travels as it is


@dataclass(frozen=True, kw_only=True)
class RayEngine:
    """The engine of `build_bank` that makes shards on Ray.

    The folder of the bank and the videos have the same paths on all machines, and all have the same versions of what
    a bank depends on.

    Args:
        address: of a Ray cluster that runs, or `auto`; None starts a local one for the time of the build.
        num_actors: classifiers; None for as many as there are GPUs, or, without, machines.
        decoders_per_actor: videos that are decoded, or wait decoded, at once for each classifier.
        ahead_bytes: decoded clips that wait for a classifier: fewer videos at once, where they would be more.
        device: of the classifiers: cuda, cpu, or auto: cuda where the cluster has a GPU.
    """

    address: str | None = None
    num_actors: int | None = None
    decoders_per_actor: int = 4
    ahead_bytes: int = 1 << 30
    device: str = "auto"

    def __post_init__(self) -> None:
        check_settings(self, at_least={"num_actors": 1, "decoders_per_actor": 1, "ahead_bytes": 1})

    def __call__(
        self,
        todo: Missing,
        classifier: ClipClassifier,
        *,
        spec: BankSpec,
        batch_size: int,
        on_error: OnError,
        bar: BuildBar,
    ) -> None:
        with running(self.address) as ray:
            device, num_actors = self._plan(ray.cluster_resources(), num_nodes=sum(n["Alive"] for n in ray.nodes()))
            work = _Work(
                spec=spec,
                batch_size=batch_size,
                on_error=on_error,
                device=device,
                num_threads=max(int(ray.cluster_resources().get("CPU", 1)) // num_actors, 1),
                decoders=self.decoders_per_actor,
                ahead_bytes=self.ahead_bytes,
                folder=os.getcwd(),
                versions=format.versions(),
            )
            shipped = ray.put((classifier.cpu(), work))  # held here: an actor that starts again needs it
            shards_a_task = min(max(len(todo) // (4 * num_actors), 1), MOST_SHARDS_A_TASK)
            results = (
                quiet(ray.data)
                .from_items(
                    [{"shard": pickle.dumps((file.absolute(), group))} for file, group in todo],
                    override_num_blocks=math.ceil(len(todo) / shards_a_task),
                )
                .map_batches(
                    _Shards,
                    fn_constructor_args=[shipped],
                    batch_size=None,
                    compute=ray.data.ActorPoolStrategy(size=num_actors),
                    # No CPU of their own: after a machine is lost, actors that hold all the others would let no
                    # decoder run, for ever.
                    num_cpus=0,
                    num_gpus=1 if device == "cuda" else 0,
                )
            )
            with closing(_rows(results)) as rows:
                for row in rows:
                    if row["error"]:
                        raise pickle.loads(row["error"])
                    bar.add(num_videos=int(row["num_videos"]), num_clips=int(row["num_clips"]))

    def _plan(self, resources: Mapping[str, float], *, num_nodes: int) -> tuple[str, int]:
        """Device and number of the classifiers, for what a cluster has.

        Raises:
            ValueError: it has fewer GPUs than this needs.
        """
        num_gpus = int(resources.get("GPU", 0))
        device = self.device if self.device != "auto" else "cuda" if num_gpus else "cpu"
        num_actors = self.num_actors or (num_gpus if device == "cuda" else num_nodes)
        if device == "cuda" and not 1 <= num_actors <= num_gpus:
            raise ValueError(f"num_actors ({num_actors}) must be 1 to the cluster's GPUs ({num_gpus}): each takes one")
        return device, num_actors


def _rows(results: Any) -> Generator[dict[str, Any]]:
    yield from results.iter_rows()


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What an actor is told of its work."""

    spec: BankSpec
    batch_size: int
    on_error: OnError
    device: str
    num_threads: int
    decoders: int
    ahead_bytes: int
    folder: str  # that paths are relative to
    versions: Mapping[str, str]


class _Shards:
    """An actor: a classifier, and the shards that it is given, one after the other."""

    def __init__(self, shipped: Any) -> None:
        import ray

        self._classifier, self._work = ray.get(shipped)
        self._ray = ray
        retried = ray.remote(_decode).options(num_cpus=1, max_retries=DECODER_RETRIES)
        spec = ray.put(self._work.spec)
        self._decode = lambda video: retried.remote(video, spec, self._work.folder)

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, list]]:
        """A row for every shard of the batch that is made."""
        torch.set_num_threads(self._work.num_threads)
        try:
            self._check_versions()
            os.chdir(self._work.folder)
            shards = [pickle.loads(shard) for shard in batch["shard"]]
            missing = [(file, group) for file, group in shards if not file.exists()]
            if found := [group for file, group in shards if file.exists()]:  # made before a worker was lost
                yield _row(num_videos=sum(len(group) for group in found))
            builder = ShardBuilder(
                self._classifier, self._work.spec, batch_size=self._work.batch_size, device=self._work.device
            )
            begun = [builder.begin(file, group) for file, group in missing]
            left = [group[shard.num_taken :] for shard, (_, group) in zip(begun, missing, strict=True)]
            with closing(self._decoded(video for group in left for video in group)) as decoded:
                for shard, group in zip(begun, left, strict=True):
                    done = _Count()
                    builder.finish(shard, group, islice(decoded, len(group)), on_error=self._work.on_error, bar=done)
                    yield _row(num_videos=done.num_videos, num_clips=done.num_clips)
        except _TOLD as error:
            yield _row(error=pickle.dumps(error))

    def _check_versions(self) -> None:
        """What decides the bytes of a bank is here as it is where the build was started.

        Raises:
            BankError: it is not.
        """
        here = format.versions()
        if here != self._work.versions:
            raise BankError(
                f"a machine of the cluster has {here}, but the build was started with {dict(self._work.versions)}: "
                "install the same on all"
            )

    def _decoded(self, videos: Iterable[LabelledVideo]) -> Generator[_Video]:
        """The videos in order, decoded by tasks a little ahead."""
        spec, work = self._work.spec, self._work
        height, width = spec.clip_crop
        video_bytes = (spec.grid.num_clips or 1) * spec.crops * spec.grid.num_frames * 3 * height * width
        videos, waiting = iter(videos), deque[Any]()
        while True:
            room = min(work.decoders, max(work.ahead_bytes // video_bytes, 1))
            waiting.extend(self._decode(video) for video in islice(videos, max(room - len(waiting), 0)))
            if not waiting:
                return
            about, arrays = self._wait(waiting.popleft())
            video_bytes = max([video_bytes, *(array.nbytes for array in arrays.values())])
            yield _Video(about, arrays)

    def _wait(self, reference: Any) -> tuple[_About | VideoError | StoreError, dict[str, np.ndarray]]:
        from ray.exceptions import OutOfMemoryError, WorkerCrashedError

        try:
            return self._ray.get(reference)
        except (WorkerCrashedError, OutOfMemoryError) as error:
            raise BankError(f"a decoder died {DECODER_RETRIES + 1} times over the same video: {error}") from error


def _row(*, num_videos: int = 0, num_clips: int = 0, error: bytes = b"") -> dict[str, list]:
    return {"num_videos": [num_videos], "num_clips": [num_clips], "error": [error]}


class _Count:
    """What a build's bar is told of one shard."""

    num_videos = num_clips = 0

    def add(self, *, num_videos: int, num_clips: int) -> None:
        self.num_videos += num_videos
        self.num_clips += num_clips


def _decode(
    video: LabelledVideo, spec: BankSpec, folder: str
) -> tuple[_About | VideoError | StoreError, dict[str, np.ndarray]]:
    """A task: a video's numbers, or the error that it gives, and its arrays, which travel without being copied."""
    os.chdir(folder)
    try:
        decoded = decode_video(video, spec=spec)
    except (VideoError, StoreError) as error:
        return error, {}
    tensors = {**{name: getattr(decoded, name) for name in _TENSORS}, **decoded.fields}
    return _About(video, decoded.num_frames, decoded.num_clips), {
        name: value.contiguous().numpy() for name, value in tensors.items()
    }


class _About(NamedTuple):
    video: LabelledVideo
    num_frames: int
    num_clips: int


@dataclass(frozen=True)
class _Video:
    """What a task gave, as the future of a video."""

    about: _About | VideoError | StoreError
    arrays: dict[str, np.ndarray]

    def result(self) -> VideoClips:
        if isinstance(self.about, VideoError | StoreError):
            raise self.about
        # Copied, so that the object store has its memory back before the shard is whole.
        tensors = {name: torch.from_numpy(array.copy()) for name, array in self.arrays.items()}
        clips, clip_of, spans_s = (tensors.pop(name) for name in _TENSORS)
        return VideoClips(*self.about, clips, clip_of, tensors, spans_s)
