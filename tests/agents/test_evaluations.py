"""Evaluations during training: each is a row of the log, at its own step."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import pytest
import torch
from stable_baselines3.common.logger import CSVOutputFormat, Logger

from vidselect_agents import make_agent
from vidselect_agents.commands.train import _Evaluations
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.wrappers import RecordRollouts


@pytest.mark.parametrize("lines_every", [4, 8, 100], ids=["as often", "half as often", "hardly ever"])
def test_every_evaluation_is_a_row_at_its_own_step(problem, tmp_path, lines_every):
    logger = Logger(str(tmp_path), [CSVOutputFormat(str(tmp_path / "metrics.csv"))])
    env = RecordRollouts(SelectVectorEnv(problem, num_envs=2), logger, every_steps=lines_every)
    evaluations = _Evaluations(
        SimpleNamespace(evaluate_every=4),
        SimpleNamespace(test_problem=lambda needs: problem),
        Needs(),
        env,
        SimpleNamespace(write_if_due=lambda agent, **others: None),
    )
    agent = make_agent("uniform", env)
    env.reset(seed=0)
    for _ in range(8):
        env.step(torch.zeros(2, 6, dtype=torch.int64))
        evaluations(agent)
    logger.close()
    with (tmp_path / "metrics.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["eval/top1"]]
    assert [float(row["time/total_timesteps"]) for row in rows] == [4, 8, 12, 16]
    assert len({row["eval/top1"] for row in rows}) == 1  # of the same agent
