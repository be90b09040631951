"""How many clips a searcher classifies, and of which videos: a histogram, clips against difficulty, and two sheets.

    python scripts/benchmark.py --data-seed 1 --agents search --price-range 0.003 0.3 --out runs/search
    python scripts/measure/difficulty.py --data-seed 1 --searchers runs/search --out runs/difficulty

A video is as difficult as few of its clips are classified right. Of the sheets one is a video that took one clip, the
other the one that took most; frames of candidates that were classified are framed, and what was said stands below.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from vidselect_agents.base import FILE_NAME
from vidselect_agents.commands.benchmark_jobs import needs_with_settings, parse_agent, result_file
from vidselect_agents.registry import agent_class
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.rewards import is_correct
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.envs.search.render import search_sheet
from vidselect_env.envs.search.run import search
from vidselect_env.envs.search.state import Searcher, SearchState
from vidselect_env.experiment.banks import make_experiment
from vidselect_env.experiment.config import ExperimentConfig
from vidselect_env.experiment.problems import fields_of, make_problem

EDGES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)  # of the share of a video's clips that are right


@dataclass(frozen=True)
class DifficultyConfig(ExperimentConfig):
    """Options of this script, beside those of the experiment.

    Args:
        searchers: a folder of scripts/benchmark.py with the searcher.
        searcher: as it was named there.
        prices: at which it searches; the sheets are of the least.
        seeds: how many of its runs.
        out: where pictures go.
    """

    searchers: Path = Path("runs/search")
    searcher: str = "search"
    prices: tuple[float, ...] = (0.3, 0.03, 0.003)
    seeds: int = 5
    out: Path = Path("runs/difficulty")


def main() -> None:
    config = tyro.cli(DifficultyConfig, description=__doc__, config=(tyro.conf.OmitArgPrefixes,))
    config.out.mkdir(parents=True, exist_ok=True)
    signals = fields_of(config.problem, needs_with_settings(config.searcher)[0])
    experiment = make_experiment(config, signals=signals, only_test=True)
    problem = make_problem(config.problem, experiment.test, Needs(environment="VideoClipSearch-v0"))
    assert isinstance(problem, SearchProblem)
    clips: dict[float, list[Tensor]] = {price: [] for price in config.prices}
    right: dict[float, list[Tensor]] = {price: [] for price in config.prices}
    for seed in tqdm(range(config.seeds), unit="seed"):
        searcher = load(config.searchers, config.searcher, seed)
        for price in config.prices:
            state = searched(searcher, problem.changed(price=price))
            clips[price].append(state.num_clips.float())
            right[price].append(is_correct(state.fused, problem.targets(state.contexts)).float())
            if seed == 0 and price == min(config.prices):
                save_sheets(problem, state, config.out)
    share = share_of_right_clips(problem)
    print(report(share, {price: torch.stack(each) for price, each in clips.items()}, right))
    draw(share, {price: torch.stack(each) for price, each in clips.items()}, config.out / "clips.png")


def load(folder: Path, name: str, seed: int) -> Searcher:
    return agent_class(parse_agent(name)[0]).load(result_file(folder, name, seed).with_name(FILE_NAME))


def searched(searcher: Searcher, problem: SearchProblem) -> SearchState:
    """Every video's search at its end."""
    parts = [search(searcher, problem, part) for part in torch.arange(problem.num_contexts).split(64)]
    return SearchState(*(torch.cat(each) for each in zip(*(vars(part).values() for part in parts), strict=True)))


def share_of_right_clips(problem: SearchProblem) -> Tensor:
    """Of each video, (V,)."""
    shares = []
    for part in torch.arange(problem.num_contexts).split(256):
        said, valid = problem.probabilities(part).argmax(-1), problem.valid(part)
        correct = problem.targets(part).gather(1, said) & valid
        shares.append(correct.sum(-1) / valid.sum(-1))
    return torch.cat(shares)


def bins_of(share: Tensor) -> list[tuple[str, Tensor]]:
    """The videos of each range of difficulty, the easiest last."""
    found = []
    for low, high in itertools.pairwise(EDGES):
        found.append((f"{100 * low:.0f} to {100 * high:.0f} %", (share >= low) & (share < high + (high == 1))))
    return [(name, rows) for name, rows in found if rows.any()]


def report(share: Tensor, clips: dict[float, Tensor], right: dict[float, list[Tensor]]) -> str:
    """A row a range of difficulty: videos, and clips and Top-1 at each price."""
    lines = ["| clips that are right | videos | " + " | ".join(f"clips, Top-1 at {price:g}" for price in clips) + " |"]
    lines.append("| --- |" + " ---: |" * (1 + len(clips)))
    for name, rows in bins_of(share):
        cells = [
            f"{each[:, rows].mean():.2f}, {100 * torch.stack(right[price])[:, rows].mean():.1f}"
            for price, each in clips.items()
        ]
        lines.append(f"| {name} | {int(rows.sum())} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(share: Tensor, clips: dict[float, Tensor], path: Path) -> None:
    """Left how many videos took so many clips, right the mean of clips against difficulty."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, beside = figure.subplots(1, 2)
    most = int(max(each.max() for each in clips.values()))
    for number, (price, each) in enumerate(clips.items()):
        counts = torch.bincount(each.flatten().long(), minlength=most + 1)[1:].float() / each.numel()
        at = torch.arange(1, most + 1) + 0.25 * (number - (len(clips) - 1) / 2)
        left.bar(at.tolist(), (100 * counts).tolist(), width=0.25, label=f"price {price:g}")
        names, groups = zip(*bins_of(share), strict=True)
        beside.plot(names, [float(each[:, rows].mean()) for rows in groups], "o-", label=f"price {price:g}")
    left.set(xlabel="clips classified", ylabel="videos (%)", xticks=range(1, most + 1))
    beside.set(xlabel="of a video's clips the classifier is right about", ylabel="clips classified, mean")
    for axes in (left, beside):
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


def save_sheets(problem: SearchProblem, state: SearchState, folder: Path) -> None:
    """A video that was right after one clip, and the one that took most and was right in the end."""
    correct = is_correct(state.fused, problem.targets(state.contexts))
    easy = int((correct & (state.num_clips == 1)).float().argmax())
    hard = int(torch.where(correct, state.num_clips, 0).argmax())
    for name, row in (("easy", easy), ("hard", hard)):
        Image.fromarray(search_sheet(problem, state, row)).save(folder / f"{name}.png")


if __name__ == "__main__":
    main()
