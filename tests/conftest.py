"""Small worlds made by hand, for all tests."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from warm import WarmScripts

from vidselect_env.bank import ClipBank
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real videos and weights beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"no folder of real videos at {os.path.relpath(folder)}")
    return folder


def random_bank(
    *, num_videos: int = 12, num_clips: int = 30, num_classes: int = 4, with_skim: bool = True, seed: int = 0
) -> ClipBank:
    """A bank of noise: right about a quarter of all clips, features that tell which."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, (num_videos,), generator=generator)
    logits = torch.randn(num_videos, num_clips, num_classes, generator=generator)
    good = torch.rand(num_videos, num_clips, generator=generator) < 0.25
    logits += 4 * good[..., None] * torch.nn.functional.one_hot(labels, num_classes)[:, None]
    features = torch.randn(num_videos, num_clips, 5, generator=generator)
    features[..., 0] += 3 * good
    skim = torch.randint(256, (num_videos, num_clips, 2, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return ClipBank.from_tensors(
        logits, labels.tolist(), features=features, skim=skim if with_skim else None, classifier_gmacs=2.0
    )


@pytest.fixture(scope="session")
def make_bank():
    return random_bank


def ragged_bank(counts: Sequence[int], *, num_classes: int = 4, seed: int = 0) -> ClipBank:
    """The same of videos with `counts` candidates."""
    whole = random_bank(num_videos=1, num_clips=sum(counts), num_classes=num_classes, seed=seed)
    labels = torch.arange(len(counts)) % num_classes
    return dataclasses.replace(
        whole,
        video_paths=tuple(f"video {number}" for number in range(len(counts))),
        num_video_frames=torch.tensor(counts),
        targets=torch.nn.functional.one_hot(labels, num_classes).bool(),
        offsets=torch.tensor([0, *itertools.accumulate(counts)]),
    )


@pytest.fixture(scope="session")
def make_ragged_bank():
    return ragged_bank


def write_video(path: Path, *, num_frames: int = 40, seed: int = 0, size: int = 48) -> Path:
    """A small H.264 file of drifting noise."""
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 256, (size * 2, size * 2, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=15, options={"preset": "ultrafast", "g": "12"})
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(num_frames):
            shift = number % size
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(texture[shift : shift + size, :size]), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def make_video():
    return write_video


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train` and `test` of two classes, four videos each, of different lengths."""
    root = tmp_path_factory.mktemp("videos")
    for split in ("train", "test"):
        for label, name in enumerate(("left", "right")):
            for number in range(4):
                seed = number + 10 * label + 100 * (split == "test")
                write_video(root / split / name / f"{number}.mp4", num_frames=20 + 5 * number, seed=seed)
    return root


@pytest.fixture
def bank() -> ClipBank:
    return random_bank()


@pytest.fixture
def problem(bank: ClipBank) -> ClipSelectProblem:
    """Six sections of three clips, seen by features."""
    return ClipSelectProblem(BankSource(bank), observation="features")


def descendants(pid: int) -> list[int]:
    """A process and all that it started, the first first."""
    parents = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(file.parent.name)] = int(file.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmScripts]:
    """Runs scripts in forks of a process that has imported what they need."""
    scripts = WarmScripts()
    yield scripts
    scripts.close()


@pytest.fixture(scope="session")
def kill_all() -> Callable[[subprocess.Popen], None]:
    """SIGKILL for a process and all that it started, whatever session they are in."""
    if not sys.platform.startswith("linux"):
        pytest.skip("a process's children are found in Linux's /proc")

    def kill(process: subprocess.Popen) -> None:
        for pid in descendants(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL

    return kill


@pytest.fixture(scope="session")
def bytes_of() -> Callable[[Path], dict[str, str]]:
    """A hash of every file of a bank but its lock."""

    def hashes(folder: Path) -> dict[str, str]:
        files = (file for file in sorted(folder.iterdir()) if file.name != "build.lock")
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}

    return hashes
