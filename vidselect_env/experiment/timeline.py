"""What was seen when in a video, as files: JSON, CSV, subtitles, a picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vidselect_env.experiment.windows import Decision, Span
from vidselect_env.files import write_aside, write_json

COLUMNS = ("video", "class", "from_s", "to_s", "probability", "clips", "error")


def rows_of(video: str, decisions: Sequence[Decision], class_names: Sequence[str]) -> list[dict[str, Any]]:
    """A dictionary with `COLUMNS` a decision; `clips` are the seconds that the classified clips start at."""
    return [
        {
            "video": video,
            "class": None if decision.label is None else class_names[decision.label],
            "from_s": round(decision.start_s, 3),
            "to_s": round(decision.end_s, 3),
            "probability": None if decision.found is None else round(decision.probability, 4),
            "clips": [] if decision.found is None else [round(start, 3) for start in decision.found.start_s.tolist()],
            "error": decision.reason or None,
        }
        for decision in decisions
    ]


def write_timeline_json(
    path: Path,
    video: str,
    decisions: Sequence[Decision],
    spans: Sequence[Span],
    class_names: Sequence[str],
    milliseconds: dict[str, float],
) -> None:
    """Every decision with the probabilities of all classes, the spans, and what the work took."""
    rows = rows_of(video, decisions, class_names)
    for row, decision in zip(rows, decisions, strict=True):
        each = [] if decision.found is None else decision.found.probabilities.tolist()
        row["probabilities"] = {name: round(value, 4) for name, value in zip(class_names, each, strict=False)}
    seen = [
        {
            "class": None if span.label is None else class_names[span.label],
            "from_s": round(span.start_s, 3),
            "to_s": round(span.end_s, 3),
        }
        for span in spans
    ]
    write_json(path, {"video": video, "decisions": rows, "spans": seen, "milliseconds": milliseconds})


def write_timeline_csv(path: Path, video: str, decisions: Sequence[Decision], class_names: Sequence[str]) -> None:
    """A line a decision; the starts of its clips are in one cell, with spaces between."""

    def write(aside: Path) -> None:
        with aside.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=COLUMNS)
            writer.writeheader()
            for row in rows_of(video, decisions, class_names):
                writer.writerow({**row, "clips": " ".join(str(start) for start in row["clips"])})

    write_aside(path, write)


def write_srt(path: Path, spans: Sequence[Span], class_names: Sequence[str]) -> None:
    """Subtitles (SubRip): the class and its probability, while it is seen."""
    shown = [span for span in spans if span.label is not None]
    blocks = [
        f"{number}\n{clock(span.start_s)} --> {clock(span.end_s)}\n{class_names[span.label]} {span.probability:.2f}\n"
        for number, span in enumerate(shown, 1)
        if span.label is not None
    ]
    write_aside(path, lambda aside: aside.write_text("\n".join(blocks)))


def clock(second: float, *, mark: str = ",") -> str:
    """Hours, minutes, seconds and milliseconds. Example: 3723.5 -> 01:02:03,500."""
    milliseconds = round(1000 * second)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"


def plot_timeline(path: Path, spans: Sequence[Span], class_names: Sequence[str]) -> None:
    """A row a class that is seen, a bar where it is; the more probable, the darker."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import
    from matplotlib.figure import Figure

    from vidselect_env.evaluation.figures import save_figure

    seen = [label for label in range(len(class_names)) if any(span.label == label for span in spans)]
    figure = Figure(figsize=(10, 1.2 + 0.35 * len(seen)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for span in spans:
        if span.label is not None:
            bar = [(span.start_s, span.end_s - span.start_s)]
            row = (seen.index(span.label) - 0.4, 0.8)
            axes.broken_barh(bar, row, color="tab:blue", alpha=max(span.probability, 0.1))
    axes.set_yticks(range(len(seen)), [class_names[label] for label in seen])
    axes.set_xlim(0, max((span.end_s for span in spans), default=1))
    axes.set_xlabel("seconds")
    save_figure(figure, path, dpi=110)
