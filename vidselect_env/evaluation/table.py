"""Tables of results: one row a selector, means and intervals over seeds."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vidselect_env.evaluation.evaluate import Result
from vidselect_env.evaluation.metrics import mean_and_interval


@dataclass(frozen=True)
class Column:
    """A column: its heading, a result's value, and how many digits it is shown with."""

    heading: str
    value: Callable[[Result], float]
    digits: int


COLUMNS = (
    Column("Top-1", lambda result: 100 * result.top1, 1),
    Column("Top-5", lambda result: 100 * result.top5, 1),
    Column("mAP", lambda result: 100 * result.mean_average_precision, 1),
    Column("clips", lambda result: result.clips_per_video, 1),
    Column("GMACs scorer", lambda result: result.scorer_gmacs, 4),
    Column("GMACs classifier", lambda result: result.classifier_gmacs, 4),
    Column("cost / dense", lambda result: result.relative_cost, 2),
)


def grouped(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results of each selector, in order of first appearance."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.selector, []).append(result)
    return groups


def cells(results: Sequence[Result]) -> list[str]:
    """A row: `54.2 ± 1.1` where there are several seeds and they differ, else `54.2`."""
    row = []
    for column in COLUMNS:
        mean, interval = mean_and_interval([column.value(result) for result in results])
        digits = column.digits if mean < 10 or column.digits < 2 else 1
        text = f"{mean:.{digits}f}"
        row.append(f"{text} ± {interval:.{digits}f}" if interval > 0 else text)
    return row


def markdown_table(results: Sequence[Result]) -> str:
    """The table as markdown; percent for Top-1, Top-5 and mAP."""
    heading = ["selector", *(column.heading for column in COLUMNS)]
    lines = [f"| {' | '.join(heading)} |", "|---|" + "---:|" * len(COLUMNS)]
    lines += [f"| {' | '.join([name, *cells(rows)])} |" for name, rows in grouped(results).items()]
    return "\n".join(lines)


def print_table(results: Sequence[Result], *, title: str) -> None:
    """The table on the console."""
    table = Table(title=title)
    table.add_column("selector")
    for column in COLUMNS:
        table.add_column(column.heading, justify="right")
    for name, rows in grouped(results).items():
        table.add_row(name, *cells(rows))
    Console(width=None).print(table)


def write_csv(path: Path, results: Sequence[Result]) -> None:
    """Every result, unrounded, a line each."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(Result.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(vars(result) for result in results)
