"""Train and evaluate many agents, over several seeds, on one bank: one table with a row an agent.

    python scripts/benchmark.py --agents dsn max_response random uniform dense oracle --seeds 5

Each agent and seed writes its result as soon as it is done; run the command again with the same `--out` to go
on after a kill. An agent that fails costs its row, and is named under the table.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console

from vidselect_agents import REFERENCES, agent_class, agent_file, make_agent, signals_wanted, tuned_settings
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.recorder import RolloutRecorder
from vidselect_env.evaluation.evaluate import Result, evaluate
from vidselect_env.evaluation.metrics import mean_and_interval
from vidselect_env.evaluation.table import Column, grouped, markdown_table, print_table
from vidselect_env.experiment import Experiment, ExperimentConfig, make_experiment, steps_of
from vidselect_env.run import claim_results, run_logger

FREE = ("agents", "seeds", "out", "device", "num_workers", "clips_per_batch")  # may differ among a folder's results


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(ExperimentConfig):
    """Which agents are compared on what.

    Args:
        agents: built-in names, entry points', or package.module:Class; a setting is added as in
            dsn,gradient=all_arms,samples_per_context=1 or scsampler,streams=vectors+intra, and an environment of
            its own in the same way, as in oracle,environment=VideoFrameSelect-v0.
        seeds: how many, from 0.
        total_timesteps: videos seen in training.
        num_envs: sub-environments stepped together.
        out: the folder of results.
    """

    agents: tuple[str, ...] = ("dsn", "max_response", *REFERENCES)
    seeds: int = 5
    total_timesteps: int = 6_400
    num_envs: int = 64
    out: Path = Path("runs/benchmark")


@dataclass(frozen=True, kw_only=True)
class TimedResult(Result):
    """A result with what its training took.

    train_seconds: of `learn`, and steps_per_second in it, both nan for a reference.
    """

    train_seconds: float = float("nan")
    steps_per_second: float = float("nan")


TRAINING_COLUMNS = (
    Column("training s", lambda result: getattr(result, "train_seconds"), 0),  # noqa: B009
    Column("steps/s", lambda result: getattr(result, "steps_per_second"), 0),  # noqa: B009
)


def main() -> None:
    config = tyro.cli(BenchmarkConfig, description=__doc__)
    if config.crops != 1:
        raise SystemExit(f"crops ({config.crops}) must be 1 here: train_agent.py reports ten of them")
    try:
        claim_results(config.out, free=FREE, benchmark=config)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    found = [agent for agent in config.agents if (result_folder(config, agent, 0) / "result.json").exists()]
    if found:
        Console().print(f"results of {', '.join(found)} in {config.out} are taken as they are", highlight=False)
    failures: dict[str, str] = {}
    signals: set[str] = set()  # what all agents look at, so that one bank serves them
    for agent in config.agents:
        try:
            signals |= signals_of_agent(agent)
        except Exception as error:
            failures[agent] = f"{type(error).__name__}: {error}"
    experiment = make_experiment(config, signals=signals)
    for seed in range(config.seeds):
        for agent in config.agents:
            if agent in failures:
                continue
            try:
                one(config, experiment, agent, seed)
            except Exception as error:
                traceback.print_exc()
                failures[agent] = f"{type(error).__name__}: {error}"
    report(config, failures)


def signals_of_agent(agent: str) -> set[str]:
    """What an agent with these settings looks at beside skims."""
    name, given = parse_agent(agent)
    settings = tuned_settings(name)
    known = {key: value for key, value in given.items() if key in getattr(settings, "__dataclass_fields__", {})}
    return set(signals_wanted(name, dataclasses.replace(settings, **known)))


def one(config: BenchmarkConfig, experiment: Experiment, agent: str, seed: int) -> None:
    """Train and evaluate one agent with one seed, unless its result is there already."""
    folder = result_folder(config, agent, seed)
    if (folder / "result.json").exists():
        return
    folder.mkdir(exist_ok=True)
    name, settings = parse_agent(agent)
    environment = settings.pop("environment", None)
    cls = agent_class(name)
    env = SelectVectorEnv(experiment.train_problem(cls, environment=environment), num_envs=config.num_envs)
    logger = run_logger(folder)
    env.recorder = RolloutRecorder(logger)
    learner = make_agent(name, env, seed=seed, device=config.torch_device, **settings)
    timing = {}
    if name not in REFERENCES:
        started_s = time.perf_counter()
        learner.learn(steps_of(env.problem, config.total_timesteps), progress_bar=True)
        train_seconds = time.perf_counter() - started_s
        timing = {"train_seconds": train_seconds, "steps_per_second": env.recorder.num_steps / train_seconds}
        env.recorder.dump()
        if hasattr(learner, "save"):
            learner.save(folder / agent_file(cls))
    logger.close()
    result = evaluate(learner, experiment.test_problem(cls, environment=environment), name=agent)
    (folder / "result.part").write_text(json.dumps(vars(result) | timing))
    (folder / "result.part").rename(folder / "result.json")


def parse_agent(text: str) -> tuple[str, dict[str, Any]]:
    """`dsn,gradient=all_arms,samples_per_context=1` -> `dsn` and its settings; `+` stands between several values."""
    name, *settings = text.split(",")
    pairs = dict(setting.split("=", 1) for setting in settings)
    own = getattr(tuned_settings(name), "__dict__", {})
    return name, {
        key: tuple(value.split("+")) if isinstance(own.get(key), tuple) else _value(value)
        for key, value in pairs.items()
    }


def result_folder(config: BenchmarkConfig, agent: str, seed: int) -> Path:
    """Where the result of one agent with one seed is."""
    return config.out / f"{agent.replace(':', '.').replace('/', '_')}-{seed}"


def _value(text: str) -> Any:
    """A number, true, false or none in any spelling, or the text itself."""
    if text.lower() in ("true", "false", "none", "null"):
        return {"true": True, "false": False}.get(text.lower())
    try:
        return json.loads(text)
    except ValueError:
        return text


def report(config: BenchmarkConfig, failures: dict[str, str]) -> None:
    """Table, CSV and figure of all results in the folder that this command asks for."""
    files = [
        result_folder(config, agent, seed) / "result.json" for agent in config.agents for seed in range(config.seeds)
    ]
    results = [TimedResult(**json.loads(file.read_text())) for file in files if file.exists()]
    lines = [markdown_table(results, extra=TRAINING_COLUMNS)]
    lines += [f"`{agent}` failed: {reason}" for agent, reason in failures.items()]
    (config.out / "table.md").write_text("\n\n".join(lines) + "\n")
    with (config.out / "results.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(TimedResult.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(vars(result) for result in results)
    plot(results, config.out / "top1_cost.png")
    print_table(results, title=f"{config.seeds} seeds on {config.dataset}", extra=TRAINING_COLUMNS)
    for agent, reason in failures.items():
        Console().print(f"{agent} failed: {reason}", style="red")


def plot(results: list[TimedResult], path: Path) -> None:
    """Top-1 with its interval against cost, a point an agent."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, rows in grouped(results).items():
        mean, interval = mean_and_interval([100 * row.top1 for row in rows])
        cost = sum(row.gmacs for row in rows) / len(rows)
        marker = "s" if name in REFERENCES else "o"
        axes.errorbar(cost, mean, yerr=interval if interval > 0 else None, fmt=marker, capsize=3, label=name)
    axes.set_xlabel("GMACs a video, scorer and classifier")
    axes.set_ylabel("Top-1 (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
