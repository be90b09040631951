"""Candidates that are drawn, each within its part of a section."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidselect_agents import make_agent
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectEnv, ClipSelectProblem
from vidselect_env.envs.scalar import SelectEnv
from vidselect_env.envs.sections import mixed_bits
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import evaluate
from vidselect_env.experiment.config import ProblemConfig
from vidselect_env.experiment.problems import make_problem
from vidselect_env.video.clips import section_parts


def make_problem_of(bank, *, draw: bool, **options) -> ClipSelectProblem:
    options = {"num_sections": 1, "num_clips": 3, "observation": "features"} | options
    return ClipSelectProblem(BankSource(bank), draw_candidates=draw, **options)


def test_one_to_three_comes_to_show_all_of_thirty_candidates_and_without_drawing_three(bank):
    for draw, seen in ((False, {5, 15, 25}), (True, set(range(30)))):
        problem = make_problem_of(bank, draw=draw)
        env = SelectVectorEnv(problem, num_envs=100)
        env.reset(seed=0)
        assert set(problem.candidates(env.contexts).flatten().tolist()) == seen


@pytest.mark.parametrize("per_section", [False, True])
def test_a_drawn_clip_lies_in_its_part_and_all_of_a_part_are_as_likely(bank, per_section):
    problem = make_problem_of(bank, draw=True, num_sections=2, num_clips=3, per_section=per_section)
    env = SelectVectorEnv(problem, num_envs=6000)
    env.reset(seed=0)
    drawn = problem.candidates(env.contexts).view(-1, problem.decisions, 3)
    if per_section:  # the first section's contexts
        drawn = drawn[env.contexts % problem.num_contexts % 2 == 0]
    for slot, (first, end) in enumerate(section_parts(30, 2, 3)[0].tolist()):
        found = torch.bincount(drawn[:, 0, slot], minlength=30)
        assert found[:first].sum() == found[end:].sum() == 0
        assert found[first:end] == pytest.approx(len(drawn) / (end - first), rel=0.15)


def test_the_clips_of_a_section_are_drawn_independently(bank):
    problem = make_problem_of(bank, draw=True)
    env = SelectVectorEnv(problem, num_envs=6000)
    env.reset(seed=0)
    drawn = problem.candidates(env.contexts).float()
    assert (torch.corrcoef(drawn.T) - torch.eye(3)).abs().max() < 0.05


def test_mixed_bits_are_those_of_splitmix64():
    """Reference in Python's integers, of seeds 1 and 2**40."""

    def reference(number: int) -> int:
        bits = number * 0x9E3779B97F4A7C15 % 2**64
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
        return (bits ^ bits >> 31) >> 2

    numbers = [1, 2**40, 2**61 + 12345]
    assert mixed_bits(torch.tensor(numbers)).tolist() == [reference(number) for number in numbers]


def test_evaluations_and_videos_asked_for_have_the_middle_clips(bank):
    drawn, fixed = (make_problem_of(bank, draw=draw) for draw in (True, False))
    contexts = torch.arange(drawn.num_contexts)
    assert torch.equal(drawn.candidates(contexts), fixed.candidates(contexts))
    env = SelectEnv(drawn)
    np.testing.assert_array_equal(
        env.reset(options={"video_index": 5})[0], SelectEnv(fixed).reset(options={"video_index": 5})[0]
    )


def test_what_is_seen_paid_and_foretold_is_of_the_same_clips(bank):
    problem = make_problem_of(bank, draw=True, num_sections=3)
    env = SelectVectorEnv(problem, num_envs=32)
    observations, infos = env.reset(seed=1)
    candidates, videos = problem.candidates(env.contexts), infos["video_index"]
    torch.testing.assert_close(observations, problem.source.observe("features", videos, candidates))
    actions = torch.as_tensor(env.action_space.sample())
    arms, foretold = env.full_information(), env.decision_rewards(actions[None])[0]
    _, rewards, _, _, infos = env.step(actions)
    torch.testing.assert_close(arms.gather(-1, actions[..., None]).squeeze(-1), foretold)
    torch.testing.assert_close(foretold.mean(-1), rewards)
    torch.testing.assert_close(infos["final_info"]["oracle_reward"], arms.amax(-1).mean(-1))
    assert (infos["final_info"]["video_index"] == videos).all()


def test_training_draws_and_testing_does_not(bank):
    config = ProblemConfig(draw_candidates=True, observation="features")
    needs = make_agent("dsn", SelectVectorEnv(make_problem_of(bank, draw=False), num_envs=2)).needs
    training, testing = (make_problem(config, BankSource(bank), needs, training=each) for each in (True, False))
    assert training.num_drawable > training.num_contexts == testing.num_drawable


@pytest.mark.parametrize("baseline", ["greedy", "moving_average"])
def test_dsn_learns_from_drawn_candidates_and_is_judged_on_the_middles(make_bank, baseline):
    bank = make_bank(num_videos=100)
    env = SelectVectorEnv(make_problem_of(bank, draw=True, num_sections=6), num_envs=16)
    agent = make_agent("dsn", env, seed=0, learning_rate=3e-3, baseline=baseline).learn(env, 16 * 100)
    uniform = evaluate(make_agent("uniform", env), env.problem, name="uniform")
    assert evaluate(agent, env.problem, name="dsn").top1 > uniform.top1 + 0.1


def test_it_is_an_option_of_the_environment(bank):
    env = ClipSelectEnv(bank, draw_candidates=True, observation="features", sections=1)
    assert len({env.reset(seed=seed)[0][0, 0].item() for seed in range(60)}) > bank.num_videos
