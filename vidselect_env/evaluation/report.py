"""A run's report: the table, and accuracy against clips and against cost, as in DSN's Fig. 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.evaluation.evaluate import Result, evaluate
from vidselect_env.evaluation.table import markdown_table


def sweep_budgets(agents: Mapping[str, Any], problem: SelectionProblem) -> dict[int, list[Result]]:
    """Every agent's result for other numbers of chosen clips a video.

    An agent with `predict` alone takes observations of one shape only: it has the problem's own number.
    """
    return {
        number: [
            evaluate(agent, budget, name=name)
            for name, agent in agents.items()
            if hasattr(agent, "select") or budget.observation_space == problem.observation_space
        ]
        for number, budget in problem.budgets().items()
    }


def plot_sweep(sweep: Mapping[int, Sequence[Result]], *, against: str, path: Path) -> None:
    """Top-1 against `clips` chosen or `gmacs` a video, a line a selector."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name in dict.fromkeys(result.selector for results in sweep.values() for result in results):
        line = [(number, result) for number, results in sweep.items() for result in results if result.selector == name]
        results = [result for _, result in line]
        across = [number for number, _ in line] if against == "clips" else [result.gmacs for result in results]
        style = "--" if name in ("random", "uniform", "dense", "oracle") else "-"
        axes.plot(across, [100 * result.top1 for result in results], style, marker="o", ms=3, label=name)
    if against == "clips":
        axes.set_xlabel("clips chosen a video (dense takes all candidates)")
    else:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.set_xlabel("GMACs a video, scorer and classifier")
    axes.set_ylabel("Top-1 (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=130)


def write_report(
    folder: Path,
    results: Sequence[Result],
    sweep: Mapping[int, Sequence[Result]],
    *,
    title: str,
    facts: Mapping[str, object],
    pictures: Mapping[str, str],
) -> Path:
    """Write `report.md` and its plots into a run folder, and return its path.

    Args:
        facts: what the run was, a line each.
        pictures: a caption and the file in the folder that it is of.
    """
    plot_sweep(sweep, against="clips", path=folder / "accuracy_clips.png")
    plot_sweep(sweep, against="gmacs", path=folder / "accuracy_gmacs.png")
    parts = [
        f"# {title}",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
        markdown_table(results),
        "Top-1, Top-5 and mAP in percent. GMACs are multiply-adds a video, in units of 1e9 "
        "(the papers call them FLOPs).",
        "![Top-1 against the number of clips](accuracy_clips.png)",
        "![Top-1 against cost](accuracy_gmacs.png)",
    ]
    parts += [f"![{caption}]({file})" for caption, file in pictures.items()]
    report = folder / "report.md"
    report.write_text("\n\n".join(parts) + "\n")
    return report
