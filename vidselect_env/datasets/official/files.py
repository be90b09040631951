"""Lines, tables and JSON of annotation files. Bytes that are no UTF-8 survive as `os` keeps those of file names."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from typing import Any


def read_lines(file: str) -> Iterator[tuple[int, str]]:
    """The lines of a text file, packed by gzip or not, that are not empty: their numbers from 1, and themselves."""
    opener = gzip.open if file.endswith(".gz") else open
    with opener(file, "rt", encoding="utf-8-sig", errors="surrogateescape") as stream:
        for number, line in enumerate(stream, 1):
            if line := line.strip():
                yield number, line


def read_table(file: str, *, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file that are not empty: the numbers of their lines, and their cells."""
    with open(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True)
        for row in reader:
            if row:
                yield reader.line_num, [cell.strip() for cell in row]


def read_json(file: str) -> Any:
    """The value of a JSON file.

    Raises:
        ValueError: it is not JSON.
    """
    with open(file, encoding="utf-8-sig") as stream:
        try:
            return json.load(stream)
        except ValueError as error:
            raise ValueError(f"{file!r} is not JSON: {error}") from error


def malformed(file: str, number: int, form: str) -> ValueError:
    """The error of a line that is not of the official form."""
    return ValueError(f"{file!r}, line {number}: a line must be of the form {form!r}")
