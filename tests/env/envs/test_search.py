"""VideoClipSearch-v0 against a bank made by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import vidselect_env  # noqa: F401 (registers the environments)
from vidselect_env.bank import ClipBank
from vidselect_env.envs.search.bounds import best_paths
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.envs.search.scalar import SearchEnv
from vidselect_env.envs.sources import BankSource

STOP = 4


def hand_problem(**options) -> SearchProblem:
    """One video of class 1 and four candidates, whose probabilities of class 1 are 0.3, 0.9, 0.6, 0.2."""
    logits = torch.tensor([[[0.7, 0.3], [0.1, 0.9], [0.4, 0.6], [0.8, 0.2]]]).log()
    bank = ClipBank.from_tensors(logits, [1], features=torch.arange(1.0, 5.0).view(1, 4, 1))
    options = {"num_candidates": None, "observation": "features", "price": 0.1} | options
    return SearchProblem(BankSource(bank), **options)


def play(problem: SearchProblem, actions: list[int]) -> list[float]:
    """Rewards of an episode in the scalar environment, which ends with the last action and not before."""
    env = SearchEnv(problem)
    env.reset(seed=0)
    rewards = []
    for number, action in enumerate(actions):
        _, reward, terminated, truncated, _ = env.step(action)
        assert (terminated, truncated) == (number == len(actions) - 1, False)
        rewards.append(reward)
    return rewards


@pytest.mark.parametrize(
    ("reward", "worth"), [("correct", 1.0), ("log_prob", float(np.log(0.6))), ("margin", 0.6 - 0.4)]
)
def test_three_steps_cost_two_clips_and_earn_what_the_fused_prediction_is_worth(reward, worth):
    rewards = play(hand_problem(reward=reward), [0, 1, STOP])  # (0.3 + 0.9) / 2 = 0.6
    assert rewards == pytest.approx([-0.1, -0.1, worth], abs=1e-6)


def test_the_fused_prediction_is_the_mean_of_the_answers():
    env = SearchEnv(hand_problem())
    seen, _ = env.reset(seed=0)
    assert seen["fused"].tolist() == pytest.approx([0.5, 0.5])
    assert not seen["answers"].any()
    seen = env.step(0)[0]
    seen = env.step(2)[0]
    assert seen["fused"].tolist() == pytest.approx([0.55, 0.45])
    assert seen["entropy"][0] == pytest.approx(-0.55 * np.log(0.55) - 0.45 * np.log(0.45), abs=1e-6)
    assert seen["classified"].tolist() == [1, 0, 1, 0]
    assert seen["answers"][:, 1].tolist() == pytest.approx([0.3, 0, 0.6, 0])
    assert seen["left"][0] == pytest.approx(0.5)


def test_masks_are_what_was_not_classified_and_the_stop():
    env = SearchEnv(hand_problem())
    assert env.reset(seed=0)[0]["mask"].tolist() == [1, 1, 1, 1, 1]
    seen = env.step(2)[0]
    assert seen["mask"].tolist() == [1, 1, 0, 1, 1]
    assert env.action_masks().tolist() == [True, True, False, True, True]


def test_a_candidate_asked_for_again_is_paid_for_again_and_says_nothing_new():
    env = SearchEnv(hand_problem())
    env.reset(seed=0)
    first = env.step(1)[0]
    second, reward, ended, _, info = env.step(1)
    assert reward == pytest.approx(-0.1)
    assert not ended
    assert info["num_clips"] == 2
    np.testing.assert_array_equal(first["fused"], second["fused"])


def test_an_episode_ends_with_the_last_clip_that_may_be_classified():
    assert play(hand_problem(max_clips=2), [0, 1]) == pytest.approx([-0.1, 1 - 0.1])
    assert play(hand_problem(), [3, 0, 1, 2]) == pytest.approx([-0.1, -0.1, -0.1, -0.1])  # the mean of all is 0.5


def test_who_stops_at_once_earns_nothing():
    assert play(hand_problem(), [STOP]) == [0.0]
    assert play(hand_problem(reward="margin"), [STOP]) == [0.0]
    assert play(hand_problem(reward="log_prob"), [STOP]) == pytest.approx([np.log(0.5)])


def test_a_given_first_clip_is_the_middle_one_and_is_paid_for_with_the_first_step():
    problem = hand_problem(start="first")
    assert SearchEnv(problem).reset(seed=0)[0]["classified"].tolist() == [0, 0, 1, 0]
    assert play(problem, [STOP]) == pytest.approx([1 - 0.1])
    assert play(problem, [1, STOP]) == pytest.approx([-0.2, 1.0])


def test_paid_looks_are_hidden_until_asked_for():
    env = SearchEnv(hand_problem(looks="paid", look_share=0.25))
    seen, _ = env.reset(seed=0)
    assert not seen["looks"].any()
    assert not seen["seen"].any()
    seen, reward, *_ = env.step(1)
    assert reward == pytest.approx(-0.1 * 0.25)
    assert seen["looks"].flatten().tolist() == [0, 2, 0, 0]
    assert seen["seen"].tolist() == [0, 1, 0, 0]
    assert not seen["classified"].any()
    seen, reward, *_ = env.step(1)
    assert reward == pytest.approx(-0.1)
    assert seen["classified"].tolist() == [0, 1, 0, 0]
    assert env.step(STOP)[1] == 1


def test_the_price_is_shown_and_charged():
    problem = hand_problem(price_range=(0.01, 1.0))
    env = SearchEnv(problem)
    prices = [float(env.reset(seed=seed)[0]["price"][0]) for seed in range(40)]
    assert 0.01 <= min(prices) < 0.05
    assert 0.2 < max(prices) <= 1
    seen, _ = env.reset(seed=3)
    assert env.step(0)[1] == pytest.approx(-seen["price"][0])
    assert env.reset(options={"price": 0.5})[0]["price"].tolist() == [0.5]


def test_the_flat_observation_is_the_parts_side_by_side():
    parts, flat = SearchEnv(hand_problem()), SearchEnv(hand_problem(flat=True))
    parts.reset(seed=0)
    flat.reset(seed=0)
    seen, vector = parts.step(1)[0], flat.step(1)[0]
    names = ("looks", "seen", "classified", "answers", "fused", "entropy", "price", "left", "mask")
    np.testing.assert_allclose(np.concatenate([seen[name].ravel() for name in names]), vector)
    assert vector in flat.observation_space


def returns_of_all(problem: SearchProblem) -> dict[tuple[int, ...], float]:
    """Undiscounted returns of every episode that repeats nothing."""
    found = {}
    for length in range(5):
        for order in itertools.permutations(range(4), length):
            actions = [*order] if length == 4 else [*order, STOP]
            found[order] = sum(play(problem, actions))
    return found


@pytest.mark.parametrize("reward", ["correct", "log_prob", "margin"])
def test_shaping_changes_no_return(reward):
    plain = returns_of_all(hand_problem(reward=reward))
    shaped = returns_of_all(hand_problem(reward=reward, shaping=0.7))
    assert shaped == pytest.approx(plain, abs=1e-5)


def optimal_actions(problem: SearchProblem, discount: float) -> dict[tuple[int, ...], set[int]]:
    """Value iteration over all sets of classified clips, through the problem's own steps."""
    best: dict[tuple[int, ...], set[int]] = {}

    def value(state) -> float:
        worth = {}
        for action in problem.masks(state)[0].nonzero().flatten().tolist():
            after, reward, ended = problem.step(state, torch.tensor([action]))
            worth[action] = reward.item() + (0 if ended else discount * value(after))
        top = max(worth.values())
        best[tuple(state.order[0].tolist())] = {action for action, earned in worth.items() if earned > top - 1e-5}
        return top

    value(problem.begin(torch.tensor([0])))
    return best


@pytest.mark.parametrize("discount", [1.0, 0.8])
@pytest.mark.parametrize("start", ["none", "first"])
def test_shaping_keeps_the_optimal_policy(discount, start):
    options = {"start": start, "discount": discount, "price": 0.02, "reward": "margin"}
    plain, shaped = hand_problem(**options), hand_problem(**options, shaping=0.5)
    assert optimal_actions(shaped, discount) == optimal_actions(plain, discount)
    state = plain.begin(torch.tensor([0]))
    assert plain.step(state, torch.tensor([0]))[1] != shaped.step(state, torch.tensor([0]))[1]


@pytest.mark.parametrize("options", [{}, {"start": "first"}, {"max_clips": 3}, {"looks": "paid"}])
@pytest.mark.parametrize("reward", ["correct", "log_prob", "margin"])
def test_dynamic_programming_finds_what_brute_force_does(make_bank, options, reward):
    bank = make_bank(num_videos=3, num_clips=3 if "looks" in options else 4)
    problem = SearchProblem(
        BankSource(bank), num_candidates=None, observation="features", price=0.05, reward=reward, **options
    )
    paths = best_paths(problem, torch.arange(3))

    def value(state) -> float:
        returns = []
        for action in problem.masks(state)[0].nonzero().flatten().tolist():
            after, rewards, ended = problem.step(state, torch.tensor([action]))
            returns.append(rewards.item() + (0 if ended else value(after)))
        return max(returns)

    for video in range(3):
        assert paths.best[video].item() == pytest.approx(value(problem.begin(torch.tensor([video]))), abs=1e-5)
    worth = problem.outcome(torch.arange(3), paths.chosen)[0]
    torch.testing.assert_close(worth, paths.best, atol=1e-5, rtol=0)


def test_a_set_taken_at_once_earns_what_its_episode_would():
    problem = hand_problem(reward="margin")
    earned, infos = problem.outcome(torch.tensor([0]), torch.tensor([[1, 1, 0, 0]]))
    assert earned.item() == pytest.approx(sum(play(problem, [0, 1, STOP])))
    assert infos["num_kept"].tolist() == [2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"looks": "dear"}, "looks"),
        ({"reward": "joy"}, "reward"),
        ({"price": -1}, "price"),
        ({"price_range": (0, 1)}, "price_range"),
        ({"max_clips": 5}, "max_clips"),
        ({"max_clips": 1, "start": "first"}, "max_clips"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        hand_problem(**options)


def test_steps_out_of_order_are_refused():
    env = SearchEnv(hand_problem())
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(0)
    env.reset()
    with pytest.raises(ValueError, match="not in"):
        env.step(7)
    env.step(STOP)
    with pytest.raises(RuntimeError, match="is over"):
        env.step(0)
