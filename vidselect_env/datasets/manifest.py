"""A CSV or TSV file that lists videos: columns `path`, `label` and, if it has splits, `split`."""

from __future__ import annotations

import csv
import io
from itertools import zip_longest
from pathlib import Path

from vidselect_env.datasets.base import LabelledVideo, VideoDataset
from vidselect_env.datasets.folder import check_split, hashed_split


def manifest_dataset(path: str, *, split: str) -> VideoDataset:
    """The videos of one split of a manifest.

    Paths are relative to the manifest's folder. Several labels of a video are joined by `;`. The classes
    are the labels of the whole file in sorted order (by value where all are integers), so that every
    split has the same. Without a `split` column a hash of the path decides, as in `folder_dataset`.

    Raises:
        ValueError: no such file, a missing column, no such split, or a row without a path or label.
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
    videos = tuple(
        LabelledVideo(str(file.parent / row["path"]), tuple(index[name] for name in row["label"]))
        for row in rows
        if split in ("all", row["split"])
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
    rows = []
    for values in reader:
        if not values:
            continue
        row = dict(zip_longest(columns, (value.strip() for value in values), fillvalue=""))
        labels = [name.strip() for name in row["label"].split(";") if name.strip()]
        if not row["path"] or not labels:
            raise ValueError(f"{str(file)!r}, line {reader.line_num}: a row needs a path and a label")
        split = row.get("split") or hashed_split(row["path"])
        rows.append({"path": row["path"], "label": labels, "split": split})
    return rows
