"""VideoClipSearch-v0 against a bank made by hand, and against Gymnasium's and SB3's checkers."""

from __future__ import annotations

import itertools
import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import vidselect_env  # noqa: F401 (registers the environments)
from vidselect_env.bank import ClipBank
from vidselect_env.envs.search.batched import SearchVectorEnv
from vidselect_env.envs.search.bounds import best_paths
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.envs.search.scalar import ClipSearchEnv, SearchEnv
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


def random_actions(masks: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.multinomial(masks.float(), 1, generator=generator)[:, 0]


@pytest.mark.parametrize(
    "options", [{}, {"looks": "paid", "flat": True}, {"start": "first", "shaping": 0.3, "reward": "log_prob"}]
)
def test_the_batched_environment_does_what_the_scalar_one_does(make_ragged_bank, options):
    bank = make_ragged_bank([3, 7, 5, 2, 6])
    options = {"num_candidates": None, "observation": "features", "price_range": (0.01, 0.1)} | options
    problem = SearchProblem(BankSource(bank), **options)
    batched, generator = SearchVectorEnv(problem, num_envs=6), torch.Generator().manual_seed(0)
    seen, info = batched.reset(seed=1)

    def begin(row: int) -> SearchEnv:
        env = SearchEnv(problem)
        price = batched.state.price[row].item()
        same(env.reset(options={"video_index": int(info["video_index"][row]), "price": price})[0], seen, row)
        return env

    def same(one, many, row: int) -> None:
        pairs = [(one, many[row])] if isinstance(many, torch.Tensor) else [(one[k], many[k][row]) for k in many]
        for mine, theirs in pairs:
            np.testing.assert_allclose(mine, theirs.numpy(), atol=1e-6)

    scalar = [begin(row) for row in range(6)]
    num_ended = 0
    for _ in range(40):
        actions = random_actions(batched.action_masks(), generator)
        seen, rewards, ended, truncated, info = batched.step(actions)
        assert not truncated.any()
        for row, env in enumerate(scalar):
            observed, reward, terminated, _, own = env.step(int(actions[row]))
            assert reward == pytest.approx(rewards[row].item(), abs=1e-6)
            assert terminated == bool(ended[row])
            same(observed, info["final_obs"] if terminated else seen, row)
            assert own["is_correct"] == bool(info["final_info"]["is_correct"][row])
            if terminated:
                num_ended += 1
                scalar[row] = begin(row)
    assert num_ended > 10


def test_the_same_seed_gives_the_same_episodes(make_bank):
    problem = SearchProblem(
        BankSource(make_bank(num_clips=6)), num_candidates=6, observation="features", price_range=(0.01, 0.1)
    )

    def played(seed: int) -> torch.Tensor:
        env, generator = SearchVectorEnv(problem, num_envs=5), torch.Generator().manual_seed(0)
        env.reset(seed=seed)
        steps = [env.step(random_actions(env.action_masks(), generator)) for _ in range(12)]
        return torch.stack([torch.cat([step[1], step[4]["video_index"]]) for step in steps])

    assert torch.equal(played(3), played(3))
    assert not torch.equal(played(3), played(4))


def test_padding_is_masked_and_says_nothing(make_ragged_bank):
    problem = SearchProblem(BankSource(make_ragged_bank([2, 4])), num_candidates=None, observation="features")
    state = problem.begin(torch.tensor([0]))
    assert problem.masks(state).tolist() == [[True, True, False, False, True]]
    after, _, ended = problem.step(state, torch.tensor([3]))
    assert after.num_clips.item() == 1
    assert not after.classified.any()
    assert not ended.any()
    after, _, _ = problem.step(after, torch.tensor([0]))
    assert problem.step(after, torch.tensor([1]))[2].all()  # all of its own are classified


def test_a_set_taken_at_once_earns_what_its_episode_would():
    problem = hand_problem(reward="margin")
    earned, infos = problem.outcome(torch.tensor([0]), torch.tensor([[1, 1, 0, 0]]))
    assert earned.item() == pytest.approx(sum(play(problem, [0, 1, STOP])))
    assert infos["num_kept"].tolist() == [2]


@pytest.mark.parametrize("options", [{}, {"flat": True}, {"looks": "paid", "observation": "skim"}])
def test_gymnasiums_and_sb3s_checkers_pass(make_bank, options):
    options = {"observation": "features", "frames": 6} | options
    env = gymnasium.make("VideoClipSearch-v0", bank=make_bank(), **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*render_mode.*|.*render modes.*")  # a bank of tensors has no files
        warnings.filterwarnings("ignore", message=".*not within -1 and 1.*")
        check_env(env.unwrapped, skip_render_check=True)
        warnings.filterwarnings("ignore", category=UserWarning)  # SB3's advice on images that are no pictures
        sb3_check_env(ClipSearchEnv(make_bank(), **options))


def test_the_vector_environment_is_made_by_its_id(make_bank):
    env = gymnasium.make_vec(
        "VideoClipSearch-v0",
        num_envs=3,
        vectorization_mode="vector_entry_point",
        bank=make_bank(),
        frames=6,
    )
    seen, _ = env.reset(seed=0)
    assert env.observation_space.contains({name: part.numpy() for name, part in seen.items()})


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


def test_a_search_is_drawn_with_what_was_said(video_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("VIDSELECT_CACHE", str(tmp_path))
    monkeypatch.setattr("vidselect_env.bank.cached.SMALL_BANK_VIDEOS", 2)
    env = gymnasium.make("VideoClipSearch-v0", render_mode="rgb_array", frames=4)
    env.reset(seed=0)
    before = env.render()
    env.step(1)
    after = env.render()
    assert after.shape[0] > before.shape[0]  # a line more
    assert after.shape[1:] == before.shape[1:]
