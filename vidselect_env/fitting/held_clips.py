"""Videos short and small enough to be held decoded on the device that trains on them.

Where one clip of every video is drawn in every epoch, files cost far more time than a small network does: here
they are decoded once, and a batch is one indexing of a tensor that lies on the device already.

Shapes: V videos, F frames held of each, T frames a clip, B clips.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from vidselect_classifiers import ClipGeometry
from vidselect_env.datasets import VideoDataset, load_dataset
from vidselect_env.fitting.loader import ClipLoader

PIECE = 250  # videos of a piece: which videos there are follows from it
VAL_SEED = 1000


@dataclass(frozen=True, kw_only=True)
class HeldSource:
    """Which videos, and what is held of them.

    dataset, split, seed: of `load_dataset`. num_videos: as there, so of a synthetic test split twice what is made.
    num_frames: F, the middle ones of each video; a shorter one repeats its last frame. size: of the frames, square.
    """

    dataset: str
    split: str
    seed: int = 0
    num_videos: int | None = None
    num_frames: int = 20
    size: int = 32


def synthetic_pieces(source: HeldSource, *, val: bool = False) -> list[HeldSource]:
    """A synthetic source in pieces of a seed each, so that processes make their videos side by side.

    Args:
        source: with the number of videos to make, whatever its split.
        val: whether they are for `val`: test videos of other seeds than the test's own.
    """
    assert source.num_videos is not None
    asked = 1 if source.split == "train" else 2  # `load_dataset` makes half as many for testing
    counts = [min(PIECE, source.num_videos - first) for first in range(0, source.num_videos, PIECE)]
    seed = source.seed + VAL_SEED * val
    return [
        dataclasses.replace(source, seed=seed + number, num_videos=asked * count) for number, count in enumerate(counts)
    ]


def sources_of(source: HeldSource, split: str, *, num_videos: int, num_tests: int) -> list[HeldSource]:
    """The sources of a split: of a synthetic dataset pieces of the videos asked for, of any other the split itself.

    Args:
        source: what the splits have in common.
        split: train, val or test.
        num_videos: synthetic ones for training.
        num_tests: for val, and for test.
    """
    if not source.dataset.startswith("synthetic"):
        return [dataclasses.replace(source, split=split)]
    kind, count = ("train", num_videos) if split == "train" else ("test", num_tests)
    return synthetic_pieces(dataclasses.replace(source, split=kind, num_videos=count), val=split == "val")


@dataclass(frozen=True)
class HeldClips:
    """Decoded videos, from which batches of clips are drawn.

    frames: (V, F, 3, H, W) uint8. labels: (V,) int64, on the same device. class_names: of the labels.

    Raises:
        ValueError: the two do not belong together.
    """

    frames: Tensor
    labels: Tensor
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.frames.ndim != 5 or self.frames.dtype != torch.uint8 or len(self.frames) != len(self.labels):
            raise ValueError(
                f"frames ({self.frames.dtype}, {tuple(self.frames.shape)}) must be uint8 (V, F, 3, H, W) "
                f"of the {len(self.labels)} labels"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str) -> HeldClips:
        return dataclasses.replace(self, frames=self.frames.to(device), labels=self.labels.to(device))

    def batches(
        self, offsets: Sequence[int], *, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Clips (B, T, 3, H, W) uint8 and their labels (B,), one clip of every video.

        Args:
            offsets: (T,) frames of a clip, counted from its first: (0, 2, 4) is three at a stride of 2.
            batch_size: B; the last batch may be smaller.
            generator: on the clips' device, to draw a random clip of every video in random order; without it
                the middle clip of each, in order. A last batch that is smaller is then left out.

        Raises:
            ValueError: a clip spans more frames than are held.
        """
        count, held = self.frames.shape[:2]
        room = held - 1 - max(offsets)
        if room < 0:
            raise ValueError(f"offsets {tuple(offsets)} must lie within the {held} frames held")
        device = self.frames.device
        order = torch.arange(count, device=device)
        starts = torch.full((count,), room // 2, device=device)
        if generator is not None:
            order = torch.randperm(count, generator=generator, device=device)
            starts = torch.randint(room + 1, (count,), generator=generator, device=device)
            order = order[: max(count // batch_size, 1) * batch_size]
        steps = torch.tensor(offsets, device=device)
        for rows in order.split(batch_size):
            yield self.frames[rows[:, None], starts[rows, None] + steps], self.labels[rows]


def hold_clips(files: Mapping[Path, Sequence[HeldSource]], *, num_processes: int | None = None) -> None:
    """Write each file that is not there, of its sources' videos after one another; `read_held` reads it.

    A source is one process's work: many small ones are decoded, and synthetic ones made, side by side.

    Args:
        files: what is to be in each of them.
        num_processes: None for one a core.

    Raises:
        ValueError: as of `load_dataset`, sources of other classes in a file, or videos with several labels.
    """
    missing = {file: sources for file, sources in files.items() if not file.exists()}
    if not missing:
        return
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn")) as pool:
        found = {file: [pool.submit(_decoded, source) for source in sources] for file, sources in missing.items()}
        for file, futures in found.items():
            frames, labels, names = zip(*(future.result() for future in futures), strict=True)
            if len(set(names)) != 1:
                raise ValueError(f"sources of {file.name} must have the same classes: {sorted(set(names))}")
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            held = {"frames": torch.cat(frames), "labels": torch.cat(labels)}
            save_file(held, part, {"class_names": json.dumps(names[0])})
            part.replace(file)


@cache
def read_held(file: Path, device: str = "cpu") -> HeldClips:
    """What `hold_clips` wrote, on a device: read once a process."""
    with safe_open(file, framework="pt") as opened:
        names = tuple(json.loads(opened.metadata()["class_names"]))
        held = HeldClips(opened.get_tensor("frames"), opened.get_tensor("labels"), names)
    return held.to(device)


def _decoded(source: HeldSource) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    torch.set_num_threads(1)
    dataset = load_dataset(
        source.dataset, split=source.split, num_videos=source.num_videos, seed=source.seed, progress=False
    )
    if dataset.is_multilabel:
        raise ValueError(f"dataset {dataset.name!r} must have one label a video to be held")
    geometry = ClipGeometry(
        num_frames=source.num_frames, resize=(source.size, source.size), crop=(source.size, source.size)
    )
    clips, targets = zip(*_loader(dataset, geometry), strict=True)
    return torch.cat(clips), torch.cat(targets).argmax(-1), dataset.class_names


def _loader(dataset: VideoDataset, geometry: ClipGeometry) -> ClipLoader:
    """The middle frames of every video, in order."""
    return ClipLoader(dataset, geometry, batch_size=64, training=False, generator=torch.Generator(), num_workers=2)
