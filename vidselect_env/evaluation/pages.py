"""The report that one browses: one HTML file with everything in it, no server and no network.

Shapes: B contexts, K candidates a context, L candidates of a video's grid, C classes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vidselect_env.envs.contract import Selector
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.render import thumbnails
from vidselect_env.envs.rewards import label_probability
from vidselect_env.envs.sources.bank import BankSource
from vidselect_env.evaluation.evaluate import Result, selection_of
from vidselect_env.evaluation.frontier import frontier
from vidselect_env.evaluation.table import cells, columns_of, grouped
from vidselect_env.evaluation.templating import rendered
from vidselect_env.files import write_aside
from vidselect_env.video.errors import VideoError

FILE_NAME = "report.html"
MOST_PICTURES = 6  # of a video: 400 videos have to fit into 15 MB
PICTURE_HEIGHT, JPEG_QUALITY = 66, 55


@dataclass(frozen=True)
class Candidate:
    """One candidate on a video's timeline, whose whole width is 1.

    place: on the grid. left, width: where it lies. start_s: when, where that is known. probability: of the true class.
    right: whether the classifier is right about it. chosen, uniform: whether the agent and `uniform` take it.
    """

    place: int
    left: float
    width: float
    start_s: float | None
    probability: float
    right: bool
    chosen: bool
    uniform: bool


@dataclass(frozen=True)
class VideoPage:
    """What is shown of one video.

    right, uniform_right: whether the agent's and `uniform`'s predictions are. spans: of the action, (left, width).
    pictures: JPEGs as data URIs, with the candidates that they are of; `note` says which are missing and why.
    """

    name: str
    labels: tuple[str, ...]
    predicted: str
    right: bool
    uniform_right: bool
    candidates: tuple[Candidate, ...]
    spans: tuple[tuple[float, float], ...] = ()
    pictures: tuple[tuple[str, Candidate], ...] = field(default=(), repr=False)
    note: str = ""


def write_page(
    folder: Path,
    results: Sequence[Result],
    sweep: Mapping[int, Sequence[Result]],
    videos: Sequence[VideoPage],
    *,
    title: str,
    agent: str,
    facts: Mapping[str, object],
    references: Collection[str] = (),
) -> Path:
    """Write `report.html` into a folder, and return its path.

    Args:
        results, sweep: as of `write_report`. videos: as of `video_pages`.
        agent: the name of the agent's row.
        facts: what the run was, a line each.
        references: names of the rows that are drawn dashed.
    """
    columns = columns_of(results)
    data = rendered(
        "report.html",
        title=title,
        agent=agent,
        facts=facts,
        headings=["selector", *(column.heading for column in columns)],
        rows=[(name, cells(group, columns)) for name, group in grouped(results).items()],
        plot=frontier(sweep, agent=agent, dashed=references),
        videos=videos,
        classes=sorted({label for video in videos for label in video.labels}),
    )
    write_aside(folder / FILE_NAME, lambda aside: aside.write_bytes(data))
    return folder / FILE_NAME


def video_pages(
    agent: Selector, uniform: Selector, problem: SelectionProblem, *, results: Mapping[str, Result], name: str
) -> list[VideoPage]:
    """What is shown of every video of a problem.

    Args:
        results: of `name`, the agent, and of `uniform`, with `right` of every video.
    """
    chosen, evenly = _weights(agent, problem), _weights(uniform, problem)

    def page(video: int) -> VideoPage:
        made = _page(problem, video, chosen[video], evenly[video], right=results[name].right[video])
        return _with_pictures(problem, video, replace(made, uniform_right=results["uniform"].right[video]))

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(page, range(len(chosen))))


def _weights(selector: Selector, problem: SelectionProblem) -> list[dict[int, tuple[float, bool]]]:
    """Of every video, by grid position: the weight of a candidate in the fused prediction, and whether it is chosen."""
    found: list[dict[int, tuple[float, bool]]] = [{} for _ in problem.source.video_paths]
    for contexts in torch.arange(problem.num_contexts, device=problem.source.device).split(64):
        selection = selection_of(selector, problem, contexts)
        columns = (problem.candidates(contexts), problem.fusion_weights(selection), selection, problem.valid(contexts))
        for video, *row in zip(problem.videos(contexts).tolist(), *(each.tolist() for each in columns), strict=True):
            for place, weight, is_chosen, is_own in zip(*row, strict=True):
                if is_own:
                    before = found[video].get(place, (0.0, False))
                    found[video][place] = (before[0] + weight, before[1] or is_chosen)
    return found


def _page(
    problem: SelectionProblem,
    video: int,
    chosen: Mapping[int, tuple[float, bool]],
    evenly: Mapping[int, tuple[float, bool]],
    *,
    right: bool,
) -> VideoPage:
    source, names = problem.source, problem.source.spec.class_names
    places = sorted(chosen)
    rows = torch.tensor([places], device=source.device)
    probabilities = source.probabilities(torch.tensor([video], device=source.device), rows)[0]
    targets = source.targets[video]
    of_label = label_probability(probabilities, targets).tolist()
    is_right = targets[probabilities.argmax(-1)].tolist()
    weights = torch.tensor([chosen[place][0] for place in places], device=source.device)
    best = int((weights[:, None] * probabilities).sum(0).argmax())
    bounds, spans = _timeline(problem, video)
    return VideoPage(
        name=Path(source.video_paths[video]).name,
        labels=tuple(names[label] for label in targets.nonzero().flatten().tolist()),
        predicted=names[best] if weights.any() else "nothing",
        right=right,
        uniform_right=False,
        candidates=tuple(
            Candidate(place, *bounds[place], of_label[row], is_right[row], chosen[place][1], evenly[place][1])
            for row, place in enumerate(places)
        ),
        spans=spans,
    )


def _timeline(
    problem: SelectionProblem, video: int
) -> tuple[list[tuple[float, float, float | None]], tuple[tuple[float, float], ...]]:
    """(left, width, start_s) of the L candidates, and (left, width) of the action's spans, of a timeline of width 1."""
    source, count = problem.source, int(problem.source.num_candidates[video])
    if not isinstance(source, BankSource) or source.bank.spans_s is None:
        return [(place / count, 1 / count, None) for place in range(count)], ()
    bank, first = source.bank, int(source.bank.offsets[video])
    spans_s: Tensor = source.bank.spans_s[first : first + count]
    begin, end = float(spans_s.min()), float(spans_s.max())
    length = max(end - begin, 1e-9)
    bounds = [((start - begin) / length, (stop - start) / length, start) for start, stop in spans_s.tolist()]
    actions = bank.action_spans_s[video] if bank.action_spans_s else ()
    clipped = [(max(start, begin), min(stop, end)) for start, stop in actions]
    shown = tuple(((start - begin) / length, (stop - start) / length) for start, stop in clipped if stop > start)
    return list(bounds), shown


def _with_pictures(problem: SelectionProblem, video: int, page: VideoPage) -> VideoPage:
    """The page with pictures of the middle frames of the candidates that the agent chose."""
    chosen = [candidate for candidate in page.candidates if candidate.chosen]
    shown = chosen[:: max(-(-len(chosen) // MOST_PICTURES), 1)]
    if not shown:
        return page
    places = torch.tensor([candidate.place for candidate in shown])
    try:
        images = thumbnails(problem.source, video, places, height=PICTURE_HEIGHT).permute(0, 2, 3, 1).numpy()
    except VideoError as error:
        return replace(page, note=f"no pictures: {error.reason}")
    pictures = tuple((_data_uri(image), candidate) for image, candidate in zip(images, shown, strict=True))
    some = len(shown) < len(chosen)
    return replace(
        page, pictures=pictures, note=f"{len(shown)} of the {len(chosen)} chosen clips are shown" if some else ""
    )


def _data_uri(image: Any) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
