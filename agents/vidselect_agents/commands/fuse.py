"""What several runs say of the same videos together: `vidselect evaluate --fuse RUN RUN --weights 1 1.5`."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

from rich.console import Console

from vidselect_agents.commands.options.evaluate import FuseConfig
from vidselect_agents.commands.report import references
from vidselect_agents.commands.saved import SavedRun, open_run
from vidselect_agents.registry import UNTRAINED, needs_of
from vidselect_env.datasets.flow import is_flow
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.evaluation.evaluate import Result, evaluate_with_predictions
from vidselect_env.evaluation.fusion import Stream, fuse, normalised
from vidselect_env.evaluation.report import REPORT
from vidselect_env.evaluation.table import markdown_table, print_table, write_csv
from vidselect_env.experiment.banks import make_experiment
from vidselect_env.experiment.config import changed
from vidselect_env.experiment.problems import fields_of
from vidselect_env.experiment.run import new_run_folder, write_config
from vidselect_env.files import write_aside
from vidselect_env.video.flow import source_of


def fuse_runs(config: FuseConfig) -> Path:
    """A table of every run, and of all of them together: their agents, and each reference; returns its folder.

    Raises:
        ValueError: a folder is no finished run, or the runs are not of the same classes and labels.
    """
    saved = [open_run(folder, trust=config.trust) for folder in config.fuse]
    for other in saved[1:]:
        if other.class_names != saved[0].class_names:
            raise ValueError(f"{str(other.folder)!r} and {str(saved[0].folder)!r} are not of the same classes")
    streams = [_streams(each, config) for each in saved]
    together = {"agents": [of_run["agent"] for of_run in streams]}
    for name in UNTRAINED:
        if all(name in of_run for of_run in streams):
            together[name] = [of_run[name] for of_run in streams]
    results: list[Result] = [stream.result for of_run in streams for stream in of_run.values()]
    results += [
        fuse(each, weights=config.weights, name=f"fusion of {name if name == 'agents' else f'{name} clips'}")
        for name, each in together.items()
    ]
    folder = new_run_folder(config.runs, "fusion")
    write_config(folder, fusion=config)
    write_csv(folder / "results.csv", results)
    shares = normalised(config.weights, len(config.fuse))
    facts = [f"- {path} weighs {share:.3f}" for path, share in zip(config.fuse, shares, strict=True)]
    text = "\n\n".join(["# Fusion", "\n".join(facts), markdown_table(results)])
    write_aside(folder / REPORT, lambda aside: aside.write_text(f"{text}\n"))
    print_table(results, title="fusion")
    Console().print(f"report: {folder / REPORT}", highlight=False, soft_wrap=True, markup=False)
    return folder


def _streams(saved: SavedRun, config: FuseConfig) -> dict[str, Stream]:
    """What a run's agent says, and every reference that sees no labels, each a stream."""
    run = changed(saved.config, test_split=config.test_split)
    needs = needs_of(run.agent, saved.settings)
    head, agent = saved.load_head(), saved.load_agent()
    experiment = make_experiment(run, signals=fields_of(run.problem, needs), head=head, only_test=True)
    test = experiment.test_problem(needs)
    rows = references(test, seed=run.seed)
    selectors = {"agent": agent} | {name: rows[name] for name in UNTRAINED if name in rows}
    videos = _names(test, shows_flow=is_flow(run.data.dataset))
    found = {}
    for name, selector in selectors.items():
        title = f"{saved.folder.name}: {run.agent if name == 'agent' else name}"
        result, probabilities = evaluate_with_predictions(selector, test, name=title)
        found[name] = Stream(
            result=result, videos=videos, probabilities=probabilities, targets=test.source.targets.cpu()
        )
    return found


def _names(test: SelectionProblem, *, shows_flow: bool) -> tuple[Hashable, ...]:
    """Of every test video, the same in all modalities: the file that it comes from, and the part of it."""
    paths = test.source.video_paths
    sources = [source_of(path) or path for path in paths] if shows_flow else paths
    parts = test.source.segments_s or ((None, None),) * len(paths)
    return tuple(zip(sources, parts, strict=True))
