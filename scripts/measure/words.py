"""How well a classifier tells trimmed words of GRID apart, and how that falls with the clip's distance from the word.

    python scripts/measure/words.py --data ../shared/data/grid_s1

Every task takes the outputs of its own words alone. Words are those of words.csv, whose videos no task has, and those
of the tasks' training videos; the tasks' test videos are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from rich.console import Console
from torch import Tensor
from tqdm import tqdm

from vidselect_classifiers import ClipClassifier, ClipGeometry
from vidselect_env.bank.decode import clip_spans_s, ordered_ahead
from vidselect_env.datasets import LabelledVideo, VideoDataset, load_dataset
from vidselect_env.datasets.labels import padded_spans
from vidselect_env.evaluation.hits import nearest_scores
from vidselect_env.fitting.options import ClassifierOptions
from vidselect_env.video.clips import ClipGrid
from vidselect_env.video.decode import FrameSize, read_clips
from vidselect_env.video.index import index_video


@dataclass(frozen=True, kw_only=True)
class WordsConfig(ClassifierOptions):
    """Which classifier, on what.

    Args:
        data: folder of words.csv and of the tasks' lists.
        tasks: lists of segments with one word each.
        split: of words.csv, for the trimmed words.
        max_offset: most frames from the word's middle, of the tasks' words.
        candidates: clips of a segment, one of which is nearest to the word.
    """

    data: Path
    tasks: tuple[str, ...] = ("colour", "adverb", "verb", "digit")
    split: str = "test"
    max_offset: int = 4
    candidates: int = 12
    classifier: str = "lip_tcn"


def main() -> None:
    config = tyro.cli(WordsConfig, description=__doc__)
    classifier = config.make_classifier().to(config.torch_device)
    geometry = classifier.geometry
    words = load_dataset(f"csv:{config.data}/words.csv", split=config.split)
    offsets = list(range(-config.max_offset, config.max_offset + 1))
    told: list[list[str | float]] = []
    moved: list[list[str | float]] = []
    for task in tqdm(config.tasks, unit="task"):
        dataset = load_dataset(f"csv:{config.data}/{task}.csv", split="train")
        names = dataset.class_names
        tested = [(word, word_clips(word, geometry, offsets=[0])) for word in of_classes(words, names)]
        own = [(word, word_clips(word, geometry, offsets=offsets)) for word in trimmed(dataset)]
        nearest = [(video, nearest_clip(video, geometry, config.candidates)) for video in dataset.videos]
        [of_test], by_offset, [of_nearest] = (accuracy(classifier, jobs, names) for jobs in (tested, own, nearest))
        told.append([f"{task} ({len(tested)}, {len(own)})", of_test, by_offset[config.max_offset], of_nearest])
        moved.append([task, *by_offset])
    say(["task (words)", f"trimmed, words.csv {config.split}", "trimmed, the task's train", "nearest clip"], told)
    say(["frames off", *map(str, offsets)], moved)


def trimmed(dataset: VideoDataset) -> list[LabelledVideo]:
    """The words themselves, of segments that hold one each."""
    return [
        replace(video, start_s=start_s, end_s=end_s)
        for video in dataset.videos
        for start_s, end_s in video.action_spans_s
    ]


def of_classes(dataset: VideoDataset, class_names: Sequence[str]) -> list[LabelledVideo]:
    """The videos with one of the classes, labelled by its number among these."""
    return [
        replace(video, labels=(class_names.index(name),))
        for video in dataset.videos
        for name in [dataset.class_names[video.labels[0]]]
        if name in class_names
    ]


def word_clips(video: LabelledVideo, geometry: ClipGeometry, *, offsets: Iterable[int]) -> Tensor:
    """Frames of the file, (L, T), of clips around the middle of a trimmed word, and so many frames before or after it.

    Clips that would leave the file stay at its edge.
    """
    index = index_video(video.path, start_s=video.start_s, end_s=video.end_s)
    middle = index.first + (index.info.num_frames - geometry.span) // 2
    starts = torch.tensor([middle + offset for offset in offsets])
    starts = starts.clamp(0, max(index.file.info.num_frames - geometry.span, 0))
    return starts[:, None] + torch.arange(geometry.num_frames) * geometry.frame_stride


def nearest_clip(video: LabelledVideo, geometry: ClipGeometry, num_clips: int) -> Tensor:
    """Frames of the file, (1, T), of the candidate of a segment that is nearest to the word."""
    index = index_video(video.path, start_s=video.start_s, end_s=video.end_s)
    grid = ClipGrid(num_clips=num_clips, num_frames=geometry.num_frames, frame_stride=geometry.frame_stride)
    frames = grid.frame_indices(index.info.num_frames)
    scores = nearest_scores(clip_spans_s(index, frames)[None], padded_spans([video.action_spans_s]))
    return index.first + frames[scores[0].argmax()][None]


@torch.inference_mode()
def accuracy(
    classifier: ClipClassifier, jobs: Sequence[tuple[LabelledVideo, Tensor]], class_names: Sequence[str]
) -> list[float]:
    """Per cent of videos whose label is the most probable of the classes, for each of their L clips (L, T)."""
    assert classifier.class_names is not None
    rows = [classifier.class_names.index(name) for name in class_names]
    size = FrameSize(classifier.geometry.resize, classifier.geometry.crop)
    device = next(classifier.parameters()).device

    def decode(job: tuple[LabelledVideo, Tensor]) -> Tensor:
        return read_clips(job[0].path, job[1], sizes=[size])[0]

    right = torch.zeros(len(jobs[0][1]))
    for (video, _), clips in zip(jobs, ordered_ahead(decode, jobs, num_workers=2, ahead=8), strict=True):
        right += (classifier(clips.result().to(device)).logits[:, rows].argmax(-1) == video.labels[0]).float().cpu()
    return (100 * right / len(jobs)).tolist()


def say(columns: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
    lines = [f"| {' | '.join(columns)} |", f"|---|{'---:|' * (len(columns) - 1)}"]
    lines += [f"| {row[0]} | {' | '.join(f'{value:.1f}' for value in row[1:])} |" for row in rows]
    Console().print("\n".join([*lines, ""]), highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
