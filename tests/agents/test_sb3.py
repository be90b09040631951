"""Stable-Baselines3's algorithms on the batched environments."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from vidselect_agents import agent_class, make_agent
from vidselect_agents.sb3.vec_env import BatchedVecEnv
from vidselect_env.bank import ClipBank
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.scalar import SelectEnv
from vidselect_env.envs.sources import BankSource
from vidselect_env.envs.wrappers import RecordRollouts
from vidselect_env.evaluation.evaluate import evaluate, selection_of

CLIP_AGENTS = ("ppo", "a2c", "dqn", "trpo", "qrdqn", "maskable_ppo")
FRAME_AGENTS = ("ppo", "a2c", "trpo")
QUICK = {
    "dqn": {"buffer_size": 64, "learning_starts": 16, "batch_size": 16},
    "qrdqn": {"buffer_size": 64, "learning_starts": 16, "batch_size": 16},
}


def clip_env(bank, name: str = "ppo", *, num_envs: int = 16, observation: str = "features") -> SelectVectorEnv:
    per_section = agent_class(name).made_for.per_section
    problem = ClipSelectProblem(BankSource(bank), observation=observation, per_section=per_section)
    return SelectVectorEnv(problem, num_envs=num_envs)


@pytest.mark.parametrize("name", CLIP_AGENTS)
def test_every_algorithm_trains_saves_loads_and_is_evaluated_on_clips(bank, tmp_path, name):
    env = clip_env(bank, name)
    agent = make_agent(name, env, seed=3, **QUICK.get(name, {})).learn(env, 128)
    agent.save(tmp_path / "agent.safetensors")
    loaded = agent_class(name).load(tmp_path / "agent.safetensors")
    assert (loaded.config, loaded.seed, loaded.num_timesteps) == (agent.config, 3, agent.num_timesteps)
    contexts = torch.arange(5)
    assert torch.equal(selection_of(agent, env.problem, contexts), selection_of(loaded, env.problem, contexts))
    result = evaluate(loaded, env.problem, name=name)
    assert result.num_videos == bank.num_videos
    assert result.scorer_gmacs > 0


@pytest.mark.parametrize("name", FRAME_AGENTS)
def test_every_algorithm_for_many_choices_trains_on_frames(bank, name):
    env = SelectVectorEnv(FrameSelectProblem(BankSource(bank), num_candidates=10, num_kept=4), num_envs=16)
    agent = make_agent(name, env).learn(env, 128)
    assert (selection_of(agent, env.problem, torch.arange(3)).sum(-1) == 4).all()


def test_ppo_trains_on_skims_and_weighs_little(bank):
    env = clip_env(bank, observation="skim")
    agent = make_agent("ppo", env).learn(env, 128)
    assert sum(parameter.numel() for parameter in agent.model.policy.parameters()) < 200_000


def test_ppo_learns_to_beat_uniform(make_bank):
    env = clip_env(make_bank(num_videos=200), num_envs=32)
    agent = make_agent("ppo", env, learning_rate=3e-3).learn(env, 32 * 200)
    ours, uniform = (evaluate(each, env.problem, name="x").top1 for each in (agent, make_agent("uniform", env)))
    assert ours > uniform + 0.1


def test_the_number_of_sections_may_differ_in_testing(bank):
    for name in ("ppo", "dqn"):
        env = clip_env(bank, name)
        agent = make_agent(name, env, **QUICK.get(name, {})).learn(env, 64)
        problem = ClipSelectProblem(BankSource(bank), num_sections=4, observation="features")
        assert selection_of(agent, problem, torch.arange(3)).sum(-1).tolist() == [4, 4, 4]


def test_an_action_space_that_does_not_fit_says_which_does(bank):
    whole = SelectVectorEnv(ClipSelectProblem(BankSource(bank), observation="features"), num_envs=2)
    with pytest.raises(ValueError, match=r"'dqn' does not take MultiDiscrete.*use Discrete.*per_section=True"):
        make_agent("dqn", whole)


def test_masks_are_refused_where_there_is_nothing_to_mask(bank):
    frames = SelectVectorEnv(FrameSelectProblem(BankSource(bank), num_candidates=10, num_kept=4), num_envs=2)
    with pytest.raises(ValueError, match=r"does not take MultiBinary.*use ppo"):
        make_agent("maskable_ppo", frames)


def test_a_saved_model_loads_with_plain_ppo(bank, tmp_path):
    env = clip_env(bank)
    agent = make_agent("ppo", env).learn(env, 128)
    agent.model.save(tmp_path / "agent.zip")
    observations, _ = env.reset(seed=0)
    plain = PPO.load(tmp_path / "agent.zip", env=BatchedVecEnv(env), device="cpu")
    ours = agent.predict(observations.numpy(), deterministic=True)[0]
    np.testing.assert_array_equal(plain.predict(observations.numpy(), deterministic=True)[0], ours)


@pytest.mark.parametrize("name", ["dsn", "uniform", "ppo"])
def test_evaluate_policy_runs_on_every_agent(bank, name):
    env = clip_env(bank, num_envs=4)
    agent = make_agent(name, env, **({"batch_size": 32} if name == "ppo" else {}))
    mean, _ = evaluate_policy(agent, BatchedVecEnv(env), n_eval_episodes=40)
    assert -0.5 <= mean <= 1


def test_adapter_and_scalar_environments_pay_the_same(bank):
    problem = ClipSelectProblem(BankSource(bank), observation="features")
    ours = BatchedVecEnv(SelectVectorEnv(problem, num_envs=5))
    theirs = DummyVecEnv([lambda: SelectEnv(problem) for _ in range(5)])
    options = [{"video_index": number} for number in range(5)]
    for vec_env in (ours, theirs):
        vec_env.set_options(options)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    actions = np.array([ours.action_space.sample() for _ in range(5)])
    _, rewards, dones, infos = ours.step(actions)
    _, expected, their_dones, _ = theirs.step(actions)
    np.testing.assert_array_equal(rewards, expected)
    np.testing.assert_array_equal(dones, their_dones)
    assert [info["episode"]["r"] for info in infos] == pytest.approx(rewards.tolist())


def test_the_second_copy_of_a_candidate_is_masked():
    """Two candidates for three places: the grid's second is offered twice."""
    bank = ClipBank.from_tensors(torch.zeros(1, 2, 2), [0], features=torch.zeros(1, 2, 1))
    env = SelectVectorEnv(
        ClipSelectProblem(BankSource(bank), num_sections=1, num_clips=3, observation="features"), num_envs=2
    )
    env.reset()
    assert env.problem.candidates(env.contexts).tolist() == [[0, 1, 1]] * 2
    assert BatchedVecEnv(env).env_method("action_masks")[0].tolist() == [True, True, False]


def test_sb3_fills_the_same_log_as_our_agents(bank):
    lines: list[dict] = []

    class Lines:
        def __init__(self) -> None:
            self.values: dict = {}

        def record(self, key, value):
            self.values[key] = value

        def dump(self, step=0):
            lines.append(self.values)
            self.values = {}

    env = clip_env(bank)
    make_agent("ppo", env).learn(RecordRollouts(env, Lines(), every_steps=32), 128)
    assert {"rollout/ep_rew_mean", "rollout/accuracy", "rollout/regret_cumulative"} <= set(lines[-1])
    assert lines[-1]["rollout/regret_cumulative"] > lines[0]["rollout/regret_cumulative"]


def test_the_adapter_takes_what_a_vec_env_takes(bank):
    env = BatchedVecEnv(clip_env(bank, num_envs=3))
    assert env.get_attr("num_envs", np.int64(1)) == [3]
    assert env.env_method("close", indices=[0, 2]) == [None, None]
    env.set_options([{"video_index": 3}, {}, {}])
    with pytest.raises(ValueError, match="given to all sub-environments or to none, not to 1"):
        env.reset()
