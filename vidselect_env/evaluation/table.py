"""Tables of results: one row a selector, means and intervals over seeds."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vidselect_env.evaluation.evaluate import Result
from vidselect_env.evaluation.metrics import mean_and_interval
from vidselect_env.files import write_aside

_R = TypeVar("_R", bound=Result)


@dataclass(frozen=True)
class Column:
    """A column: its heading, a result's value, and how many digits it is shown with; or a text for each selector."""

    heading: str
    value: Callable[[Any], float]
    digits: int
    texts: Mapping[str, str] | None = None


TOP1 = Column("Top-1", lambda result: 100 * result.top1, 1)
MAP = Column("mAP", lambda result: 100 * result.mean_average_precision, 1)
COLUMNS = (
    TOP1,
    Column("Top-5", lambda result: 100 * result.top5, 1),
    MAP,
    Column("clips", lambda result: result.clips_per_video, 1),
    Column("scorer GMACs", lambda result: result.scorer_gmacs, 4),
    Column("classifier GMACs", lambda result: result.classifier_gmacs, 4),
    Column("cost / dense", lambda result: result.relative_cost, 2),
)
HIT = Column("hit", lambda result: 100 * result.hit, 1)


def grouped(results: Sequence[_R]) -> dict[str, list[_R]]:
    """Results of each selector, in order of first appearance."""
    groups: dict[str, list[_R]] = {}
    for result in results:
        groups.setdefault(result.selector, []).append(result)
    return groups


def cells(results: Sequence[Any], columns: Sequence[Column] = COLUMNS) -> list[str]:
    """A row: `54.2 ± 1.1` where there are several seeds and they differ visibly, else `54.2`; empty for nan."""
    row = []
    for column in columns:
        if column.texts is not None:
            row.append(column.texts[results[0].selector])
            continue
        mean, interval = mean_and_interval([column.value(result) for result in results])
        digits = column.digits if mean < 10 or column.digits < 2 else 1
        text = "" if math.isnan(mean) else f"{mean:.{digits}f}"
        row.append(f"{text} ± {interval:.{digits}f}" if interval >= 0.5 * 10**-digits else text)
    return row


def columns_of(results: Sequence[Result], extra: Sequence[Column] = ()) -> list[Column]:
    """Those of every table; *hit* too where it is known where the action is."""
    known = any(not math.isnan(result.hit) for result in results)
    return [*COLUMNS, *([HIT] if known else []), *extra]


def markdown_table(results: Sequence[Result], *, extra: Sequence[Column] = ()) -> str:
    """The table as markdown; percent for Top-1, Top-5 and mAP."""
    columns = columns_of(results, extra)
    heading = ["selector", *(column.heading for column in columns)]
    lines = [f"| {' | '.join(heading)} |", "|---|" + "---:|" * len(columns)]
    lines += [f"| {' | '.join([name, *cells(rows, columns)])} |" for name, rows in grouped(results).items()]
    return "\n".join(lines)


def print_table(results: Sequence[Result], *, title: str, extra: Sequence[Column] = ()) -> None:
    """The table on the console, never folded: a long line is better than half a number."""
    columns = columns_of(results, extra)
    table = Table(title=escape(title))
    table.add_column("selector", no_wrap=True)
    for column in columns:
        table.add_column(escape(column.heading).replace(" ", "\n", 1), justify="right", no_wrap=True)
    for name, rows in grouped(results).items():
        table.add_row(escape(name), *cells(rows, columns))
    print_unfolded(table)


def print_unfolded(table: Table) -> None:
    """A table on the console, as wide as it needs to be: piped, a console has 80 columns."""
    needed = Console(width=1000, emoji=False).measure(table).maximum
    Console(width=max(Console().width, needed), emoji=False).print(table)


def write_csv(path: Path, results: Sequence[Result]) -> None:
    """Every result, unrounded, a line each."""
    names = [name for name in Result.__dataclass_fields__ if name != "right"]

    def write(aside: Path) -> None:
        with aside.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=names)
            writer.writeheader()
            writer.writerows({name: vars(result)[name] for name in names} for result in results)

    write_aside(path, write)
