"""A CSV or TSV file that lists videos, or parts of them: a row each.

| column | what it is |
|---|---|
| `path` | of the file, from the manifest's folder; or a URL that fsspec knows, as `s3://bucket/a.mp4` |
| `label` | the class; several are joined by `;` |
| `split` | if it has splits |
| `start_s`, `end_s` | the video is this part of its file, seconds from its first frame; empty: its start, its end |
| `action_start_s`, `action_end_s` | where in the file the action is; several are joined by `;` |
"""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from vidselect_env.datasets.base import LabelledVideo, VideoDataset
from vidselect_env.datasets.checks import Listed, check_apart, warn_left_out
from vidselect_env.datasets.splits import check_split, hashed_split, in_split
from vidselect_env.files import read_bytes
from vidselect_env.stores import check_url, is_url, joined
from vidselect_env.video.segment import check_segment

COLUMNS = ("path", "label", "split", "start_s", "end_s", "action_start_s", "action_end_s")
_END = "."
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True)
class _Row:
    line: int
    path: str
    labels: tuple[str, ...]
    split: str
    segment_s: tuple[float | None, float | None]
    action_spans_s: tuple[tuple[float, float], ...]


def manifest_dataset(path: str, *, split: str) -> VideoDataset:
    """The videos of one split of a manifest.

    The classes are the labels of the whole file in sorted order (by value where all are integers), so that
    every split has the same. Without a `split` column a hash of the path decides, as in `folder_dataset`; without
    a split `val`, that is a fifth of `train` by a hash of the path, and `fit` the rest. A file may be listed several
    times with different segments.

    Raises:
        ValueError: no such file, a missing column or one twice, no such split, a row that does not fit the columns, a
            quote that is not closed, a character that is none of a text, a segment or span that is none, the same part
            of a file twice or in two splits, splits that differ in capitals alone; it names the file and the line.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"dataset manifest {path!r} is not a file")
    rows = _read_rows(file)
    names = {name for row in rows for name in row.labels}
    numeric = all(_INTEGER.fullmatch(name) for name in names)
    class_names = tuple(sorted(names, key=lambda name: (int(name) if numeric else 0, name)))
    index = {name: position for position, name in enumerate(class_names)}
    available = sorted({row.split for row in rows})
    _check_split_names(file, rows)
    check_split(split, available=available, where=path)
    _check_distinct(file, rows)
    videos = tuple(
        LabelledVideo(
            joined(file.parent, row.path),
            tuple(index[name] for name in row.labels),
            start_s=row.segment_s[0],
            end_s=row.segment_s[1],
            action_spans_s=row.action_spans_s,
        )
        for row in rows
        if in_split(split, own=row.split, name=row.path, available=available)
    )
    return VideoDataset(name=f"csv:{path}", split=split, class_names=class_names, videos=videos)


def _read_rows(file: Path) -> list[_Row]:
    data = read_bytes(file)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        wrong = f"byte {error.object[error.start]:#04x} ({error.reason})"
        raise ValueError(f"{str(file)!r} is not UTF-8 text: line {line} has {wrong}") from error
    lines = _cells(file, text)
    line, columns = next(lines, (1, []))
    _check_columns(f"{str(file)!r}, line {line}", columns)
    warn_left_out(str(file), {"unknown columns": [name for name in columns if name and name not in COLUMNS]})
    return [_row(file, line, columns, values) for line, values in lines]


def _check_columns(where: str, columns: Sequence[str]) -> None:
    found = ", ".join(repr(name) for name in columns) or "none"
    if missing := {"path", "label"} - set(columns):
        raise ValueError(f"{where}: it lacks the column {', '.join(sorted(missing))}: there are {found}")
    if twice := [name for number, name in enumerate(columns) if name and name in columns[:number]]:
        raise ValueError(f"{where}: the column {twice[0]!r} is there twice: there are {found}")
    for pair in (("start_s", "end_s"), ("action_start_s", "action_end_s")):
        if len(set(pair) & set(columns)) == 1:
            raise ValueError(f"{where}: it has one of the columns {', '.join(pair)}: it needs both or none")


def _cells(file: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of every line that is not empty, stripped, with its number. A cell never goes over several lines."""
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        content = line.rstrip("\n")
        if not content.strip():
            continue
        # Within a quote that is open the end would be a part of the last cell.
        ended = f"{content}{delimiter}{_END}"
        try:
            [cells] = csv.reader([ended], delimiter=delimiter, skipinitialspace=True, strict=True)
        except csv.Error as error:
            reason = "a quote is opened and not closed" if "unexpected end" in str(error) else str(error)
            raise ValueError(f"{str(file)!r}, line {number}: {reason}: {content[:80]!r}") from error
        cells = [cell.strip(" \t") for cell in cells[:-1]]
        for cell in cells:
            if wrong := [character for character in cell if unicodedata.category(character) == "Cc"]:
                raise ValueError(f"{str(file)!r}, line {number}: {cell[:80]!r} has the control character {wrong[0]!r}")
        yield number, [cell.strip() for cell in cells]


def _row(file: Path, line: int, columns: Sequence[str], values: Sequence[str]) -> _Row:
    where = f"{str(file)!r}, line {line}"
    if len(values) > len(columns):
        raise ValueError(f"{where}: it has {len(values)} values, more than there are columns ({len(columns)})")
    cells = dict(zip_longest(columns, values, fillvalue=""))
    labels = tuple(dict.fromkeys(name.strip() for name in cells["label"].split(";") if name.strip()))
    if not cells["path"] or not labels:
        raise ValueError(f"{where}: a row needs a path and a label")
    if "split" in columns and not cells["split"]:
        raise ValueError(f"{where}: a row needs a split, as the file has a column of them")
    split = cells.get("split") or hashed_split(cells["path"])
    try:
        if is_url(cells["path"]):
            check_url(cells["path"])
        return _Row(line, cells["path"], labels, split, *_times(cells))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _times(cells: dict[str, str]) -> tuple[tuple[float | None, float | None], tuple[tuple[float, float], ...]]:
    """The segment and the spans of the action in a row.

    Raises:
        ValueError: they are not such numbers.
    """
    start_s, end_s = (_second(name, cells.get(name, "")) for name in ("start_s", "end_s"))
    check_segment(start_s, end_s)
    starts, ends = (cells.get(name, "") for name in ("action_start_s", "action_end_s"))
    if len(starts.split(";")) != len(ends.split(";")):
        raise ValueError(f"action_start_s ({starts}) and action_end_s ({ends}) must have a number each for every span")
    spans = []
    for start, end in zip(starts.split(";"), ends.split(";"), strict=True) if starts or ends else ():
        first, last = _second("action_start_s", start), _second("action_end_s", end)
        if first is None or last is None:
            raise ValueError(f"action_start_s ({starts}) and action_end_s ({ends}) must have a number each")
        check_segment(first, last, name="action_")
        spans.append((first, last))
    return (start_s, end_s), tuple(spans)


def _second(name: str, text: str) -> float | None:
    """A cell's seconds; None where it is empty."""
    text = text.strip()
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or abs(float(text)) == float("inf"):
        raise ValueError(f"{name} ({text[:80]}) must be a number of seconds")
    return float(text)


def _check_split_names(file: Path, rows: Sequence[_Row]) -> None:
    """No split is called what stands for all of them, or as another in other capitals."""
    first: dict[str, _Row] = {}
    for row in rows:
        other = first.setdefault(row.split.casefold(), row)
        if other.split != row.split:
            before = f"{other.split!r} in line {other.line}"
            raise ValueError(f"{str(file)!r}, line {row.line}: the split {row.split!r} is written {before}")
        if row.split == "all":
            raise ValueError(f"{str(file)!r}, line {row.line}: no split may be called 'all', which stands for them all")


def _check_distinct(file: Path, rows: Sequence[_Row]) -> None:
    """Every part of a file is listed once in a split, and in one split."""
    lines: dict[tuple, int] = {}
    for row in rows:
        path = row.path if is_url(row.path) else os.path.normpath(row.path)
        first = lines.setdefault((path, row.segment_s, row.split), row.line)
        if first != row.line:
            part = "" if row.segment_s == (None, None) else " with the segment [{}, {})".format(*row.segment_s)
            raise ValueError(
                f"{str(file)!r}, line {row.line}: {row.path!r}{part} is listed already in line {first}; "
                "several labels of a video are joined by ';'"
            )
    listed = [
        Listed(joined(file.parent, row.path), frozenset(row.labels), row.split, row.segment_s, row.line) for row in rows
    ]
    check_apart(str(file), listed, root=str(file.parent))
