"""One policy for all prices beside policies that were trained for a single one, on the same looks.

    python scripts/measure/prices.py --data-seed 1 --signals mel --test-split test

Each seed learns to look once. Then as many steps each teach it to decide at prices drawn from `price-range`, and anew
at each of `prices` alone. Top-1, clips and return on the tested videos, the mean over seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro
from tqdm import tqdm

from vidselect_agents.registry import make_agent
from vidselect_agents.search import Search
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.evaluation.evaluate import Result, evaluate
from vidselect_env.experiment.banks import Experiment, make_experiment
from vidselect_env.experiment.config import ExperimentConfig
from vidselect_env.experiment.problems import batched

RANGE = (0.003, 0.3)


@dataclass(frozen=True)
class PricesConfig(ExperimentConfig):
    """Options of this script, beside those of the experiment.

    Args:
        prices: each with a policy of its own.
        looking_steps: videos on which it learns to look. deciding_steps: of every policy.
        scorer: of `search`. context: likewise.
        seeds: how many, from 0.
        num_envs: sub-environments stepped together.
    """

    prices: tuple[float, ...] = (0.2, 0.03, 0.005)
    looking_steps: int = 6_400
    deciding_steps: int = 64_000
    scorer: str = "r2d_bf16"
    context: str = "own"
    seeds: int = 3
    num_envs: int = 64


def main() -> None:
    config = tyro.cli(PricesConfig, description=__doc__, config=(tyro.conf.OmitArgPrefixes,))
    experiment = make_experiment(config)
    found: dict[tuple[float, str], list[Result]] = {}
    for seed in tqdm(range(config.seeds), unit="seed"):
        for key, result in of_seed(config, experiment, seed).items():
            found.setdefault(key, []).append(result)
    print("| price | policy | Top-1 | clips | return |\n| ---: | --- | ---: | ---: | ---: |")
    for (price, name), results in found.items():
        top1, clips = (np.mean([getattr(each, part) for each in results]) for part in ("top1", "clips_per_video"))
        print(f"| {price:g} | {name} | {100 * top1:.1f} | {clips:.2f} | {top1 - price * clips:.3f} |", flush=True)


def of_seed(config: PricesConfig, experiment: Experiment, seed: int) -> dict[tuple[float, str], Result]:
    """What both kinds of policy do at each price."""
    needs = Needs(environment="VideoClipSearch-v0")
    train, test = experiment.train_problem(needs), experiment.test_problem(needs)
    assert isinstance(train, SearchProblem)
    assert isinstance(test, SearchProblem)
    settings: dict[str, Any] = {"scorer": config.scorer, "context": config.context}
    env = batched(train.changed(price_range=RANGE), num_envs=config.num_envs)
    one: Search = make_agent("search", env, seed=seed, looking_steps=config.looking_steps, **settings)
    one.learn(env, config.looking_steps + config.deciding_steps)
    found = {}
    for price in config.prices:
        env = batched(train.changed(price=price, price_range=None), num_envs=config.num_envs)
        own = one.undecided().learn(env, config.deciding_steps)
        for name, agent in (("one for all", one), ("its own", own)):
            found[price, name] = evaluate(agent, test.changed(price=price), name=name)
    return found


if __name__ == "__main__":
    main()
