"""What a classifier learns of a list of videos that were cut from few recordings: what happens, or whose camera it is.

    python scripts/measure/cameras.py --listed ../shared/data/surv_fight/split.csv --out cameras.csv

Prints, of `tiny_r3d` and the list's own splits: how often the training video that looks most like a test video (the
correlation of their mean pictures) has its label, and how often linear heads on the classifier's features are right,
about the videos that they were fitted on, about other blocks of training, and in testing. Then writes a list with the
same videos and splits of its own, in which videos of one picture size and frame rate stay together: of the groups, in
the order of their sizes, the first is for training, the second for testing, the third for training, the fourth val.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import Tensor

from vidselect_classifiers import make_classifier
from vidselect_env.bank import ClipBank
from vidselect_env.bank.cached import cached_bank
from vidselect_env.datasets import LabelledVideo, load_dataset
from vidselect_env.fitting.head import bank_head, cross_fitted, with_head
from vidselect_env.video.index import index_video

TURNS = ("train", "test", "train", "val")


@dataclass(frozen=True, kw_only=True)
class CamerasConfig:
    """What is looked at.

    Args:
        listed: a CSV of path, label, split.
        out: the CSV to write.
        few: heads are also fitted on so many videos of `fit`, as joint training with `--num-videos` does.
    """

    listed: Path
    out: Path = Path("cameras.csv")
    few: int = 60


def main() -> None:
    config = tyro.cli(CamerasConfig, description=__doc__)
    name = f"csv:{config.listed}"
    train, test = (bank_of(name, split) for split in ("train", "test"))
    nearest = torch.stack([picture @ pictures(train).T for picture in pictures(test)]).argmax(-1)
    same = (train.targets[nearest] == test.targets).all(-1)
    print(f"the training video that looks most like it has the label of {int(same.sum())} of {len(same)} test videos")
    for fitted in (bank_of(name, "fit", config.few), train):
        head = bank_head(fitted)
        rates = [right(each) for each in (with_head(fitted, head), cross_fitted(fitted), with_head(test, head))]
        print(
            f"heads of {fitted.num_videos}: {rates[0]} % of them, {rates[1]} % across, {rates[2]} % of the test videos"
        )
    print(f"heads across the test videos: {right(cross_fitted(test))} %")
    everything = load_dataset(name, split="all")
    write_list(config.out, everything.videos, everything.class_names)


def bank_of(name: str, split: str, num_videos: int | None = None) -> ClipBank:
    dataset = load_dataset(name, split=split, num_videos=num_videos)
    return cached_bank(dataset, make_classifier("tiny_r3d", weights="default"), num_clips=12)


def pictures(bank: ClipBank) -> Tensor:
    """The mean of a video's skims, (V, 3 * h * w), standardised: their product is a correlation."""
    skims = bank.field("skim").joined().float().split(bank.offsets.diff().tolist())
    flat = torch.stack([video.mean((0, 1)) for video in skims]).flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True)


def right(bank: ClipBank) -> str:
    """Percent of the videos whose label has the largest mean probability."""
    said = bank.field("logits").joined().softmax(-1).split(bank.offsets.diff().tolist())
    best = torch.stack([video.mean(0) for video in said]).argmax(-1, keepdim=True)
    return f"{100 * bank.targets.gather(1, best).float().mean().item():.1f}"


def write_list(path: Path, videos: Sequence[LabelledVideo], class_names: Sequence[str]) -> None:
    groups: dict[tuple[int, int, int], list[LabelledVideo]] = {}
    for video in videos:
        info = index_video(video.path).info
        groups.setdefault((info.width, info.height, round(info.fps)), []).append(video)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "label", "split"))
        for number, key in enumerate(sorted(groups, key=lambda key: (-len(groups[key]), key))):
            for video in groups[key]:
                writer.writerow((Path(video.path).resolve(), class_names[video.labels[0]], TURNS[number % len(TURNS)]))


if __name__ == "__main__":
    main()
