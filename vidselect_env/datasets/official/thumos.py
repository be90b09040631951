"""THUMOS14 (Jiang et al., 2014): untrimmed, several labels a video; temporal annotations for 20 of the classes.

Its authors' `validation` set is what is trained on (as DSN does), so it is the split `train` here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from vidselect_env.datasets.official.files import malformed, read_lines
from vidselect_env.datasets.official.listing import (
    Entry,
    Listing,
    Report,
    check_num_classes,
    faulty_spans,
    located,
    merged_spans,
)
from vidselect_env.datasets.official.tree import Tree, stem
from vidselect_env.datasets.official.ucf_hmdb import read_class_index

# Those with temporal annotations, as `detclasslist.txt` lists them.
DETECTION_CLASSES = (
    *("BaseballPitch", "BasketballDunk", "Billiards", "CleanAndJerk", "CliffDiving", "CricketBowling", "CricketShot"),
    *("Diving", "FrisbeeCatch", "GolfSwing", "HammerThrow", "HighJump", "JavelinThrow", "LongJump", "PoleVault"),
    *("Shotput", "SoccerPenalty", "TennisSwing", "ThrowDiscus", "VolleyballSpiking"),
)
# Split -> the ending of annotation files, the variable of the metadata, and its files: the evaluation kit's first.
PARTS = {
    "train": ("val", "validation_videos", ("validation_set.mat",)),
    "test": ("test", "test_videos", ("test_set_final.mat", "test_set_meta.mat")),
}
_VIDEO = re.compile(r"video_(?:validation|test)_\d{7}")
_ABSENT = {"val": "its authors' validation set is the split train"}

Spans = dict[str, dict[str, list[tuple[float, float]]]]  # video -> class -> from and to, in seconds


class Metadata(NamedTuple):
    """Of every video its length, and the numbers of its classes from 1; none of a background video."""

    durations_s: dict[str, float]
    classes: dict[str, tuple[int, ...]]


def read_thumos14(tree: Tree, variant: str, report: Report) -> Listing:
    """THUMOS14's recognition task of `101` classes, or the videos and classes, `20`, with temporal annotations.

    Of 101: the labels are those of the metadata (`validation_set.mat`, `test_set_meta.mat`), primary and secondary;
    background videos of the test set, which have none, are left out. `Class Index.txt` names the classes.
    Of 20: the labels are those of the `CLASS_val.txt` and `CLASS_test.txt` in which a video occurs.
    Spans are those of all annotated classes of a video together; `Ambiguous` ones do not count. What lies past the
    end of a video, as some annotations do, is left out where the metadata tells its length.
    """
    numbered = read_class_index(tree, "Class Index.txt", "classInd.txt") if variant == "101" else {}
    class_names = tuple(numbered[number] for number in sorted(numbered)) or DETECTION_CLASSES
    check_num_classes(report, class_names, int(variant))
    splits: dict[str, list[Entry]] = {}
    for split, (ending, variable, files) in PARTS.items():
        spans = _read_spans(tree, ending, needed=variant == "20")
        file = tree.need(*files) if variant == "101" else tree.find(*files)
        metadata = _read_metadata(file, variable) if file else Metadata({}, {})
        labels = {video: tuple(found) for video, found in spans.items()}
        if variant == "101":
            labels = {
                video: tuple(numbered.get(number, f"class {number}") for number in numbers)
                for video, numbers in metadata.classes.items()
            }
        splits[split] = _entries(split, labels, spans, metadata.durations_s, report)
    paths = located(tree.videos, stem, report)
    return Listing(class_names=class_names, splits=splits, paths=paths, absent=_ABSENT, is_multilabel=True)


def _entries(
    split: str, labels: dict[str, tuple[str, ...]], spans: Spans, durations_s: dict[str, float], report: Report
) -> list[Entry]:
    entries, faulty = [], []
    for video, names in labels.items():
        every = [span for of_class in spans.get(video, {}).values() for span in of_class]
        faulty += faulty_spans(video, every, duration_s=durations_s.get(video))
        if names:
            entries.append(Entry(video, names, merged_spans(every, duration_s=durations_s.get(video))))
    report.note(f"spans outside their videos of {split}, left out", faulty)
    report.note(f"background videos of {split}, left out", [video for video, names in labels.items() if not names])
    return entries


def _read_spans(tree: Tree, ending: str, *, needed: bool) -> Spans:
    """Annotated spans of one set, from lines `video_validation_0000266  72.8 76.4`.

    Raises:
        ValueError: another form; or they are needed, and a class has no file.
    """
    spans: Spans = defaultdict(lambda: defaultdict(list))
    for label in DETECTION_CLASSES:
        name = f"{label}_{ending}.txt"
        file = tree.need(name) if needed else tree.find(name)
        for number, line in read_lines(file) if file else ():
            try:
                video, start, stop = line.split()
                spans[video][label].append((float(start), float(stop)))
            except ValueError:
                raise malformed(file or name, number, "video_validation_0000266 72.8 76.4") from None
    return spans


def _read_metadata(file: str, variable: str) -> Metadata:
    """The struct array of a `.mat` file.

    Raises:
        ValueError: the file has no such variable, or it lacks a field.
    """
    from scipy.io import loadmat  # takes a while to import

    metadata = Metadata({}, {})
    try:
        rows = np.atleast_1d(loadmat(file, squeeze_me=True)[variable])
        for row in rows:
            match = _VIDEO.match(str(row["video_name"]))
            if match is None:
                raise ValueError(f"video_name {row['video_name']!r} is not of the form 'video_test_0000001'")
            video = match[0]  # `.mpeg` follows some names, and the files are `.mp4`
            is_background = "background_video" in (rows.dtype.names or ()) and str(row["background_video"]) == "YES"
            numbers = np.append(row["primary_action_index"], row["secondary_actions_indices"]).tolist()
            metadata.durations_s[video] = float(row["video_duration_seconds"])
            metadata.classes[video] = () if is_background else tuple(dict.fromkeys(map(int, numbers)))
    except (KeyError, ValueError, TypeError, NotImplementedError) as error:
        raise ValueError(f"{file!r} is not THUMOS14's metadata {variable!r}: {error!r}") from error
    return metadata
