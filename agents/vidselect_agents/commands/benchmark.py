"""Comparing many agents over several seeds on one bank: the table of all results in a folder."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from vidselect_agents.commands.benchmark_jobs import TimedResult, parse_agent, result_file, run_jobs
from vidselect_agents.commands.options.benchmark import BenchmarkConfig
from vidselect_agents.registry import UNTRAINED
from vidselect_env.evaluation.figures import plot_costs, plot_sweep
from vidselect_env.evaluation.metrics import paired_bootstrap
from vidselect_env.evaluation.references import REFERENCES
from vidselect_env.evaluation.table import Column, grouped, markdown_table, print_table
from vidselect_env.experiment.config import AUTO, changed
from vidselect_env.experiment.run import CONFIG, claim_results, flat, read_config
from vidselect_env.files import write_aside

# What may differ among a folder's results.
FREE = ("agents", "seeds", "out", "device", "num_workers", "clips_per_batch", "jobs", "engine", "address")
RULES = ("random", "uniform", "position", "empirical", "loudest", "mgsampler")  # that learn nothing but places
TRAINING_COLUMNS = (
    Column("training s", lambda result: result.train_seconds, 0),
    Column("steps/s", lambda result: result.steps_per_second, 0),
)


def run(config: BenchmarkConfig) -> None:
    config = with_its_candidates(config)
    claim_results(config.out, free=FREE, benchmark=config)
    found = [agent for agent in config.agents if result_file(config.out, agent, 0).exists()]
    if found:
        _print(f"results of {', '.join(found)} in {config.out} are taken as they are")
    failures = run_jobs(
        config,
        [(agent, seed) for seed in range(config.seeds) for agent in config.agents],
        out=config.out,
        total_timesteps=config.total_timesteps,
        num_envs=config.num_envs,
        also_kept=config.also_kept,
        jobs=config.jobs,
        engine=config.engine,
        address=config.address,
    )
    report(config, failures)


def with_its_candidates(config: BenchmarkConfig) -> BenchmarkConfig:
    """Where nobody says how many candidates there are, those of the results that the folder holds already."""
    if config.grid.candidates != AUTO or not (config.out / CONFIG).exists():
        return config
    known = flat(read_config(config.out).get("benchmark", {})).get("candidates")
    return changed(config, candidates=known if type(known) is int else None)


def report(config: BenchmarkConfig, failures: dict[str, str]) -> None:
    """Table, CSV and figure of all results in the folder that this command asks for.

    Raises:
        ValueError: an agent failed; the others are in the table by then.
    """
    files = [
        result_file(config.out, agent, seed, kept=kept)
        for kept in (None, *config.also_kept)
        for agent in config.agents
        for seed in range(config.seeds)
    ]
    results = [TimedResult.read(file) for file in files if file.exists()]
    if not results:
        raise ValueError(f"no agent gave a result: {'; '.join(f'{name}: {why}' for name, why in failures.items())}")
    columns = (*TRAINING_COLUMNS, *_differences(results))
    lines = [markdown_table(results, extra=columns)]
    lines += [f"`{agent}` failed: {reason}" for agent, reason in failures.items()]
    write_aside(config.out / "table.md", lambda aside: aside.write_text("\n\n".join(lines) + "\n"))
    write_aside(config.out / "results.csv", lambda aside: _write_csv(aside, results))
    plot_costs(results, config.out / "top1_cost.png", squares=(*UNTRAINED, *REFERENCES))
    if config.also_kept:
        sweep = by_budget(results, config.also_kept)
        plot_sweep(sweep, against="clips", path=config.out / "accuracy_clips.png", dashed=(*UNTRAINED, *REFERENCES))
    title = f"{config.seeds} seeds on {config.data.dataset}, split {config.data.test_split}"
    print_table(results, title=title, extra=columns)
    if failures:
        reasons = "; ".join(f"{agent} failed: {reason}" for agent, reason in failures.items())
        raise ValueError(f"{reasons}. The table has what succeeded; the same command again does what failed")


def by_budget(results: Sequence[TimedResult], also_kept: Sequence[int]) -> dict[int, list[TimedResult]]:
    """Of each further number of kept candidates, the rows `AGENT @ m`, as the agents' own."""
    return {
        kept: [
            dataclasses.replace(each, selector=_agent(each.selector))
            for each in results
            if _budget(each.selector) == f" @ {kept}"
        ]
        for kept in also_kept
    }


def _differences(results: Sequence[TimedResult]) -> list[Column]:
    """Top-1 points ahead of `uniform`, and of the best rule without training, by a paired bootstrap over videos."""
    ahead: dict[str, dict[str, str]] = {"uniform": {}, "the best rule": {}}
    rows = grouped(results)
    for budget in dict.fromkeys(_budget(name) for name in rows):
        same = {name: group for name, group in rows.items() if _budget(name) == budget}
        rules = {name: group for name, group in same.items() if parse_agent(_agent(name))[0] in RULES}
        if not rules:
            return []
        best = max(rules, key=lambda name: sum(result.top1 for result in rules[name]) / len(rules[name]))
        rivals = {"uniform": f"uniform{budget}", "the best rule": best}
        for heading, rival in rivals.items():
            for name, group in same.items():
                against = rules.get(rival)
                text = "" if against is None else _interval(paired_bootstrap(_right(group), _right(against)))
                is_best = heading == "the best rule" and name == best
                ahead[heading][name] = "is it" if is_best else "" if name == rival else text
    return [Column(f"ahead of {heading}", lambda _: 0.0, 1, texts=texts) for heading, texts in ahead.items()]


def _agent(row: str) -> str:
    """`dsn @ 2` -> `dsn`."""
    return row.partition(" @ ")[0]


def _budget(row: str) -> str:
    """`dsn @ 2` -> ` @ 2`; `dsn` -> nothing."""
    return "".join(row.partition(" @ ")[1:])


def _right(results: Sequence[TimedResult]) -> torch.Tensor:
    """Which share of the seeds is right about each video, (V,)."""
    return torch.tensor([result.right for result in results]).float().mean(0)


def _interval(bounds: tuple[float, float, float]) -> str:
    mean, low, high = (100 * bound for bound in bounds)
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def _write_csv(path: Path, results: Sequence[TimedResult]) -> None:
    names = [name for name in TimedResult.__dataclass_fields__ if name != "right"]
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=names)
        writer.writeheader()
        writer.writerows({name: vars(result)[name] for name in names} for result in results)


def _print(text: str, style: str | None = None) -> None:
    Console(highlight=False, soft_wrap=True, markup=False, emoji=False).print(text, style=style)
