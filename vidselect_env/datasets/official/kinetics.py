"""Kinetics-400 and -600 (Kay et al., 2017; Carreira et al., 2018), and Mini-Kinetics-200 (Xie et al., ECCV 2018)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vidselect_env.datasets.official.files import malformed, read_lines, read_table
from vidselect_env.datasets.official.listing import Entry, Listing, Report, check_num_classes, located
from vidselect_env.datasets.official.tree import Tree, keyed, stem

# Two distributors name the files of a split differently.
ALIASES = {"train": ("train",), "val": ("val", "validate"), "test": ("test",)}
COLUMNS = ("youtube_id", "time_start", "time_end")
REPLACEMENT = "replacement"  # a folder of mended videos, distributed beside those that they stand for


def read_kinetics(number: int, tree: Tree, variant: str, report: Report) -> Listing:
    """Kinetics by its CSV files, with columns `label,youtube_id,time_start,time_end,split`.

    Videos are named `ID_000010_000020`, of any suffix, in folders of classes or not. The classes are the labels of the
    training list (of all lists where it is not there), in alphabetical order. A list without `label` is withheld.
    """
    lists, absent = _read_lists(number, tree)
    labels = _labels([lists["train"]] if "train" in lists else lists.values())
    check_num_classes(report, labels, number)
    return Listing(
        class_names=tuple(sorted(labels)), splits=lists, paths=_paths(tree, report), absent=absent, may_share=True
    )


def read_mini_kinetics(tree: Tree, variant: str, report: Report) -> Listing:
    """Mini-Kinetics by `train_ytid_list.txt` and `val_ytid_list.txt`, an identifier a line, and Kinetics-400's CSVs.

    Labels and times are those of the CSV files, in whichever of them an identifier is.
    """
    lists, _ = _read_lists(400, tree)
    of_video: dict[str, list[Entry]] = {}
    for entry in (entry for entries in lists.values() for entry in entries):
        of_video.setdefault(entry.key[:-14], []).append(entry)  # without `_000010_000020`
    splits, unknown = {}, []
    for split in ("train", "val"):
        identifiers = [line for _, line in read_lines(tree.need(f"{split}_ytid_list.txt"))]
        splits[split] = [entry for identifier in identifiers for entry in of_video.get(identifier, ())]
        unknown += [identifier for identifier in identifiers if identifier not in of_video]
    report.note("in no CSV file of Kinetics-400, left out", unknown)
    labels = _labels(splits.values())
    check_num_classes(report, labels, 200)
    absent = {"test": "its authors made none; evaluate on val"}
    return Listing(
        class_names=tuple(sorted(labels)), splits=splits, paths=_paths(tree, report), absent=absent, may_share=True
    )


def _read_lists(number: int, tree: Tree) -> tuple[dict[str, list[Entry]], dict[str, str]]:
    """The labelled lists that are there, and why others are not.

    Raises:
        ValueError: there is none, or a row is of another form.
    """
    lists, absent = {}, {}
    for split, aliases in ALIASES.items():
        prefixes = (f"kinetics-{number}_", f"kinetics{number}_", f"kinetics_{number}_", f"kinetics{number}/")
        names = [f"{prefix}{alias}.csv" for prefix in (*prefixes, "annotations/", "") for alias in aliases]
        file = tree.find(*names)
        if file is None:
            absent[split] = f"no file {names[0]!r} or {names[-1]!r} under {tree.root!r}"
            continue
        entries = _read_csv(file)
        if entries is None:
            absent[split] = f"{file!r} has no labels; evaluate on val"
        else:
            lists[split] = entries
    if not lists:
        raise ValueError(f"there are no lists of Kinetics: {'; '.join(absent.values())}")
    return lists, absent


def _read_csv(file: str) -> list[Entry] | None:
    """The clips of a list; None where it has no labels."""
    rows = read_table(file)
    _, columns = next(rows, (1, []))
    missing = set(COLUMNS) - set(columns)
    if missing:
        raise ValueError(f"{file!r} lacks the column {', '.join(sorted(missing))}")
    if "label" not in columns:
        return None
    label, identifier, start, stop = (columns.index(name) for name in ("label", *COLUMNS))
    entries = []
    for number, row in rows:
        try:
            key = f"{row[identifier]}_{int(float(row[start])):06d}_{int(float(row[stop])):06d}"
            entries.append(Entry(key, (row[label],)))
        except (IndexError, ValueError):
            raise malformed(file, number, ",".join(columns)) from None
    return entries


def _labels(lists: Iterable[Sequence[Entry]]) -> set[str]:
    return {label for entries in lists for entry in entries for label in entry.labels}


def _paths(tree: Tree, report: Report) -> dict[str, str]:
    mended, _ = keyed((path for path in tree.videos if REPLACEMENT in path), stem)
    return located((path for path in tree.videos if REPLACEMENT not in path), stem, report) | mended
