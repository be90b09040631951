"""How fast agents learn: Top-1 on the test split against videos seen, the mean over seeds, as table and picture.

    python scripts/measure/learning.py --data-seed 1 --kept 2 --out runs/learning --agents \
        plackett_luce,context=own,baseline=greedy plackett_luce,context=own ranking,worth=label truth_spans

An agent is named as for scripts/benchmark.py. Each agent and seed is written when it is done, and not run again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tqdm import tqdm

from vidselect_agents.commands.benchmark_jobs import needs_with_settings, parse_agent, result_file
from vidselect_agents.registry import make_agent
from vidselect_env.envs.memory import keep_freed_batches
from vidselect_env.evaluation.evaluate import evaluate
from vidselect_env.experiment.banks import Experiment, make_experiment
from vidselect_env.experiment.config import ExperimentConfig, changed
from vidselect_env.experiment.problems import batched, make_problem, steps_of
from vidselect_env.files import write_json


@dataclass(frozen=True, kw_only=True)
class LearningConfig(ExperimentConfig):
    """Whose curves.

    Args:
        agents: names and settings. seeds: how many, from 0.
        total_timesteps: videos seen. every: videos between two evaluations.
        num_envs: sub-environments stepped together.
        out: folder of results and picture.
    """

    agents: tuple[str, ...]
    seeds: int = 3
    total_timesteps: int = 6_400
    every: int = 640
    num_envs: int = 64
    out: Path = Path("runs/learning")


def main() -> None:
    config = tyro.cli(LearningConfig, description=__doc__, config=(tyro.conf.OmitArgPrefixes,))
    config.out.mkdir(parents=True, exist_ok=True)
    experiment = make_experiment(config)
    for seed in tqdm(range(config.seeds), unit="seed"):
        for agent in config.agents:
            file = result_file(config.out, agent, seed)
            if not file.exists():
                file.parent.mkdir(exist_ok=True)
                write_json(file, curve(config, experiment, agent, seed))
    curves = {
        agent: [json.loads(result_file(config.out, agent, seed).read_text()) for seed in range(config.seeds)]
        for agent in config.agents
    }
    draw(curves, config.out / "learning.png")
    print(table(curves))


def curve(config: LearningConfig, experiment: Experiment, agent: str, seed: int) -> dict[str, list[float]]:
    """Top-1 of one agent by the number of videos that it has seen."""
    needs, environment = needs_with_settings(agent)
    name, settings = parse_agent(agent)
    settings.pop("environment", None)
    problem = config.problem if environment is None else changed(config.problem, environment=environment)
    assert experiment.train is not None
    env = batched(make_problem(problem, experiment.train, needs), num_envs=config.num_envs)
    keep_freed_batches(env)
    test = make_problem(problem, experiment.test, needs)
    learner = make_agent(name, env, seed=seed, **settings)
    seen: list[float] = []
    top1: list[float] = []

    def look(agent: Any) -> bool:
        if agent.num_timesteps >= config.every * (len(seen) + 1):
            seen.append(agent.num_timesteps)
            top1.append(evaluate(agent, test, name=name).top1)
        return True

    learner.learn(env, steps_of(env.problem, config.total_timesteps), callback=look)
    return {"seen": seen, "top1": top1}


def table(curves: dict[str, list[dict[str, list[float]]]]) -> str:
    """A row an agent, a column a number of videos seen."""
    seen = next(iter(curves.values()))[0]["seen"]
    lines = ["| agent | " + " | ".join(f"{videos:.0f}" for videos in seen) + " |", "| --- |" + " ---: |" * len(seen)]
    for agent, each in curves.items():
        means = 100 * np.mean([run["top1"] for run in each], axis=0)
        lines.append(f"| {agent} | " + " | ".join(f"{mean:.1f}" for mean in means) + " |")
    return "\n".join(lines)


def draw(curves: dict[str, list[dict[str, list[float]]]], path: Path) -> None:
    """The mean over seeds, and where the seeds lie."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for agent, each in curves.items():
        values = 100 * np.array([run["top1"] for run in each])
        (line,) = axes.plot(each[0]["seen"], values.mean(0), "-o", ms=3, label=agent)
        axes.fill_between(each[0]["seen"], values.min(0), values.max(0), alpha=0.12, color=line.get_color())
    axes.set_xlabel("videos seen")
    axes.set_ylabel("Top-1 (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
