"""VideoClipSearch-v0 as scalar and vector environments: the same episodes, and Gymnasium's and SB3's checkers."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import vidselect_env  # noqa: F401 (registers the environments)
from vidselect_env.envs.search.batched import SearchVectorEnv
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.envs.search.scalar import ClipSearchEnv, SearchEnv
from vidselect_env.envs.sources import BankSource


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
