"""What a run found: the table on the console, and in the run's folder with its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from rich.console import Console

from vidselect_agents.mgsampler import MGSampler
from vidselect_agents.registry import UNTRAINED, agent_class
from vidselect_agents.thirdparty import ThirdParty
from vidselect_env.envs.contract import Selector
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.render import contact_sheet
from vidselect_env.evaluation.adaptive import adaptive_cost, describe
from vidselect_env.evaluation.evaluate import Result, evaluate, selection_of
from vidselect_env.evaluation.figures import Scorer, plot_bins, plot_motion, plot_places, plot_ranked
from vidselect_env.evaluation.multicrop import SCHEMES, FrameScorer, evaluate_crops
from vidselect_env.evaluation.pages import video_pages, write_page
from vidselect_env.evaluation.references import REFERENCES, Reference
from vidselect_env.evaluation.report import sweep_budgets, write_report
from vidselect_env.evaluation.table import print_table, write_csv
from vidselect_env.experiment.banks import Experiment
from vidselect_env.experiment.run import memory_used
from vidselect_env.files import write_aside


def report(folder: Path, agent: Any, experiment: Experiment, *, name: str, seed: int, facts: Mapping[str, Any]) -> None:
    """The table of an agent beside the references, on the console and in the run's folder with its plots."""
    data, spec = experiment.config.data, experiment.test.spec
    test = experiment.test_problem(agent.needs)
    selectors = references(test, seed=seed) | {name: agent}
    results = [evaluate(each, test, name=title) for title, each in selectors.items()]
    by_name = {result.selector: result for result in results}
    results += _of_crops(agent, test, experiment, name=name)
    sweep = sweep_budgets(selectors, test)
    write_csv(folder / "results.csv", results)
    write_csv(folder / "sweep.csv", [result for at in sweep.values() for result in at])
    told = {
        "test videos": f"{results[0].num_videos} of {data.dataset}, split {data.test_split}",
        **classifier_facts(experiment),
        "problem": test.description,
        **facts,
        "memory": memory_used(),
    }
    title = f"{name} on {data.dataset}"
    pictures = draw_pictures(folder, agent, test, name=name)
    if spec.bins_gmacs:
        told["cost of a clip"] = describe(adaptive_cost(experiment.test.bank))
        plot_bins(experiment.test.bank.field("num_bins").joined(), folder / "bins.png")
        pictures["Clips by the number of maps that they keep"] = "bins.png"
    dashed = [each for each in selectors if each != name]
    pages = video_pages(agent, cast(Selector, selectors["uniform"]), test, results=by_name, name=name)
    page = write_page(folder, results, sweep, pages, title=title, agent=name, facts=told, references=dashed)
    path = write_report(folder, results, sweep, title=title, facts=told, pictures=pictures, references=dashed)
    print_table(results, title=title)
    Console(emoji=False).print(f"report: {path} and {page.name}", highlight=False, soft_wrap=True, markup=False)


def classifier_facts(experiment: Experiment) -> dict[str, str]:
    """Which classifier and weights, whether a head was fitted, and which test videos could not be read."""
    options, spec = experiment.config.classifier, experiment.test.spec
    told = {
        "classifier": f"{options.classifier}, {spec.classifier_gmacs:.4g} GMACs a clip",
        "weights": f"{options.weights}, sha256 {spec.weights_sha256[:12]}",
    }
    if (head := experiment.head) is not None:
        told["head"] = f"fitted on the training videos: {head.in_features} features, {head.out_features} classes"
    if skipped := experiment.test.bank.skipped:
        told["skipped"] = "; ".join(f"{path} ({reason})" for path, reason in skipped)
    return told


def references(test: SelectionProblem, *, seed: int) -> dict[str, Selector | Reference]:
    """The rows of every table: random, uniform, dense, and what sees the answers, as far as they are known."""
    rows: dict[str, Selector | Reference] = {name: agent_class(name)(test.shapes, seed=seed) for name in UNTRAINED}
    known = test.answers(torch.zeros(1, dtype=torch.int64, device=test.source.device)).spans_s is not None
    return rows | {name: REFERENCES[name]() for name in REFERENCES if name != "nearest" or known}


def draw_pictures(folder: Path, agent: Selector, test: SelectionProblem, *, name: str) -> dict[str, str]:
    """The pictures of a report, drawn into its folder: captions, and their files."""
    context = torch.zeros(1, dtype=torch.int64, device=test.source.device)
    sheet = contact_sheet(test, context, selection_of(agent, test, context))
    write_aside(folder / "selection.png", lambda aside: Image.fromarray(sheet).save(aside, format="PNG"))
    plot_places({name: agent, "oracle": REFERENCES["oracle"]()}, test, folder / "places.png")
    pictures = {
        "The candidates of one video, chosen ones framed": "selection.png",
        "Where in the videos clips are chosen": "places.png",
    }
    if isinstance(agent, Scorer):
        plot_ranked(agent, test, folder / "ranked.png")
        pictures["The highest- and lowest-ranked clips of a few videos"] = "ranked.png"
    if isinstance(agent, MGSampler):
        plot_motion(
            agent, test, folder / "motion.png", mu=agent.config.mu, kind=agent.config.difference, filters=agent.filters
        )
        pictures["The motion of one video, and the clips chosen in it"] = "motion.png"
    return pictures


def _of_crops(agent: Any, test: SelectionProblem, experiment: Experiment, *, name: str) -> list[Result]:
    """Rows of ten crops, where there are ten and the agent scores frames."""
    if not experiment.test_crops or not isinstance(test, FrameSelectProblem) or isinstance(agent, ThirdParty):
        return []
    if not isinstance(agent, FrameScorer):
        return []
    crops = [test.with_source(source) for source in experiment.test_crops]
    return [evaluate_crops(agent, crops, scheme=scheme, name=f"{name}, 10 crops, {scheme}-based") for scheme in SCHEMES]
