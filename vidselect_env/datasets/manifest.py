"""A CSV or TSV file that lists videos, or parts of them: a row each.

| column | what it is |
|---|---|
| `path` | of the file, from the manifest's folder |
| `label` | the class; several are joined by `;` |
| `split` | if it has splits |
| `start_s`, `end_s` | the video is this part of its file, seconds from its first frame; empty: its start, its end |
| `action_start_s`, `action_end_s` | where in the file the action is; several are joined by `;` |
"""

from __future__ import annotations

import csv
import io
from itertools import zip_longest
from pathlib import Path

from vidselect_env.datasets.base import LabelledVideo, VideoDataset
from vidselect_env.datasets.folder import check_split, hashed_split
from vidselect_env.video.segment import check_segment


def manifest_dataset(path: str, *, split: str) -> VideoDataset:
    """The videos of one split of a manifest.

    The classes are the labels of the whole file in sorted order (by value where all are integers), so that
    every split has the same. Without a `split` column a hash of the path decides, as in `folder_dataset`.
    A file may be listed several times with different segments.

    Raises:
        ValueError: no such file, a missing column, no such split, a row without a path or label, a segment or
            span that is none, or the same part of a file twice; it names the file and the line.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"dataset manifest {path!r} is not a file")
    rows = _read_rows(file)
    names = {name for row in rows for name in row["label"]}
    numeric = all(name.lstrip("-").isdigit() for name in names)
    class_names = tuple(sorted(names, key=int) if numeric else sorted(names))
    index = {name: position for position, name in enumerate(class_names)}
    check_split(split, available=sorted({row["split"] for row in rows}), where=path)
    taken = [row for row in rows if split in ("all", row["split"])]
    _check_distinct(file, taken)
    videos = tuple(
        LabelledVideo(
            str(file.parent / row["path"]),
            tuple(index[name] for name in row["label"]),
            start_s=row["segment_s"][0],
            end_s=row["segment_s"][1],
            action_spans_s=row["action_spans_s"],
        )
        for row in taken
    )
    return VideoDataset(name=f"csv:{path}", split=split, class_names=class_names, videos=videos)


def _read_rows(file: Path) -> list[dict]:
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(file)!r} is not UTF-8 text: {error}") from error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    columns = [name.strip() for name in next(reader, [])]
    missing = {"path", "label"} - set(columns)
    if missing:
        raise ValueError(f"{str(file)!r} lacks the column {', '.join(sorted(missing))}")
    for pair in (("start_s", "end_s"), ("action_start_s", "action_end_s")):
        if len(set(pair) & set(columns)) == 1:
            raise ValueError(f"{str(file)!r} has one of the columns {', '.join(pair)}: it needs both or none")
    rows = []
    for values in reader:
        if not values:
            continue
        row = dict(zip_longest(columns, (value.strip() for value in values), fillvalue=""))
        labels = [name.strip() for name in row["label"].split(";") if name.strip()]
        if not row["path"] or not labels:
            raise ValueError(f"{str(file)!r}, line {reader.line_num}: a row needs a path and a label")
        split = row.get("split") or hashed_split(row["path"])
        try:
            times = _times(row)
        except ValueError as error:
            raise ValueError(f"{str(file)!r}, line {reader.line_num}: {error}") from error
        rows.append({"path": row["path"], "label": labels, "split": split, "line": reader.line_num, **times})
    return rows


def _times(row: dict[str, str]) -> dict:
    """`segment_s` and `action_spans_s` of a row.

    Raises:
        ValueError: they are not such numbers.
    """
    start_s, end_s = (_second(name, row.get(name, "")) for name in ("start_s", "end_s"))
    check_segment(start_s, end_s)
    bounds = []
    for name in ("action_start_s", "action_end_s"):
        cell = row.get(name, "")
        bounds.append([_second(name, part) for part in cell.split(";")] if cell else [])
    if len(bounds[0]) != len(bounds[1]) or None in bounds[0] + bounds[1]:
        values = f"action_start_s ({row.get('action_start_s')}) and action_end_s ({row.get('action_end_s')})"
        raise ValueError(f"{values} must have a number each for every span")
    spans = tuple(zip(*bounds, strict=True))
    for span in spans:
        check_segment(*span, name="action_")
    return {"segment_s": (start_s, end_s), "action_spans_s": spans}


def _second(name: str, text: str) -> float | None:
    """A cell's seconds; None where it is empty."""
    try:
        return float(text) if text.strip() else None
    except ValueError:
        raise ValueError(f"{name} ({text}) must be a number of seconds") from None


def _check_distinct(file: Path, rows: list[dict]) -> None:
    """Every part of a file is listed once in a split."""
    lines: dict[tuple, int] = {}
    for row in rows:
        key = (row["path"], row["segment_s"])
        if key in lines:
            part = "" if row["segment_s"] == (None, None) else " with the segment [{}, {})".format(*row["segment_s"])
            raise ValueError(
                f"{str(file)!r}, line {row['line']}: {row['path']!r}{part} is listed already in line {lines[key]}; "
                "several labels of a video are joined by ';'"
            )
        lines[key] = row["line"]
