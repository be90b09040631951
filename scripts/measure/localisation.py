"""Where clips are chosen against where the action is: a cloud of points, and a strip of one video.

    python scripts/measure/localisation.py --dataset csv:../shared/data/grid_s1/colour.csv --classifier lip_tcn \
        --candidates 12 --sections 1 --clips 12 --agent dsn --results runs/grid/colour/dsn,gradient=all_arms-0 \
        --words ../shared/data/grid_s1/{verb,colour,digit,adverb}.csv --out docs/images/grid
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vidselect_agents.base import FILE_NAME
from vidselect_agents.registry import agent_class
from vidselect_env.envs.contract import Selector
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.render import thumbnails
from vidselect_env.evaluation.evaluate import selection_of
from vidselect_env.experiment.banks import make_experiment
from vidselect_env.experiment.config import ExperimentConfig


@dataclass(frozen=True, kw_only=True)
class LocalisationConfig(ExperimentConfig):
    """Whose choice, of what.

    Args:
        agent: name of the agent.
        results: the folder that it is saved in.
        words: manifests whose rows say what else is said in the same files, and when.
        video: the one of the strip.
        out: beginning of the pictures' names.
    """

    results: Path
    out: Path
    agent: str = "dsn"
    words: tuple[Path, ...] = ()
    video: int = 0


def main() -> None:
    config = tyro.cli(LocalisationConfig, description=__doc__, config=(tyro.conf.OmitArgPrefixes,))
    agent = agent_class(config.agent).load(config.results / FILE_NAME)
    problem = make_experiment(config, signals=agent.needs.fields, only_test=True).test_problem(agent.needs)
    draw_cloud(agent, problem, config.out.with_name(f"{config.out.name}_places.png"))
    path, segment_s = problem.source.video_paths[config.video], problem.source.segments_s[config.video]
    words = [word for manifest in config.words for word in said(manifest, Path(path).name)]
    draw_strip(agent, problem, config.video, words, segment_s, config.out.with_name(f"{config.out.name}_strip.png"))


def said(manifest: Path, name: str) -> list[tuple[str, float, float]]:
    """What a manifest says is said in a file: word, from, to in seconds."""
    with manifest.open() as stream:
        rows = [row for row in csv.DictReader(stream) if Path(row["path"]).name == name]
    return [(row["label"], float(row["action_start_s"]), float(row["action_end_s"])) for row in rows]


def draw_cloud(agent: Selector, problem: SelectionProblem, path: Path) -> None:
    """The middle of every chosen clip against the middle of the action, seconds from the segment's start."""
    contexts = torch.arange(problem.num_contexts)
    answers = problem.answers(contexts)
    if answers.spans_s is None or answers.action_spans_s is None:
        raise ValueError("it is not known where the action is in these videos")
    starts = torch.tensor([segment[0] or 0.0 for segment in problem.source.segments_s])[problem.videos(contexts)]
    chosen = selection_of(agent, problem, contexts)
    places = (answers.spans_s.mean(-1) - starts[:, None])[chosen]
    action = (answers.action_spans_s[:, 0].mean(-1) - starts)[:, None].expand_as(chosen)[chosen]
    figure = Figure(figsize=(4.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([0, 2], [0, 2], lw=0.8, color="0.6")
    axes.scatter(action, places, s=9)
    axes.set_xlabel("middle of the word (s)")
    axes.set_ylabel("middle of the chosen clip (s)")
    figure.savefig(path, dpi=110)


def draw_strip(
    agent: Selector,
    problem: SelectionProblem,
    video: int,
    words: list[tuple[str, float, float]],
    segment_s: tuple[float | None, float | None],
    path: Path,
) -> None:
    """All candidates of a video in time, the chosen ones framed, and under them what is said."""
    context = torch.tensor([problem.context_of_video(video)])
    candidates, chosen = problem.candidates(context)[0], selection_of(agent, problem, context)[0]
    answers = problem.answers(context)
    assert answers.spans_s is not None
    pictures = thumbnails(problem.source, video, candidates)
    figure = Figure(figsize=(11, 2.1), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, len(candidates), height_ratios=(3, 1))
    for number, picture in enumerate(pictures):
        axes = figure.add_subplot(grid[0, number])
        axes.imshow(picture.permute(1, 2, 0).numpy())
        axes.set_xticks([])
        axes.set_yticks([])
        for side in axes.spines.values():
            side.set_color("tab:green" if chosen[number] else "white")
            side.set_linewidth(4)
    axes = figure.add_subplot(grid[1, :])
    axes.set_xlim(segment_s[0] or 0.0, segment_s[1])
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_xlabel("seconds of the file")
    for word, start_s, end_s in words:
        axes.axvspan(start_s, end_s, color="0.85")
        axes.text((start_s + end_s) / 2, 0.5, word, ha="center", va="center", fontsize=9, clip_on=True)
    for start_s, end_s in answers.spans_s[0][chosen].tolist():
        axes.axvspan(start_s, end_s, ymax=0.25, color="tab:green")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
