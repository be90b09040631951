"""Colours, flow and both, on the clips that a run of colours chooses, and on dense, uniform and random ones.

    python scripts/measure/two_streams.py --run runs/plackett_luce-... --dataset flow:farneback@64:synthetic \
        --weights FLOW.safetensors

Both classifiers are shown the same clips of the run's test videos; fusion is the mean of their probabilities. No
training video's flow is computed, as it is where flow has an agent of its own (`vidselect evaluate --fuse`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import Tensor

from vidselect_agents.commands.saved import open_run
from vidselect_agents.registry import UNTRAINED, agent_class, needs_of
from vidselect_env.evaluation.metrics import paired_bootstrap
from vidselect_env.experiment.banks import make_experiment
from vidselect_env.experiment.config import changed


@dataclass(frozen=True, kw_only=True)
class StreamsConfig:
    """What is compared.

    Args:
        run: of colours, whose agent chooses for both.
        dataset: the flow of its dataset.
        weights: of a classifier of flow of the run's kind.
    """

    run: Path
    dataset: str
    weights: str


def main() -> None:
    config = tyro.cli(StreamsConfig, description=__doc__)
    saved = open_run(config.run)
    needs = needs_of(saved.config.agent, saved.settings)
    agent = saved.load_agent()
    flow = changed(saved.config, dataset=config.dataset, modality="flow", weights=config.weights)
    tests = [
        make_experiment(each, signals=needs.fields or (), only_test=True).test_problem(needs)
        for each in (saved.config, flow)
    ]
    batches = torch.arange(tests[0].num_contexts).split(50)
    colours, moves = (torch.cat([test.probabilities(batch) for batch in batches]) for test in tests)
    selectors = {"chosen": agent} | {name: agent_class(name)(tests[0].shapes, seed=0) for name in UNTRAINED}
    labels = tests[0].source.targets.int().argmax(-1)

    def right(fused: Tensor) -> Tensor:
        return (fused.argmax(-1) == labels).float()

    print("| clips | colours | flow | both | both ahead of colours |\n|---|---:|---:|---:|---:|")
    for name, selector in selectors.items():
        kept = torch.cat([selector.select(tests[0].looks(batch)) for batch in batches]).float()[..., None]
        alone = [(said * kept).sum(1) / kept.sum(1) for said in (colours, moves)]
        rights = [right(each) for each in (*alone, (alone[0] + alone[1]) / 2)]
        rates = " | ".join(f"{100 * each.mean():.1f}" for each in rights)
        mean, low, high = (100 * value for value in paired_bootstrap(rights[2], rights[0]))
        print(f"| {name} | {rates} | {mean:+.1f} [{low:+.1f}, {high:+.1f}] |")


if __name__ == "__main__":
    main()
