"""Agents on a bank whose features tell which clips are good."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import HumanOutputFormat, Logger

from vidselect_agents import agent_class, make_agent
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.envs.wrappers import RecordRollouts
from vidselect_env.evaluation.evaluate import evaluate, selection_of
from vidselect_env.evaluation.references import REFERENCES

LEARNERS = ("dsn", "max_response")


def make_env(bank, *, num_envs: int = 16, **options) -> SelectVectorEnv:
    return SelectVectorEnv(
        ClipSelectProblem(BankSource(bank), **({"observation": "features"} | options)), num_envs=num_envs
    )


@pytest.fixture
def env(make_bank) -> SelectVectorEnv:
    return make_env(make_bank(num_videos=200))


def top1(agent, env) -> float:
    return evaluate(agent, env.problem, name="x").top1


@pytest.mark.parametrize("settings", [{}, {"gradient": "all_arms"}, {"baseline": "leave_one_out"}], ids=str)
def test_dsn_learns_to_beat_uniform_and_dense(env, settings):
    agent = make_agent("dsn", env, seed=0, learning_rate=3e-3, **settings).learn(env, 16 * 150)
    assert top1(agent, env) > top1(make_agent("uniform", env), env) + 0.1
    assert top1(agent, env) >= top1(make_agent("dense", env), env)


def test_oracle_takes_the_largest_true_class_probability_of_each_section(env):
    problem, contexts = env.problem, torch.arange(5)
    mask = selection_of(REFERENCES["oracle"](), problem, contexts)
    of_label = (problem.probabilities(contexts) * problem.targets(contexts)[:, None]).sum(-1).view(5, 6, 3)
    assert torch.equal(mask.view(5, 6, 3).int().argmax(-1), of_label.argmax(-1))


def test_uniform_takes_the_middle_and_dense_everything(env):
    contexts = torch.arange(3)
    assert selection_of(make_agent("uniform", env), env.problem, contexts).view(3, 6, 3)[..., 1].all()
    assert selection_of(make_agent("uniform", env), env.problem, contexts).sum() == 18
    assert selection_of(make_agent("dense", env), env.problem, contexts).all()


def test_random_takes_one_a_section_and_its_seed_decides(env):
    contexts = torch.arange(20)
    masks = [selection_of(make_agent("random", env, seed=seed), env.problem, contexts) for seed in (1, 1, 2)]
    assert (masks[0].view(20, 6, 3).sum(-1) == 1).all()
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("observation", ["features", "skim"])
def test_a_saved_agent_predicts_as_before(bank, tmp_path, name, observation):
    env = make_env(bank, observation=observation)
    agent = make_agent(name, env, seed=0).learn(env, 32)
    agent.save(tmp_path / "agent.safetensors")
    loaded = agent_class(name).load(tmp_path / "agent.safetensors")
    observations, _ = env.reset(seed=0)
    actions = agent.predict(observations.numpy(), deterministic=True)[0]
    assert isinstance(actions, np.ndarray)
    np.testing.assert_array_equal(actions, loaded.predict(observations.numpy(), deterministic=True)[0])
    assert env.single_action_space.contains(agent.predict(observations[0].numpy())[0])


@pytest.mark.parametrize("name", LEARNERS)
def test_same_seed_same_agent_and_another_seed_another(bank, name):
    def weights(seed: int) -> torch.Tensor:
        env = make_env(bank)
        agent = make_agent(name, env, seed=seed).learn(env, 64)
        return torch.cat([value.flatten().float() for value in agent.modules().state_dict().values()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


@pytest.mark.parametrize("name", [*LEARNERS, "uniform", "oracle"])
def test_the_number_of_sections_may_differ_in_testing(env, name):
    agent = REFERENCES[name]() if name in REFERENCES else make_agent(name, env).learn(env, 32)
    assert evaluate(agent, env.problem.with_sections(4), name=name).clips_per_video in (4, 12)


def test_dsn_learns_on_single_sections(bank):
    env = make_env(bank, per_section=True)
    agent = make_agent("dsn", env).learn(env, 32)
    observations, _ = env.reset(seed=0)
    assert agent.predict(observations, deterministic=True)[0].shape == (16,)
    assert evaluate(agent, env.problem, name="dsn").num_videos == bank.num_videos


def test_an_agent_of_another_kind_does_not_load(bank, tmp_path):
    env = make_env(bank)
    make_agent("dsn", env).save(tmp_path / "agent.safetensors")
    with pytest.raises(ValueError, match="holds agent 'dsn', not 'max_response'"):
        agent_class("max_response").load(tmp_path / "agent.safetensors")


def test_unknown_names_get_a_hint(bank):
    env = make_env(bank)
    with pytest.raises(ValueError, match="unknown agent 'dns': did you mean 'dsn'"):
        make_agent("dns", env)
    with pytest.raises(ValueError, match="agent 'dsn' has no setting 'lr'"):
        make_agent("dsn", env, lr=1)
    with pytest.raises(ValueError, match="scorer 'r2d18' does not fit"):
        make_agent("dsn", env, scorer="r2d18")


def test_a_callback_stops_learning(bank):
    env = make_env(bank)
    agent = make_agent("dsn", env).learn(env, 10_000, callback=lambda agent: agent.num_timesteps < 48)
    assert agent.num_timesteps == 48


def test_learning_logs_reward_accuracy_entropy_and_regret(bank, tmp_path):
    env = make_env(bank)
    agent = make_agent("dsn", env)
    log = tmp_path / "log.txt"
    logger = Logger(None, [HumanOutputFormat(str(log), max_length=60)])
    agent.set_logger(logger)
    agent.learn(RecordRollouts(env, logger, every_steps=32), 32)
    for name in ("ep_rew_mean", "accuracy", "regret_mean", "regret_cumulative", "entropy", "total_timesteps"):
        assert name in log.read_text()
