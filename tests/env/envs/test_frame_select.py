"""VideoFrameSelect-v0 against a bank made by hand, and against the checkers."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from vidselect_agents import make_agent
from vidselect_env.bank import ClipBank
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.frame_select import FrameSelectEnv, FrameSelectProblem
from vidselect_env.envs.scalar import SelectEnv
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import selection_of
from vidselect_env.evaluation.references import REFERENCES

# Class 1 has probabilities 0.9, 0.2, 0.3 and 0.4: 0.45 on average, so that keeping all is wrong.
P1 = [0.9, 0.2, 0.3, 0.4]


def hand_problem(**options) -> FrameSelectProblem:
    p1 = torch.tensor(P1)
    logits = torch.stack([1 - p1, p1], -1).log()[None]
    bank = ClipBank.from_tensors(logits, [1], features=torch.arange(4.0).view(1, 4, 1))
    return FrameSelectProblem(BankSource(bank), **({"num_candidates": 4, "num_kept": 2} | options))


def play(action: list[int], **options) -> tuple[float, dict]:
    env = SelectEnv(hand_problem(**options))
    env.reset()
    _, reward, terminated, _, info = env.step(np.array(action, dtype=np.int8))
    assert terminated
    return reward, info


def test_a_state_is_features_and_predictions():
    observation, _ = SelectEnv(hand_problem()).reset()
    np.testing.assert_allclose(observation, [[i, 1 - p, p] for i, p in enumerate(P1)], rtol=1e-6)
    assert SelectEnv(hand_problem(observation="features")).reset()[0].shape == (4, 1)
    assert SelectEnv(hand_problem(observation="predictions")).reset()[0].shape == (4, 2)


def test_turning_wrong_into_right_is_stimulated():
    reward, info = play([1, 0, 1, 0])  # (0.9 + 0.3) / 2 = 0.6
    assert (reward, info["is_correct"], info["num_kept"]) == (10.0, True, 2)


def test_staying_wrong_pays_the_sign_of_the_change():
    assert play([0, 0, 1, 1])[0] == -1.0  # 0.35 < 0.45
    assert play([1, 1, 1, 0])[0] == 1.0  # 0.467 > 0.45
    assert play([1, 1, 1, 1]) == (0.0, {"video_index": 0, "is_correct": False, "num_kept": 4})


def test_keeping_nothing_is_punished_like_a_turn_to_wrong():
    reward, info = play([0, 0, 0, 0])
    assert (reward, info["is_correct"]) == (-10.0, False)


def test_alpha_keeps_a_little_of_the_dropped():
    """Eq. 10 with alpha 0.5: weights 1, 0.5, 0.5, 0.5 give (0.9 + 0.45) / 2.5 = 0.54."""
    problem = hand_problem(alpha=0.5)
    weights = problem.fusion_weights(torch.tensor([[True, False, False, False]]))
    assert weights.tolist() == [[1.0, 0.5, 0.5, 0.5]]
    assert play([1, 0, 0, 0], alpha=0.5)[0] == 10.0
    assert play([0, 0, 0, 0], alpha=0.5)[0] == 0.0  # the plain mean: nothing changes


def test_choosing_keeps_the_m_largest_scores():
    looks = hand_problem().looks(torch.tensor([0]))
    assert looks.choice.action(torch.tensor([[0.1, 0.9, 0.3, 0.2]])).tolist() == [[0, 1, 1, 0]]
    assert looks.uniform().tolist() == [[False, True, False, True]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_candidates": 5}, r"num_candidates \(5\) must be at most the fewest candidates of a video \(4\)"),
        ({"num_kept": 5}, r"num_kept \(5\) must be 1 to num_candidates \(4\)"),
        ({"alpha": 1.0}, r"alpha \(1.0\) must be"),
        ({"observation": "skims"}, "unknown observation 'skims'"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        hand_problem(**options)


def test_checkers_pass_without_a_warning(bank):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(FrameSelectEnv(bank), skip_render_check=True)
        sb3_check_env(FrameSelectEnv(bank))
    remarks = [str(each.message) for each in caught]
    assert all("unconventional shape" in remark for remark in remarks), remarks


def test_batched_and_scalar_agree(bank):
    problem = FrameSelectProblem(BankSource(bank))
    scalar, batched = SelectEnv(problem), SelectVectorEnv(problem, num_envs=bank.num_videos)
    observations, _ = batched.reset(options={"video_index": list(range(bank.num_videos))})
    batched.action_space.seed(0)
    actions = torch.as_tensor(batched.action_space.sample())
    foretold = batched.decision_rewards(actions[None])[0]
    _, rewards, _, _, infos = batched.step(actions)
    torch.testing.assert_close(foretold.squeeze(-1), rewards)
    for video in range(bank.num_videos):
        np.testing.assert_array_equal(scalar.reset(options={"video_index": video})[0], observations[video])
        _, reward, _, _, info = scalar.step(actions[video].numpy())
        assert reward == rewards[video].item()
        assert info["is_correct"] == infos["final_info"]["is_correct"][video].item()


def test_all_arms_are_too_many_to_list(bank):
    env = SelectVectorEnv(FrameSelectProblem(BankSource(bank)), num_envs=2)
    env.reset()
    with pytest.raises(NotImplementedError, match="too many actions"):
        env.full_information()


def ragged_problem(**options) -> FrameSelectProblem:
    """All candidates of videos with 2, 4 and 3 of them; class 1 is right, with the probabilities given."""
    counts, p1 = [2, 4, 3], torch.tensor([0.9, 0.2, 0.1, 0.8, 0.7, 0.3, 0.6, 0.2, 0.9])
    whole = ClipBank.from_tensors(torch.stack([1 - p1, p1], -1).log()[None], [1], features=torch.zeros(1, 9, 1))
    bank = dataclasses.replace(
        whole,
        video_paths=("a", "b", "c"),
        num_video_frames=torch.tensor(counts),
        targets=torch.tensor([[False, True]] * 3),
        offsets=torch.tensor([0, 2, 6, 9]),
    )
    return FrameSelectProblem(BankSource(bank), **({"num_candidates": None, "num_kept": 2} | options))


def test_all_candidates_of_videos_of_different_lengths():
    problem, contexts = ragged_problem(), torch.arange(3)
    assert problem.num_candidates == 4
    assert problem.valid(contexts).sum(-1).tolist() == [2, 4, 3]
    assert problem.candidates(contexts).tolist() == [[0, 1, 1, 1], [0, 1, 2, 3], [0, 1, 2, 2]]
    kept = [[1, 1, 0, 0], [0, 1, 0, 1], [1, 0, 1, 0]]
    assert problem.looks(contexts).uniform().int().tolist() == kept


def test_nobody_keeps_a_candidate_that_is_not_there():
    problem, contexts = ragged_problem(num_kept=3), torch.arange(3)
    scores = torch.tensor([[0.1, 0.2, 0.9, 0.8]]).repeat(3, 1)
    assert problem.looks(contexts).best(scores).sum(-1).tolist() == [2, 3, 3]
    assert problem.selection(contexts, torch.ones(3, 4)).sum(-1).tolist() == [2, 4, 3]
    env = SelectVectorEnv(problem, num_envs=3)
    for name, chosen in (("dense", [2, 4, 3]), ("random", [2, 3, 3]), ("uniform", [2, 3, 3]), ("oracle", [2, 3, 3])):
        selector = REFERENCES[name]() if name in REFERENCES else make_agent(name, env)
        assert selection_of(selector, problem, contexts).sum(-1).tolist() == chosen, name
    with pytest.raises(ValueError, match="does not tell how long its video is"):
        make_agent("uniform", env).predict(np.zeros((2, 4, 3), np.float32))


def test_the_oracle_of_ragged_videos_takes_their_best():
    problem = ragged_problem(num_kept=1)
    chosen = selection_of(REFERENCES["oracle"](), problem, torch.arange(3))
    assert chosen.nonzero()[:, 1].tolist() == [0, 1, 2]


def test_skims_may_be_seen_too(make_bank):
    problem = FrameSelectProblem(BankSource(make_bank()), num_candidates=6, num_kept=2, observation="skim")
    assert problem.observation_space.shape == (6, 2, 3, 8, 8)
    assert problem.observe(torch.arange(2)).dtype == torch.uint8
