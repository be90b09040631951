"""From what annotation files say and what lies on the disk to a `VideoDataset`, with one report of what is amiss."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from tqdm import tqdm

from vidselect_env.datasets.base import LabelledVideo, VideoDataset
from vidselect_env.datasets.official.tree import Tree, keyed

NUM_NAMED = 3  # of the videos that a line of the report counts


class Entry(NamedTuple):
    """A video as a list has it.

    key: what its file is found by. labels: names of its classes. spans_s: where the action is, in seconds.
    """

    key: str
    labels: tuple[str, ...]
    spans_s: tuple[tuple[float, float], ...] = ()


class Report:
    """What is amiss, gathered: how many videos, and which. Contradictions are errors, the rest is said once."""

    def __init__(self) -> None:
        self.contradictions: list[str] = []
        self.notes: list[str] = []

    def contradiction(self, what: str, names: Sequence[str]) -> None:
        self.contradictions += _counted(what, names)

    def note(self, what: str, names: Sequence[str]) -> None:
        self.notes += _counted(what, names)

    def close(self, subject: str) -> None:
        """Say it.

        Raises:
            ValueError: there are contradictions.
        """
        lines = "".join(f"\n  {line}" for line in [*self.contradictions, *self.notes])
        if self.contradictions:
            raise ValueError(f"{subject}: the lists contradict themselves or each other:{lines}")
        if lines:
            tqdm.write(f"{subject}:{lines}")


def _counted(what: str, names: Sequence[str]) -> list[str]:
    more = " ..." if len(names) > NUM_NAMED else ""
    return [f"{what}: {len(names)} ({', '.join(names[:NUM_NAMED])}{more})"] if names else []


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All that the annotation files of a dataset say, and where its videos are.

    class_names: in the order of their indices.
    splits: the videos of each split, `train`, `val` or `test`, as listed.
    paths: where the video of a key is, relative to the tree's root.
    absent: why a split is not among them.
    is_multilabel: several labels of a video are labels; otherwise they contradict each other.
    may_share: a video may be in several splits.
    """

    class_names: tuple[str, ...]
    splits: Mapping[str, Sequence[Entry]]
    paths: Mapping[str, str]
    absent: Mapping[str, str] = field(default_factory=dict)
    is_multilabel: bool = False
    may_share: bool = False


def assemble(listing: Listing, tree: Tree, *, name: str, split: str, report: Report) -> VideoDataset:
    """The videos of one split, or of `all`, that are on the disk.

    Raises:
        ValueError: no such split, none of its videos is there, a class that is not known, a video with two
            labels where there is one, a video in two splits.
    """
    subject = f"dataset {name}, split {split}"
    entries = _merged(_of_split(listing, split, subject), listing, report)
    index = {label: position for position, label in enumerate(listing.class_names)}
    unknown = [f"{label} of {entry.key}" for entry in entries for label in entry.labels if label not in index]
    report.contradiction("labels that are no class", unknown)
    if not listing.may_share:
        keys = {part: {entry.key for entry in listing.splits[part]} for part in listing.splits}
        own = _learned_on(split, listing)
        others = [part for part in keys if own not in ("all", part)]
        shared = [entry.key for entry in entries if any(entry.key in keys[part] for part in others)]
        report.contradiction(f"listed in {' or '.join(others)} too", shared)
    missing = [entry.key for entry in entries if entry.key not in listing.paths]
    if entries and len(missing) == len(entries):
        raise ValueError(
            f"{subject}: none of the {len(entries)} listed videos lies under {tree.root!r}, the first of which is "
            f"{missing[0]!r} (with any suffix of a video)"
        )
    report.note(f"not on the disk and left out, of {len(entries)} videos", missing)
    report.close(subject)
    videos = tuple(
        LabelledVideo(
            tree.absolute(listing.paths[entry.key]),
            tuple(index[label] for label in entry.labels),
            action_spans_s=entry.spans_s,
        )
        for entry in entries
        if entry.key in listing.paths
    )
    return VideoDataset(name=name, split=split, class_names=listing.class_names, videos=videos)


def _learned_on(split: str, listing: Listing) -> str:
    """The listed split that a name stands for: `fit` is `train` where there is a `val` of its own."""
    return "train" if split == "fit" and {"train", "val"} <= set(listing.splits) else split


def _of_split(listing: Listing, split: str, subject: str) -> Iterable[Entry]:
    split = _learned_on(split, listing)
    if split == "all":
        return chain.from_iterable(listing.splits.values())
    if split not in listing.splits:
        reason = f" ({listing.absent[split]})" if split in listing.absent else ""
        raise ValueError(f"{subject}: there is no such split{reason}: there are {', '.join([*listing.splits, 'all'])}")
    return listing.splits[split]


def _merged(entries: Iterable[Entry], listing: Listing, report: Report) -> list[Entry]:
    """Every video once."""
    merged: dict[str, Entry] = {}
    again, torn = [], []
    for entry in entries:
        known = merged.setdefault(entry.key, entry)
        if known is entry:
            continue
        if set(known.labels) == set(entry.labels) or listing.is_multilabel:
            again.append(entry.key)
            labels = tuple(dict.fromkeys([*known.labels, *entry.labels]))
            merged[entry.key] = Entry(entry.key, labels, merged_spans([*known.spans_s, *entry.spans_s]))
        else:
            torn.append(f"{entry.key}: {', '.join([*known.labels, *entry.labels])}")
    report.contradiction("listed twice, with different labels", torn)
    report.note("listed more than once, taken once", again)
    return list(merged.values())


def merged_spans(
    spans_s: Iterable[tuple[float, float]], *, duration_s: float | None = None
) -> tuple[tuple[float, float], ...]:
    """Spans in order, those that touch made one, cut where the video ends; what is then empty is left out.

    Example: (5, 7), (1, 3), (2, 4), (9, 9), (9.5, 12) of a video of 10 s -> (1, 4), (5, 7), (9.5, 10).
    """
    end_s = float("inf") if duration_s is None else duration_s
    inside = [(max(start, 0.0), min(stop, end_s)) for start, stop in spans_s]
    joined: list[tuple[float, float]] = []
    for start, stop in sorted(span for span in inside if span[0] < span[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return tuple(joined)


def faulty_spans(key: str, spans_s: Iterable[tuple[float, float]], *, duration_s: float | None = None) -> list[str]:
    """Those of a video that have no part in it, as a report names them."""
    end_s = float("inf") if duration_s is None else duration_s
    return [f"{key} {start:g} to {stop:g} s" for start, stop in spans_s if not max(start, 0) < min(stop, end_s)]


def located(paths: Iterable[str], key: Callable[[str], str], report: Report) -> dict[str, str]:
    """Where the video of each key is; of several, the one nearest to the root, which is said."""
    nearest, several = keyed(paths, key)
    report.note("on the disk more than once, the nearest taken", several)
    return nearest


def check_num_classes(report: Report, names: Collection[str], official: int) -> None:
    """Say where a list names fewer or more classes than the dataset has: it may be cut short, or another's."""
    if len(names) != official:
        report.notes.append(f"{len(names)} classes, where the official lists have {official}")
