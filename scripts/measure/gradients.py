"""Policy-gradient estimators on the default problem: their variance, and how fast they learn.

    python scripts/measure/gradients.py

Variance: a DSN scorer, fresh or trained for a while, is given one batch of videos; each estimator draws its gradient
many times. Its variance is the mean squared distance from the exact gradient, summed over all weights.
Speed: agents are trained, and the mean reward of their most probable clips on the test split is noted on the way.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor
from tqdm import tqdm

from vidselect_agents import make_agent
from vidselect_agents.baselines import Baseline, MovingAverage, make_baseline
from vidselect_agents.dsn import DSN
from vidselect_agents.gradients import all_arms_loss, reinforce_loss
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.contract import Looks
from vidselect_env.experiment.banks import Experiment, make_experiment
from vidselect_env.experiment.config import ExperimentConfig

LEARNERS: dict[str, dict[str, Any]] = {
    "greedy baseline, 1 sample": {"samples_per_context": 1},
    "greedy baseline, 8 samples": {"samples_per_context": 8},
    "all_arms": {"gradient": "all_arms"},
}
ESTIMATORS = (("none", 1), ("greedy", 1), ("moving_average", 1), ("greedy", 8), ("leave_one_out", 8))


@dataclass(frozen=True, kw_only=True)
class GradientBenchmarkConfig(ExperimentConfig):
    """What is measured.

    Args:
        draws: gradients drawn of each estimator.
        num_envs: videos of the batch.
        trained_steps: training before the second measurement.
        curve_steps: training for the learning curves, with batches of 64.
        curve_seeds: seeds of each.
    """

    draws: int = 200
    num_envs: int = 16
    trained_steps: int = 3_000
    curve_steps: int = 6_400
    curve_seeds: int = 3


def main() -> None:
    config = tyro.cli(GradientBenchmarkConfig, description=__doc__, config=(tyro.conf.OmitArgPrefixes,))
    experiment = make_experiment(config)
    env = SelectVectorEnv(experiment.train_problem(DSN.made_for), num_envs=config.num_envs)
    table = Table(title="variance of the gradient, over that of REINFORCE with the greedy baseline")
    for heading in ("scorer", "estimator", "samples a context", "variance", "ratio", "bias / noise"):
        table.add_column(heading, justify="right")
    for label, steps in (("fresh", 0), (f"after {config.trained_steps} steps", config.trained_steps)):
        agent = make_agent("dsn", env, seed=0)
        if steps:
            agent.learn(env, steps, progress_bar=True)
        measured = measure(agent, env, draws=config.draws)
        reference = measured["greedy", 1][0]
        for (name, samples), (variance, bias) in measured.items():
            table.add_row(label, name, str(samples), f"{variance:.2e}", f"{variance / reference:.2f}", f"{bias:.2f}")
        table.add_row(label, "all_arms", "", "0", "0.00", "0.00")
    Console().print(table)
    print_curves(config, experiment)


def print_curves(config: GradientBenchmarkConfig, experiment: Experiment) -> None:
    """Mean test reward against videos seen in training, the mean over seeds, for each way to learn."""
    table = Table(title=f"test reward of the most probable clips, {config.curve_seeds} seeds")
    table.add_column("learning")
    curves = {name: learning_curve(config, experiment, settings) for name, settings in LEARNERS.items()}
    for step in next(iter(curves.values())):
        table.add_column(str(step), justify="right")
    for name, curve in curves.items():
        table.add_row(name, *(f"{reward:.3f}" for reward in curve.values()))
    Console(width=160).print(table)


def learning_curve(
    config: GradientBenchmarkConfig, experiment: Experiment, settings: dict[str, Any]
) -> dict[int, float]:
    """Mean reward on the test split after every tenth of the training."""
    test = experiment.test_problem(DSN.made_for)
    contexts = torch.arange(test.num_contexts)
    every = config.curve_steps // 10
    totals: dict[int, float] = {}

    def note(agent: DSN) -> bool:
        if agent.num_timesteps % every == 0:
            rewards = [
                test.outcome(part, agent.act(test.looks(part), deterministic=True))[0] for part in contexts.split(64)
            ]
            mean = torch.cat(rewards).mean().item() / config.curve_seeds
            totals[agent.num_timesteps] = totals.get(agent.num_timesteps, 0.0) + mean
        return True

    for seed in range(config.curve_seeds):
        env = SelectVectorEnv(experiment.train_problem(DSN.made_for), num_envs=64)
        make_agent("dsn", env, seed=seed, **settings).learn(env, config.curve_steps, callback=note, progress_bar=True)
    return totals


def measure(agent: DSN, env: SelectVectorEnv, *, draws: int) -> dict[tuple[str, int], tuple[float, float]]:
    """Variance of each estimator, and the distance of its mean from the exact gradient over what chance allows."""
    env.reset(seed=1)
    looks = env.looks()
    agent.scorer.eval()  # so that a batch's statistics do not change the gradient from draw to draw
    exact = gradient(agent, all_arms_loss(agent.policy(looks), env.full_information()))
    found = {}
    for name, samples in ESTIMATORS:
        warm, drawn = warm_baseline(name, agent, env, looks), []
        for _ in tqdm(range(draws), desc=f"{name} {samples}", leave=False):
            policy = agent.policy(looks)
            actions = policy.sample(samples, agent.generator)
            baseline = copy.deepcopy(warm)
            asked = baseline.tries(policy)
            rewards = env.decision_rewards(actions)
            tried = env.decision_rewards(actions[:0] if asked is None else asked)
            advantages = baseline.advantages(rewards, tried, env.contexts)
            drawn.append(gradient(agent, reinforce_loss(policy.log_prob(actions), advantages)))
        stacked = torch.stack(drawn)
        variance = (stacked - exact).square().sum(1).mean().item()
        bias = (stacked.mean(0) - exact).norm().item() / (variance / draws) ** 0.5
        found[name, samples] = (variance, bias)
    return found


def warm_baseline(name: str, agent: DSN, env: SelectVectorEnv, looks: Looks) -> Baseline:
    """A baseline, with moving averages as they are after ten visits."""
    policy = agent.policy(looks)
    num_decisions = policy.entropy().shape[-1]
    baseline = make_baseline(name, num_contexts=env.problem.num_contexts, num_decisions=num_decisions)
    if isinstance(baseline, MovingAverage):
        for _ in range(10):
            baseline.update(env.contexts, env.decision_rewards(policy.sample(1, agent.generator)))
    return baseline


def gradient(agent: DSN, loss: Tensor) -> Tensor:
    """All gradients of the scorer's weights, in one vector."""
    parts = torch.autograd.grad(loss, list(agent.scorer.parameters()))
    return torch.cat([part.flatten() for part in parts])


if __name__ == "__main__":
    main()
