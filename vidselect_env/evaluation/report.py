"""A run's report: the table, and accuracy against clips and against cost, as in DSN's Fig. 4."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from vidselect_env.envs.contract import Adapted, Selector
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.evaluation.evaluate import Result, evaluate
from vidselect_env.evaluation.figures import plot_sweep
from vidselect_env.evaluation.references import Reference
from vidselect_env.evaluation.table import markdown_table
from vidselect_env.files import write_aside

REPORT = "report.md"  # written last: a run that has it is finished


def sweep_budgets(selectors: Mapping[str, Selector | Reference], problem: SelectionProblem) -> dict[int, list[Result]]:
    """Every selector's result for other numbers of chosen clips a video.

    One with `predict` alone takes observations of one shape only: it has the problem's own number.
    """
    return {
        number: [
            evaluate(selector, budget, name=name)
            for name, selector in selectors.items()
            if not isinstance(selector, Adapted) or selector.takes(budget.shapes)
        ]
        for number, budget in problem.budgets().items()
    }


def write_report(
    folder: Path,
    results: Sequence[Result],
    sweep: Mapping[int, Sequence[Result]],
    *,
    title: str,
    facts: Mapping[str, object],
    pictures: Mapping[str, str],
    references: Collection[str] = (),
) -> Path:
    """Write `report.md` and its plots into a run folder, and return its path.

    Args:
        facts: what the run was, a line each.
        pictures: a caption and the file in the folder that it is of.
        references: names of the rows that are drawn dashed.
    """
    plot_sweep(sweep, against="clips", path=folder / "accuracy_clips.png", dashed=references)
    plot_sweep(sweep, against="gmacs", path=folder / "accuracy_gmacs.png", dashed=references)
    parts = [
        f"# {title}",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
        markdown_table(results),
        "Top-1, Top-5 and mAP in percent. GMACs are multiply-adds a video, in units of 1e9 "
        "(the papers call them FLOPs).",
        "![Top-1 and mAP against the number of clips](accuracy_clips.png)",
        "![Top-1 and mAP against cost](accuracy_gmacs.png)",
    ]
    parts += [f"![{caption}]({file})" for caption, file in pictures.items()]
    report = folder / REPORT
    write_aside(report, lambda aside: aside.write_text("\n\n".join(parts) + "\n"))
    return report
