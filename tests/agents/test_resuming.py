"""Training that was stopped goes on as if it had not been."""

from __future__ import annotations

import pytest
import torch
from stable_baselines3.common.logger import Logger

from vidselect_agents import make_agent
from vidselect_agents.commands.checkpoint import CHECKPOINT, Checkpoints, check_resumable
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.envs.wrappers import RecordRollouts
from vidselect_env.experiment.run import run_logger

STEPS, NUM_ENVS = 40, 4
SETTINGS: dict[str, dict] = {
    "dsn": {"samples_per_context": 2},
    "as": {},
    "max_response": {},
    "ranking": {},
}


class Stop(Exception):
    """The process dies here."""


class Lines(Logger):
    """Keeps what is written of training, but for times."""

    def __init__(self) -> None:
        super().__init__(None, [])
        self.lines: list[dict] = []

    def dump(self, step: int = 0) -> None:
        self.lines.append({key: value for key, value in self.name_to_value.items() if "per_second" not in key})
        super().dump(step)


def begin(name: str, bank, folder, *, every: int):
    made = FrameSelectProblem if name == "as" else ClipSelectProblem
    observation = "features+predictions" if name == "as" else "features"
    logger = Lines()
    env = RecordRollouts(
        SelectVectorEnv(made(BankSource(bank), observation=observation), num_envs=NUM_ENVS), logger, every_steps=12
    )
    agent = make_agent(name, env, seed=3, **SETTINGS[name])
    agent.set_logger(logger)
    return agent, env, logger, Checkpoints(folder, env, logger, every=every)


@pytest.mark.parametrize("stop_at", [8, 20, 36])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_stopped_training_goes_on_to_the_same_weights_and_the_same_log(tmp_path, make_bank, name, stop_at):
    bank = make_bank()
    agent, env, unbroken, _ = begin(name, bank, tmp_path / "none", every=0)
    agent.learn(env, STEPS)
    env.dump()
    wanted = {key: value.clone() for key, value in agent.modules().state_dict().items()}

    agent, env, before, checkpoints = begin(name, bank, tmp_path, every=8)

    def stopping(agent) -> bool:
        checkpoints.write_if_due(agent)
        if env.num_steps >= stop_at:
            raise Stop
        return True

    with pytest.raises(Stop):
        agent.learn(env, STEPS, callback=stopping)
    assert (tmp_path / CHECKPOINT).exists()

    agent, env, after, checkpoints = begin(name, bank, tmp_path, every=8)
    assert checkpoints.resume(agent) is not None
    agent.learn(env, STEPS)
    env.dump()
    for key, value in agent.modules().state_dict().items():
        assert torch.equal(value, wanted[key]), key
    lines = {line["time/total_timesteps"]: line for line in (*before.lines, *after.lines)}
    assert list(lines.values()) == unbroken.lines


def test_a_training_that_was_stopped_after_its_last_checkpoint_writes_its_last_line(tmp_path, make_bank):
    """What was recorded before is written, though nothing is recorded again."""
    agent, env, _, checkpoints = begin("dsn", make_bank(), tmp_path, every=STEPS)
    agent.learn(env, STEPS, callback=lambda agent: checkpoints.write_if_due(agent) is None)
    agent, env, _, _ = begin("dsn", make_bank(), tmp_path, every=STEPS)
    logger = run_logger(tmp_path)
    assert Checkpoints(tmp_path, env, logger, every=STEPS).resume(agent) is not None
    logger.dump(STEPS)
    logger.close()
    header, line = (tmp_path / "metrics.csv").read_text().splitlines()
    assert "train/loss" in header
    assert line


@pytest.mark.parametrize("name", ["ppo", "search", "random"])
def test_an_agent_that_cannot_be_resumed_says_so_before_it_trains(name):
    with pytest.raises(ValueError, match="cannot be resumed"):
        check_resumable(name)
