"""Something-Something V1 and V2 (Goyal et al., ICCV 2017) and Jester (Materzynska et al., ICCVW 2019)."""

from __future__ import annotations

from vidselect_env.datasets.official.files import malformed, read_json, read_table
from vidselect_env.datasets.official.listing import Entry, Listing, Report, check_num_classes, located
from vidselect_env.datasets.official.tree import Tree, keyed, stem

LISTS = {"train": "train", "val": "validation", "test": "test"}
_WITHHELD = "its labels are not here (test-answers.csv); evaluate on val"


def read_something_v2(tree: Tree, variant: str, report: Report) -> Listing:
    """Something-Something V2 by its JSON files; videos are `ID.webm`, or of another suffix.

    The label of an entry is its `template` without brackets: `Holding [something]` is `Holding something`, whose
    index `labels.json` tells. The first release names files `something-something-v2-train.json`, the second
    `labels/train.json`, and adds `test-answers.csv`.
    """
    prefix = "something-something-v2-"
    file = tree.need(f"{prefix}labels.json", "labels/labels.json", "labels.json")
    try:
        indices = {label: int(index) for label, index in read_json(file).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f'{file!r} is not of the form {{"Holding something": "16"}}: {error}') from error
    class_names = tuple(sorted(indices, key=indices.__getitem__))
    check_num_classes(report, class_names, 174)
    splits = {}
    for split in ("train", "val"):
        name = f"{LISTS[split]}.json"
        listed = tree.find(f"{prefix}{name}", f"labels/{name}", name)
        if listed is not None:
            splits[split] = _read_templates(listed)
    answers = tree.find("labels/test-answers.csv", "test-answers.csv")
    if answers is not None:
        splits["test"] = _read_pairs(answers)
    paths = located(tree.videos, stem, report)
    return Listing(class_names=class_names, splits=splits, paths=paths, absent=_absent(splits, f"{prefix}*.json"))


def _read_templates(file: str) -> list[Entry]:
    try:
        return [
            Entry(str(video["id"]), (video["template"].replace("[", "").replace("]", ""),)) for video in read_json(file)
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file!r}: an entry needs 'id' and 'template': {error!r}") from error


def read_something_v1(tree: Tree, variant: str, report: Report) -> Listing:
    """Something-Something V1 by `something-something-v1-{labels,train,validation}.csv`: see `_read_pictures`."""
    return _read_pictures(tree, report, prefix="something-something-v1-", num_classes=174)


def read_jester(tree: Tree, variant: str, report: Report) -> Listing:
    """Jester by `jester-v1-{labels,train,validation}.csv`: see `_read_pictures`."""
    return _read_pictures(tree, report, prefix="jester-v1-", num_classes=27)


def _read_pictures(tree: Tree, report: Report, *, prefix: str, num_classes: int) -> Listing:
    """A dataset of folders `ID/00001.jpg`, with lists of lines `ID;LABEL`; later releases name them `labels/train.csv`.

    Classes are in the order of the labels' file. Where there is a video file `ID.mp4` it is taken, not the folder:
    somebody made it for its motion vectors.
    """
    label_file = tree.need(f"{prefix}labels.csv", "labels/labels.csv", "labels.csv")
    class_names = tuple(row[0] for _, row in read_table(label_file, delimiter=";"))
    check_num_classes(report, class_names, num_classes)
    splits = {}
    for split, name in LISTS.items():
        name = "test-answers" if split == "test" else name
        file = tree.find(f"{prefix}{name}.csv", f"labels/{name}.csv", f"{name}.csv")
        if file is not None:
            splits[split] = _read_pairs(file)
    folders, _ = keyed(tree.frame_folders, stem)
    paths = folders | located(tree.videos, stem, report)
    return Listing(class_names=class_names, splits=splits, paths=paths, absent=_absent(splits, f"{prefix}*.csv"))


def _read_pairs(file: str) -> list[Entry]:
    """Lines `100218;Something falling like a feather or paper`."""
    entries = []
    for number, row in read_table(file, delimiter=";"):
        if len(row) != 2 or not all(row):
            raise malformed(file, number, "ID;LABEL")
        entries.append(Entry(row[0], (row[1],)))
    return entries


def _absent(splits: dict[str, list[Entry]], pattern: str) -> dict[str, str]:
    reasons = {"train": f"no list {pattern}", "val": f"no list {pattern}", "test": _WITHHELD}
    return {split: reason for split, reason in reasons.items() if split not in splits}
