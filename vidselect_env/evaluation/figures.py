"""Every figure: accuracy against clips and cost, where a selector chose, what it ranked, and what moved.

Shapes: B contexts, K candidates, T frames of a video.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from torch import Tensor

from vidselect_env.envs.contract import Looks, Selector
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.render import thumbnails, video_index
from vidselect_env.evaluation.evaluate import Result, selection_of
from vidselect_env.evaluation.metrics import mean_and_interval
from vidselect_env.evaluation.references import Reference
from vidselect_env.evaluation.table import MAP, TOP1, grouped
from vidselect_env.files import write_aside
from vidselect_env.video.motion import motion_curve
from vidselect_env.video.sampling import salience

NUM_BINS = 10
NUM_RANKED = 3


def plot_sweep(
    sweep: Mapping[int, Sequence[Result]], *, against: str, path: Path, dashed: Collection[str] = ()
) -> None:
    """Top-1, and mAP beside it, against `clips` chosen or `gmacs` a video, a line a selector (DSN, Fig. 4).

    Several results of a selector for one number are of several seeds: their mean, with its interval. Selectors named
    in `dashed` are dashed.
    """
    figure, both = _figure(columns=2)
    by_number = {number: grouped(results) for number, results in sweep.items()}
    for name in dict.fromkeys(name for groups in by_number.values() for name in groups):
        line = [(number, groups[name]) for number, groups in by_number.items() if name in groups]
        costs = [sum(result.gmacs for result in results) / len(results) for _, results in line]
        across = [number for number, _ in line] if against == "clips" else costs
        for axes, column in zip(both, (TOP1, MAP), strict=True):
            points = [mean_and_interval([column.value(result) for result in results]) for _, results in line]
            means, intervals = zip(*points, strict=True)
            style = "--" if name in dashed else "-"
            axes.errorbar(across, means, yerr=intervals, linestyle=style, marker="o", ms=3, capsize=2, label=name)
    for axes, column in zip(both, (TOP1, MAP), strict=True):
        _name_budget(axes, against)
        axes.set_ylabel(f"{column.heading} (%)")
    _name_beside(figure, both[0])
    save_figure(figure, path, dpi=130)


def _name_beside(figure: Any, axes: Any) -> None:
    """The names of lines or points beside the axes: there can be many of them, and they would hide some."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=8)


def _name_budget(axes: Any, against: str) -> None:
    if against == "clips":
        axes.set_xlabel("clips chosen a video (dense takes all candidates)")
        return
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.set_xlabel("GMACs a video, scorer and classifier")


def plot_costs(results: Sequence[Result], path: Path, *, squares: Collection[str] = ()) -> None:
    """Top-1 with its interval over seeds against cost, a point a selector; those named in `squares` are squares."""
    figure, axes = _figure()
    for name, rows in grouped(results).items():
        mean, interval = mean_and_interval([100 * row.top1 for row in rows])
        cost = sum(row.gmacs for row in rows) / len(rows)
        marker = "s" if name in squares else "o"
        axes.errorbar(cost, mean, yerr=interval if interval > 0 else None, fmt=marker, capsize=3, label=name)
    axes.set_xlabel("GMACs a video, scorer and classifier")
    axes.set_ylabel("Top-1 (%)")
    _name_beside(figure, axes)
    save_figure(figure, path, dpi=130)


def chosen_shares(selector: Selector | Reference, problem: SelectionProblem) -> Tensor:
    """Of the candidates in each of `NUM_BINS` parts of their videos, the share that is chosen; nan where none are."""
    parts = torch.arange(problem.num_contexts, device=problem.source.device).split(64)
    chosen = torch.cat([problem.places(part)[selection_of(selector, problem, part)].cpu() for part in parts])
    offered = torch.cat([problem.places(part)[problem.valid(part)].cpu() for part in parts])
    counts = [torch.histc(places, bins=NUM_BINS, min=0, max=1) for places in (chosen, offered)]
    return counts[0] / counts[1]


def plot_places(selectors: Mapping[str, Selector | Reference], problem: SelectionProblem, path: Path) -> None:
    """How often each part of a video is chosen, a line a selector (SCSampler, Fig. 2).

    Of the candidates there, not of all that are chosen: a grid has more of them in one part than in another.
    """
    figure, axes = _figure()
    for name, selector in selectors.items():
        edges = torch.linspace(0, 1, NUM_BINS + 1)
        axes.stairs((100 * chosen_shares(selector, problem)).tolist(), edges.tolist(), label=name)
    axes.set_xlabel("place in the video (0 its beginning, 1 its end)")
    axes.set_ylabel("chosen, of the candidates there (%)")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    save_figure(figure, path, dpi=130)


@runtime_checkable
class Scorer(Selector, Protocol):
    """A selector that says how it ranks candidates."""

    def scores(self, looks: Looks) -> Tensor:
        """Of every candidate, (B, K); what it does not look at has -inf."""


def plot_ranked(scorer: Scorer, problem: SelectionProblem, path: Path, *, num_videos: int = 3) -> None:
    """The highest- and lowest-ranked clips of a few videos (SCSampler, Fig. 3; DSN, Fig. 5)."""
    contexts = torch.arange(min(num_videos, problem.num_contexts), device=problem.source.device)
    scores = scorer.scores(problem.looks(contexts, scorer.needs.fields)).cpu()
    number = min(NUM_RANKED, int((scores > -torch.inf).sum(-1).min()) // 2) or 1
    figure = Figure(figsize=(2 * 2 * number, 1.7 * len(contexts)), layout="constrained")
    FigureCanvasAgg(figure)
    cells = figure.subplots(len(contexts), 2 * number, squeeze=False)
    for row, context in zip(cells, contexts, strict=True):
        of_video = scores[context]
        order = of_video.argsort(descending=True)[: int((of_video > -torch.inf).sum())]
        shown = torch.cat([order[:number], order[-number:]])
        candidates = problem.candidates(context[None])[0].cpu()[shown]
        pictures = thumbnails(problem.source, int(problem.videos(context[None])), candidates)
        for place, (axes, picture, candidate) in enumerate(zip(row, pictures, shown.tolist(), strict=True)):
            axes.imshow(picture.permute(1, 2, 0).numpy())
            axes.set_title(f"{'highest' if place < number else 'lowest'}: {of_video[candidate]:.2f}", fontsize=8)
            axes.axis("off")
    save_figure(figure, path, dpi=110)


def plot_motion(
    selector: Selector,
    problem: SelectionProblem,
    path: Path,
    *,
    mu: float,
    kind: str = "image",
    filters: Tensor | None = None,
    context: int = 0,
) -> None:
    """A video's motion and its cumulated share, with the clips that are chosen (MGSampler, Fig. 4).

    Args:
        mu: exponent of the salience. kind: of the differences, image or feature. filters: as of `motion_curve`.
    """
    contexts = torch.tensor([context], device=problem.source.device)
    video = int(problem.videos(contexts))
    index = video_index(problem.source, video)
    curve = motion_curve(index.info.path, kind=kind, filters=filters, index=index)
    share = salience(curve, mu=mu)
    chosen = problem.candidates(contexts)[selection_of(selector, problem, contexts)].cpu()
    starts = problem.source.spec.grid.starts(len(curve))[chosen]
    figure, axes = _figure()
    axes.fill_between(
        range(len(curve)), (share / share.max()).tolist(), alpha=0.35, label=f"{kind} difference to the power {mu:g}"
    )
    axes.plot(share.cumsum(0).tolist(), label="cumulated")
    for number, start in enumerate(starts.tolist()):
        end = min(start + problem.source.spec.grid.span, len(curve))
        axes.axvspan(start, end, alpha=0.25, color="tab:red", label="chosen clips" if number == 0 else None)
    axes.set_xlabel("frame")
    axes.legend(fontsize=8)
    save_figure(figure, path, dpi=130)


def plot_bins(num_bins: Tensor, path: Path) -> None:
    """How many clips keep how many maps (ATFR, Fig. 3), from (R,) numbers."""
    figure, axes = _figure()
    counts = torch.bincount(num_bins.flatten())[1:]
    axes.bar(range(1, len(counts) + 1), counts.tolist())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("maps kept by similarity guided sampling")
    axes.set_ylabel("clips")
    save_figure(figure, path, dpi=130)


def save_figure(figure: Figure, path: Path, *, dpi: int) -> None:
    """Write a picture, whole or not at all."""
    write_aside(path, lambda aside: figure.savefig(aside, dpi=dpi, format=path.suffix[1:]))


def _figure(columns: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(6.4 if columns == 1 else 5.4 * columns, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(ncols=columns)
    for each in figure.axes:
        each.grid(alpha=0.3)
    return figure, axes
