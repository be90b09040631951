"""Two runs side by side: one HTML file made of the reports of both, where they are of the same test videos."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from vidselect_env.evaluation.pages import FILE_NAME
from vidselect_env.evaluation.templating import rendered
from vidselect_env.files import read_text, write_aside


@dataclass(frozen=True)
class VideoPart:
    """What a report shows of one video: its element as it stands there, and what a filter asks of it."""

    name: str
    labels: tuple[str, ...]
    right: bool
    element: Markup


@dataclass(frozen=True)
class ReportParts:
    """The parts of a `report.html`: its title, style, headings and rows of the table, and its videos."""

    title: str
    style: Markup
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    videos: tuple[VideoPart, ...]


def read_report(path: Path) -> ReportParts:
    """Take a report apart.

    Raises:
        ValueError: there is none, or it is not as `write_page` writes it.
    """
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"report {str(path)!r} cannot be read: {error}") from error
    parts = {
        name: re.search(rf"<{name}>(.*?)</{name}>", text, re.DOTALL) for name in ("title", "style", "thead", "tbody")
    }
    if missing := [name for name, found in parts.items() if found is None]:
        raise ValueError(f"report {str(path)!r} has no {', '.join(missing)}: `vidselect evaluate` makes another")
    inner = {name: found.group(1) for name, found in parts.items() if found is not None}
    return ReportParts(
        title=html.unescape(inner["title"]),
        style=Markup(inner["style"]),
        headings=tuple(map(_text, re.findall(r"<th\b.*?</th>", inner["thead"], re.DOTALL))),
        rows=tuple(
            tuple(map(_text, re.findall(r"<td>.*?</td>", row, re.DOTALL)))
            for row in re.findall(r"<tr\b.*?</tr>", inner["tbody"], re.DOTALL)
        ),
        videos=tuple(_video(element, path) for element in re.findall(r"<article\b.*?</article>", text, re.DOTALL)),
    )


def write_comparison(path: Path, first: Path, second: Path, *, settings: Mapping[str, tuple[object, object]]) -> None:
    """Write a page of two runs.

    Args:
        path: of the file.
        first, second: the runs' folders, each with its report.
        settings: that differ, each with both values.

    Raises:
        ValueError: a report cannot be read, or they are of other test videos.
    """
    runs = (first, second)
    reports = [read_report(run / FILE_NAME) for run in runs]
    names = [[video.name for video in report.videos] for report in reports]
    if names[0] != names[1]:
        said = " and ".join(f"{str(run)!r} of {len(each)}" for run, each in zip(runs, names, strict=True))
        raise ValueError(f"the runs are of other test videos ({said}): they cannot be compared one by one")
    headings = list(dict.fromkeys(heading for report in reports for heading in report.headings))
    data = rendered(
        "comparison.html",
        names=_apart([run.name for run in runs]),
        reports=reports,
        headings=headings,
        rows=[
            (number, [dict(zip(report.headings, row, strict=True)).get(heading, "") for heading in headings])
            for number, report in enumerate(reports)
            for row in report.rows
        ],
        pairs=list(zip(reports[0].videos, reports[1].videos, strict=True)),
        settings=settings,
        classes=sorted({label for video in reports[0].videos for label in video.labels}),
    )
    write_aside(path, lambda aside: aside.write_bytes(data))


def _video(element: str, path: Path) -> VideoPart:
    name = re.search(r"<h3>(.*?)</h3>", element, re.DOTALL)
    labels, right = re.search(r'data-labels="(.*?)"', element), re.search(r'data-right="([01])"', element)
    if name is None or labels is None or right is None:
        raise ValueError(f"report {str(path)!r} is damaged: a video of it has no name, label or answer")
    listed = json.loads(html.unescape(labels.group(1)))
    return VideoPart(_text(name.group(0)), tuple(listed), right.group(1) == "1", Markup(element))


def _text(element: str) -> str:
    """The words of an element."""
    return html.unescape(re.sub(r"<[^>]*>", "", element)).strip()


def _apart(names: list[str]) -> list[str]:
    """Names that differ, of folders that may be called alike."""
    return names if names[0] != names[1] else [f"{name} ({which})" for name, which in zip(names, "AB", strict=True)]
