"""The mean over a dataset's official splits, as UCF101 and HMDB51 are reported."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vidselect_env.evaluation.evaluate import Result
from vidselect_env.evaluation.table import grouped

_MEANS = tuple(name for name in Result.__dataclass_fields__ if name not in ("selector", "num_videos", "right"))


def mean_over_splits(tables: Sequence[Sequence[Result]]) -> list[Result]:
    """One table for the tables of all splits: every split counts the same, however many videos it has.

    The rows of a selector (seeds) are taken in their order: the first of each split together, and so on. `num_videos`
    is that of all splits together.

    Raises:
        ValueError: there is no table, or the tables have not the same selectors, as many rows of each.
    """
    if not tables:
        raise ValueError("there is no table to take the mean of")
    groups = [grouped(table) for table in tables]
    counts = [{name: len(rows) for name, rows in group.items()} for group in groups]
    for number, count in enumerate(counts[1:], 2):
        if count != counts[0]:
            raise ValueError(f"rows of table {number} ({count}) must be those of the first ({counts[0]})")
    return [
        Result(
            selector=name,
            num_videos=sum(row.num_videos for row in rows),
            **{field: float(np.mean([vars(row)[field] for row in rows])) for field in _MEANS},  # type: ignore[arg-type]
        )
        for name in groups[0]
        for rows in zip(*(group[name] for group in groups), strict=True)
    ]


def read_results(file: Path) -> list[Result]:
    """The rows that `write_csv` wrote.

    Raises:
        ValueError: there is no such file, it lacks a column, or a value is no number.
    """
    if not file.is_file():
        raise ValueError(f"{str(file.parent)!r} is no finished run: it has no {file.name}")
    try:
        return _read(file)
    except (KeyError, TypeError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{str(file)!r} is damaged: {type(error).__name__} {error}") from error


def _read(file: Path) -> list[Result]:
    with file.open(newline="") as stream:
        reader = csv.DictReader(stream)
        missing = set(Result.__dataclass_fields__) - {"right"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{str(file)!r} lacks the column {', '.join(sorted(missing))}")
        return [
            Result(
                selector=row["selector"],
                num_videos=int(row["num_videos"]),
                **{field: float(row[field]) for field in _MEANS},  # type: ignore[arg-type]
            )
            for row in reader
        ]
