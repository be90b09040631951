"""Train and evaluate many agents, over several seeds, on one bank: one table with a row an agent.

vidselect benchmark --agents dsn max_response random uniform dense oracle --seeds 5 --jobs 2

Settings are chosen with `--test-split val`; a table is made on `test` once they are frozen. Each agent and seed writes
its result as soon as it is done; run the command again with the same `--out` to go on after a kill. An agent that
fails costs its row, and is named under the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from vidselect_agents.commands.options import read
from vidselect_env.experiment.config import ExperimentConfig
from vidselect_env.settings import check_settings


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
        also_kept: further numbers of kept candidates to test every agent with, once it is trained: a row each,
            `AGENT @ m`; of agents that choose one clip a section, further numbers of sections.
        jobs: processes that train side by side, on the same banks.
        engine: local, processes of this machine; or ray, workers on as many machines as there are.
        address: of a Ray cluster that runs, or auto; None starts a local one for the time of the benchmark.
        out: the folder of results.
    """

    agents: tuple[str, ...] = (
        *("dsn", "max_response", "random", "uniform", "dense"),
        *("oracle", "most_confident", "nearest"),
    )
    seeds: int = 5
    total_timesteps: int = 6_400
    num_envs: int = 64
    also_kept: tuple[int, ...] = ()
    jobs: int = 1
    engine: Literal["local", "ray"] = "local"
    address: str | None = None
    out: Path = Path("runs/benchmark")

    def __post_init__(self) -> None:
        check_settings(self, at_least=dict.fromkeys(("seeds", "total_timesteps", "num_envs", "jobs"), 1))
        if not self.agents:
            raise ValueError("agents () must be at least one")
        if wrong := [kept for kept in self.also_kept if kept < 1]:
            raise ValueError(f"also_kept ({wrong[0]}) must be at least 1")
        if self.grid.crops != 1:
            raise ValueError(f"crops ({self.grid.crops}) must be 1 here: `train` reports ten of them")


def parse(arguments: Sequence[str]) -> BenchmarkConfig:
    return read(
        BenchmarkConfig,
        arguments,
        prog="vidselect benchmark",
        description=__doc__,
        config=(tyro.conf.OmitArgPrefixes,),
    )
