"""VideoClipSelect-v0 against a bank made by hand, and against Gymnasium's and SB3's checkers."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import vidselect_env  # noqa: F401 (registers the environments)
from vidselect_env.bank import ClipBank
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectEnv, ClipSelectProblem
from vidselect_env.envs.scalar import SelectEnv
from vidselect_env.envs.sources import BankSource


def hand_problem(**options) -> ClipSelectProblem:
    """One video of class 1 and four candidates, whose probabilities of class 1 are 0.9, 0.2, 0.6, 0.4."""
    logits = torch.tensor([[[0.1, 0.9], [0.8, 0.2], [0.4, 0.6], [0.6, 0.4]]]).log()
    bank = ClipBank.from_tensors(logits, [1], features=torch.arange(4.0).view(1, 4, 1))
    options = {"num_sections": 2, "num_clips": 2, "observation": "features", "penalty": 0.5} | options
    return ClipSelectProblem(BankSource(bank), **options)


def test_reward_is_the_mean_of_eq_6_over_sections():
    env = SelectEnv(hand_problem())
    observation, info = env.reset(seed=0)
    assert observation.tolist() == [[0.0], [1.0], [2.0], [3.0]]
    assert info == {"video_index": 0}
    _, reward, terminated, truncated, info = env.step(np.array([0, 1]))
    assert reward == pytest.approx((0.9 - 0.5) / 2)
    assert (terminated, truncated) == (True, False)
    assert info["section_rewards"].tolist() == pytest.approx([0.9, -0.5])
    assert info["is_correct"]  # the fused probability of class 1 is (0.9 + 0.4) / 2
    assert info["oracle_reward"] == pytest.approx((0.9 + 0.6) / 2)
    assert info["regret"] == pytest.approx((0.9 + 0.6) / 2 - (0.9 - 0.5) / 2)


def test_fused_prediction_is_the_average_of_the_chosen():
    env = SelectEnv(hand_problem())
    env.reset()
    assert not env.step(np.array([1, 1]))[-1]["is_correct"]  # (0.2 + 0.4) / 2 < 0.5


def test_full_information_is_the_reward_of_every_arm():
    env = SelectEnv(hand_problem())
    env.reset()
    np.testing.assert_allclose(env.full_information(), [[0.9, -0.5], [0.6, -0.5]], rtol=1e-6)


def test_a_section_is_an_episode_where_asked():
    problem = hand_problem(per_section=True)
    assert problem.action_space == gymnasium.spaces.Discrete(2)
    assert problem.num_contexts == 2
    reward, infos = problem.outcome(torch.tensor([0, 1]), torch.tensor([0, 0]))
    assert reward.tolist() == pytest.approx([0.9, 0.6])
    assert infos["video_index"].tolist() == [0, 0]


def test_one_section_has_a_discrete_action():
    assert hand_problem(num_sections=1).action_space == gymnasium.spaces.Discrete(2)


def test_reset_takes_the_video_asked_for(problem):
    env = SelectEnv(problem)
    assert env.reset(options={"video_index": 5})[1]["video_index"] == 5
    with pytest.raises(ValueError, match=r"video_index \(12\) must be 0 to 11"):
        env.reset(options={"video_index": 12})


def test_a_second_step_without_reset_is_refused(problem):
    env = SelectEnv(problem)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(env.action_space.sample())
    env.reset()
    env.step(env.action_space.sample())
    with pytest.raises(RuntimeError, match="over"):
        env.step(env.action_space.sample())


def test_an_action_outside_the_space_is_refused(problem):
    env = SelectEnv(problem)
    env.reset()
    with pytest.raises(ValueError, match="is not in MultiDiscrete"):
        env.step(np.array([3, 0, 0, 0, 0, 0]))


@pytest.mark.parametrize("options", [{}, {"observation": "features"}, {"sections": 1}, {"per_section": True}], ids=str)
def test_checkers_pass_without_a_warning(bank, options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(ClipSelectEnv(bank, **options), skip_render_check=True)
        sb3_check_env(ClipSelectEnv(bank, **options))
    remarks = [str(each.message) for each in caught]
    # SB3 remarks on any observation that is neither a vector nor an image; that is true of these.
    assert all("unconventional shape" in remark for remark in remarks), remarks


@pytest.mark.parametrize("per_section", [False, True])
def test_batched_and_scalar_agree(problem, bank, per_section):
    problem = ClipSelectProblem(BankSource(bank), observation="features", per_section=per_section)
    scalar, batched = SelectEnv(problem), SelectVectorEnv(problem, num_envs=bank.num_videos)
    videos = list(range(bank.num_videos))
    observations, _ = batched.reset(seed=3, options={"video_index": videos})
    actions = torch.as_tensor(batched.action_space.sample())
    rewards, infos = [], []
    for video in videos:
        np.testing.assert_array_equal(scalar.reset(options={"video_index": video})[0], observations[video])
        _, reward, _, _, info = scalar.step(actions[video].numpy())
        rewards.append(reward)
        infos.append(info)
    _, batched_rewards, terminated, truncated, batched_infos = batched.step(actions)
    assert batched_rewards.tolist() == rewards
    assert terminated.all()
    assert not truncated.any()
    for name, value in batched_infos["final_info"].items():
        np.testing.assert_array_equal(value, [info[name] for info in infos])


def test_the_step_that_ends_an_episode_shows_the_next_context(problem):
    env = SelectVectorEnv(problem, num_envs=4)
    first, _ = env.reset(seed=0)
    after, *_, infos = env.step(torch.as_tensor(env.action_space.sample()))
    torch.testing.assert_close(infos["final_obs"], first)
    assert after.data_ptr() != first.data_ptr()
    expected = problem.observe(infos["video_index"])
    torch.testing.assert_close(after, expected)


def test_same_seed_same_contexts_and_another_seed_others(problem):
    def contexts(seed: int) -> list[int]:
        env = SelectVectorEnv(problem, num_envs=8)
        env.reset(seed=seed)
        drawn = env.contexts.tolist()
        env.step(torch.as_tensor(env.action_space.sample()))
        return drawn + env.contexts.tolist()

    assert contexts(1) == contexts(1)
    assert contexts(1) != contexts(2)


def test_repeated_contexts_are_neighbours(problem):
    env = SelectVectorEnv(problem, num_envs=6, repeat_context=3)
    env.reset(seed=0)
    first, second = env.contexts.view(2, 3).tolist()
    assert len(set(first)) == len(set(second)) == 1
    with pytest.raises(ValueError, match=r"repeat_context \(4\) must divide num_envs \(6\)"):
        SelectVectorEnv(problem, num_envs=6, repeat_context=4)


def test_decision_rewards_are_what_a_step_would_pay(problem):
    env = SelectVectorEnv(problem, num_envs=4)
    env.reset(seed=0)
    actions = torch.as_tensor(env.action_space.sample())
    foretold = env.decision_rewards(actions[None])[0].mean(-1)
    torch.testing.assert_close(env.step(actions)[1], foretold)


def test_bounds_do_not_depend_on_the_data(make_bank):
    spaces = [
        ClipSelectProblem(BankSource(make_bank(seed=seed)), observation="features").observation_space for seed in (0, 1)
    ]
    assert spaces[0] == spaces[1]


def test_a_bank_whose_logits_are_of_other_classes_is_refused(bank):
    other = bank.with_logits(torch.zeros(len(bank.field("logits")), 400))
    with pytest.raises(ValueError, match="of 400 classes but its videos of 4: `vidselect bank head`"):
        BankSource(other)


def test_unknown_observation_is_refused(bank):
    with pytest.raises(ValueError, match="unknown observation 'skims'"):
        ClipSelectProblem(BankSource(bank), observation="skims")
