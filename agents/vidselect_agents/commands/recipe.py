"""Running a recipe: for every official split, a classifier and an agent of every stream, their fusion, and the mean."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from vidselect_agents.commands import classifier as classifier_command
from vidselect_agents.commands.fuse import fuse_runs
from vidselect_agents.commands.options.evaluate import FuseConfig
from vidselect_agents.commands.options.recipe import RecipeConfig
from vidselect_agents.commands.plan import plan_of, told
from vidselect_agents.commands.recipes import (
    Recipe,
    Stream,
    changed_recipe,
    classifier_config,
    load_recipe,
    train_config,
)
from vidselect_agents.commands.train import train
from vidselect_env.evaluation.evaluate import Result
from vidselect_env.evaluation.report import REPORT
from vidselect_env.evaluation.splits import mean_over_splits, read_results
from vidselect_env.evaluation.table import markdown_table, print_table
from vidselect_env.experiment.run import new_run_folder, write_config
from vidselect_env.files import write_aside


def run(config: RecipeConfig) -> None:
    recipe = changed_recipe(load_recipe(config.recipe), config.set)
    if config.splits is not None:
        recipe = dataclasses.replace(recipe, splits=config.splits)
    if config.dry_run:
        Console(highlight=False, soft_wrap=True, markup=False).print(told(recipe, plan_of(recipe, config)))
    else:
        run_recipe(recipe, config)


def run_recipe(recipe: Recipe, config: RecipeConfig) -> Path:
    """Train and test everything; returns the folder with the report, in which each run has its own."""
    folder = new_run_folder(config.runs, recipe.name)
    write_config(folder, recipe=recipe, options=config)
    tables, accuracies = [], []
    for place, dataset in enumerate(recipe.datasets(config.root)):
        runs = folder / (f"split{recipe.splits[place]}" if recipe.splits else "runs")
        found = [_run_stream(stream, dataset, runs / stream.name, config) for stream in recipe.streams]
        tested = [each for each in found if isinstance(each, Path)]
        accuracies += [each for each in found if isinstance(each, float)]
        if len(tested) > 1:
            weights = recipe.weights
            tested = [fuse_runs(FuseConfig(fuse=tuple(tested), weights=weights, runs=runs))]
        tables += [_named_alike(read_results(each / "results.csv"), each) for each in tested]
    _write_report(folder, recipe, tables, accuracies)
    return folder


def _named_alike(rows: Sequence[Result], folder: Path) -> list[Result]:
    """Rows of a fusion without the names of this split's runs, by which those of the others could not be told alike."""
    parts = [row.selector.partition(": ") for row in rows]
    runs = list(dict.fromkeys(head for head, colon, _ in parts if colon))
    return [
        dataclasses.replace(row, selector=f"stream {runs.index(head) + 1}: {tail}") if colon else row
        for row, (head, colon, tail) in zip(rows, parts, strict=True)
    ]


def _run_stream(stream: Stream, dataset: str, runs: Path, config: RecipeConfig) -> Path | float:
    """The folder of a stream's run, or where it has a classifier alone, its accuracy."""
    given: dict[str, Any] = {"device": config.device, "seed": config.seed, "runs": runs}
    weights = {}
    if stream.classifier is not None:
        settings = classifier_config(stream, dataset, **given)
        own = new_run_folder(runs, "classifier")
        write_config(own, classifier=settings)
        classifier_command.train(settings, own)
        if stream.train is None:
            return _last_accuracy(own / "metrics.csv")
        weights = {"weights": str(own / "weights.safetensors")}
    return train(*train_config(stream, dataset, **given, **weights))


def _last_accuracy(metrics: Path) -> float:
    """Top-1 on the test split, of the last line of a classifier's log that has it."""
    with metrics.open(newline="") as stream:
        values = [row["eval/clip_top1"] for row in csv.DictReader(stream)]
    return float([value for value in values if value][-1])


def _write_report(
    folder: Path, recipe: Recipe, tables: Sequence[Sequence[Result]], accuracies: Sequence[float]
) -> None:
    splits = f", the mean of splits {', '.join(recipe.splits)}" if len(recipe.splits) > 1 else ""
    differs = "\n".join(f"- {line}" for line in recipe.differs)
    parts = [f"# {recipe.name}", f"{recipe.table}: {recipe.reports}.", f"What differs from the paper:\n\n{differs}"]
    if tables:
        rows = mean_over_splits(tables)
        parts.append(f"Measured{splits}:\n\n{markdown_table(rows)}")
        print_table(rows, title=recipe.name)
    if accuracies:
        mean = 100 * sum(accuracies) / len(accuracies)
        parts.append(f"Top-1 of the classifier{splits}: {mean:.1f}")
        Console(highlight=False).print(parts[-1])
    write_aside(folder / REPORT, lambda aside: aside.write_text("\n\n".join(parts) + "\n"))
    Console().print(f"report: {folder / REPORT}", highlight=False, soft_wrap=True, markup=False)
