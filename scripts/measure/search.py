"""Accuracy against cost of searching, beside fixed numbers of clips and rules that stop by a threshold.

    python scripts/benchmark.py --data-seed 1 --agents ranking,worth=label plackett_luce --out runs/orders
    python scripts/benchmark.py --data-seed 1 --agents search --price-range 0.003 0.3 --total-timesteps 200000 \
        --out runs/search
    python scripts/measure/search.py --data-seed 1 --orders runs/orders --searchers runs/search --out runs/frontier

Settings (the thresholds of the rules, the prices that the searcher is shown) are those that no mixture of others beats
on `val`, averaged over seeds; what is printed and drawn is the test split, at these settings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from vidselect_agents.base import FILE_NAME
from vidselect_agents.commands.benchmark_jobs import needs_with_settings, parse_agent, result_file
from vidselect_agents.registry import agent_class
from vidselect_env.envs.contract import Looks, Needs
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.evaluation.evaluate import Result, evaluate
from vidselect_env.evaluation.stopping import Point, Spread, StopRule, clips_for, in_order, top1_at, useful
from vidselect_env.experiment.banks import Experiment, make_experiment
from vidselect_env.experiment.config import ExperimentConfig, changed
from vidselect_env.experiment.problems import fields_of, make_problem
from vidselect_env.files import write_json

SETTINGS: dict[str, tuple[float, ...]] = {
    "count": (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18),
    "confidence": (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
    "entropy": (1.6, 1.3, 1.1, 0.9, 0.75, 0.6, 0.45, 0.3, 0.15),
    "patience": (1, 2, 3, 4, 5, 6),
}
PRICES = (0.3, 0.2, 0.13, 0.09, 0.06, 0.04, 0.027, 0.018, 0.012, 0.008, 0.005, 0.003)
METRICS = ("top1", "clips_per_video", "scorer_gmacs", "classifier_gmacs", "hit")


@dataclass(frozen=True, kw_only=True)
class SearchMeasureConfig(ExperimentConfig):
    """Whose frontier.

    Args:
        orders: a folder of scripts/benchmark.py; its agents whose scores order the candidates are compared with.
        searchers: a folder of scripts/benchmark.py with the searcher.
        agents: those in `orders`, as they were named there. searcher: the one in `searchers`, likewise.
        seeds: how many, from 0.
        val_split: where settings are chosen; None where agents learned from its videos: all prices are then shown, and
            of the rules those settings that do best on the tested videos themselves, which is more than is their due.
        out: folder of results and picture.
    """

    orders: Path
    searchers: Path
    agents: tuple[str, ...] = ("ranking,worth=label", "plackett_luce")
    searcher: str = "search"
    seeds: int = 5
    val_split: str | None = "val"
    out: Path = Path("runs/frontier")


def main() -> None:
    config = tyro.cli(SearchMeasureConfig, description=__doc__, config=(tyro.conf.OmitArgPrefixes,))
    config.out.mkdir(parents=True, exist_ok=True)
    agents = [needs_with_settings(name)[0] for name in (*config.agents, config.searcher)]
    signals = {field for needs in agents for field in fields_of(config.problem, needs)}
    test = measure(config, make_experiment(config, signals=signals, only_test=True), "test")
    judged = test
    if config.val_split is not None:
        val = changed(config, test_split=config.val_split)
        judged = measure(config, make_experiment(val, signals=signals, only_test=True), "val")
    found = {name: in_order(chosen(config, name, points, judged[name])) for name, points in test.items()}
    write_json(
        config.out / "frontier.json", {name: [_row(point) for point in points] for name, points in found.items()}
    )
    draw(found, config.searcher, config.out / "frontier.png")
    print(report(found, config.searcher))


def chosen(
    config: SearchMeasureConfig, name: str, points: dict[float, Point], judged: dict[float, Point]
) -> list[Point]:
    """A method's points on the tested videos that are shown, by how its settings did on those that judge."""
    if name.endswith(" count") or (name == config.searcher and config.val_split is None):
        return list(points.values())
    return [points[point.setting] for point in useful(list(judged.values()))]


def measure(config: SearchMeasureConfig, experiment: Experiment, split: str) -> dict[str, dict[float, Point]]:
    """Every method's points by setting, the mean over seeds."""
    results: dict[tuple[str, float], list[Result]] = {}
    for seed in tqdm(range(config.seeds), unit="seed", desc=split):
        for name, setting, searcher, problem in runs(config, experiment, seed):
            results.setdefault((name, setting), []).append(evaluate(searcher, problem, name=name))
    points: dict[str, dict[float, Point]] = {}
    for (name, setting), each in results.items():
        points.setdefault(name, {})[setting] = Point(setting, mean(each))
    return points


def runs(config: SearchMeasureConfig, experiment: Experiment, seed: int) -> Any:
    """Of one seed: name, setting, searcher and problem of everything that is measured."""
    problem = make_problem(config.problem, experiment.test, Needs(environment="VideoClipSearch-v0"))
    assert isinstance(problem, SearchProblem)
    orders: dict[str, Any] = {"spread": Spread()}
    for name in config.agents:
        orders[name] = load(config.orders, name, seed)
        orders[name].scores = remembered(orders[name].scores)
    for name, order in orders.items():
        for stop, settings in SETTINGS.items():
            for setting in settings:
                if stop not in ("count", "patience") or setting <= problem.num_candidates:
                    yield f"{name} {stop}", setting, StopRule(order, stop, setting), problem
    searcher = load(config.searchers, config.searcher, seed)
    searcher.scores = remembered(searcher.scores)
    for price in PRICES:
        yield config.searcher, price, searcher, problem.changed(price=price)


def load(folder: Path, name: str, seed: int) -> Any:
    return agent_class(parse_agent(name)[0]).load(result_file(folder, name, seed).with_name(FILE_NAME))


def remembered(call: Callable[[Looks], Tensor]) -> Callable[[Looks], Tensor]:
    """`call`, which sees the same looks at every setting, asked once about each batch."""
    known: dict[bytes, Tensor] = {}

    def answer(looks: Looks) -> Tensor:
        sums = [value.flatten(1).sum(1, dtype=torch.float64) for value in looks.fields.values()]
        key = torch.stack(sums).numpy().tobytes()
        if key not in known:
            known[key] = call(looks)
        return known[key]

    return answer


def mean(results: Sequence[Result]) -> Result:
    """Of several seeds, video by video forgotten."""
    means: dict[str, Any] = {name: float(np.mean([getattr(result, name) for result in results])) for name in METRICS}
    return dataclasses.replace(results[0], right=(), **means)


def report(found: dict[str, list[Point]], searcher: str) -> str:
    """The points, and how the searcher compares with the best of all others at equal cost."""
    lines = ["| method | " + " | ".join(("setting", "Top-1", "clips", "GMACs")) + " |", "| --- |" + " ---: |" * 4]
    for name, points in found.items():
        lines += [
            f"| {name} | {point.setting:g} | {100 * point.result.top1:.1f} | {point.result.clips_per_video:.2f} | "
            f"{point.result.gmacs:.4f} |"
            for point in points
        ]
    own = found[searcher]
    lines.append("")
    for point in own:
        at = {name: top1_at(points, point.result.clips_per_video) for name, points in found.items() if name != searcher}
        best = max(at, key=lambda name: np.nan_to_num(at[name], nan=-1))
        lines.append(
            f"{searcher} at {point.result.clips_per_video:.2f} clips: {100 * point.result.top1:.1f}; the best of the "
            f"others there: {best} with {100 * at[best]:.1f}"
        )
    fixed = {name: points for name, points in found.items() if name.endswith(" count")}
    for name, points in fixed.items():
        best_point = max(points, key=lambda each: each.result.top1)
        clips = clips_for(own, best_point.result.top1)
        cost = own[0].result.scorer_gmacs + clips * own[0].result.classifier_gmacs / own[0].result.clips_per_video
        lines.append(
            f"{name}: at most {100 * best_point.result.top1:.1f}, with {best_point.setting:g} clips and "
            f"{best_point.result.gmacs:.4f} GMACs; {searcher} is as right with {clips:.2f} clips and {cost:.4f} GMACs "
            f"({100 * cost / best_point.result.gmacs - 100:+.0f} %)"
        )
    return "\n".join(lines)


def draw(found: dict[str, list[Point]], searcher: str, path: Path) -> None:
    """Top-1 against GMACs a video."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, points in found.items():
        style = {"lw": 2.4, "color": "black"} if name == searcher else {"lw": 1.2}
        shape = "--" if name.endswith(" count") else "-"
        gmacs = [point.result.gmacs for point in points]
        axes.plot(gmacs, [100 * point.result.top1 for point in points], f"{shape}o", ms=3, label=name, **style)
    axes.set_xlabel("GMACs a video, looks and classifier")
    axes.set_ylabel("Top-1 (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(path, dpi=130)


def _row(point: Point) -> dict[str, float]:
    return {"setting": point.setting} | {name: getattr(point.result, name) for name in METRICS}


if __name__ == "__main__":
    main()
