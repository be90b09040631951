"""AS on a bank whose features tell which candidates are good."""

from __future__ import annotations

import pytest
import torch

from vidselect_agents import make_agent
from vidselect_agents.attention import sampling_loss
from vidselect_agents.scorers.recurrent import BiLSTMScorer
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import evaluate, selection_of


@pytest.fixture
def env(make_bank) -> SelectVectorEnv:
    problem = FrameSelectProblem(BankSource(make_bank(num_videos=200)), num_candidates=18, num_kept=6)
    return SelectVectorEnv(problem, num_envs=32)


def top1(agent, problem) -> float:
    return evaluate(agent, problem, name="x").top1


def test_as_learns_to_beat_random_and_all_frames(env):
    agent = make_agent("as", env, seed=0, learning_rate=3e-3, decay="cosine").learn(env, 32 * 300)
    ours = top1(agent, env.problem)
    assert ours > top1(make_agent("random", env), env.problem) + 0.1
    assert ours >= top1(make_agent("dense", env), env.problem)


def test_testing_keeps_the_m_most_probable_whatever_m(env):
    agent = make_agent("as", env)
    contexts = torch.arange(7)
    probabilities = agent.policy(env.problem.looks(contexts)).probabilities
    mask = selection_of(agent, env.problem.with_kept(4), contexts)
    assert (mask.sum(-1) == 4).all()
    kept, dropped = probabilities.masked_fill(~mask, 1).amin(-1), probabilities.masked_fill(mask, 0).amax(-1)
    assert (kept >= dropped).all()


def test_a_saved_agent_predicts_as_before(env, tmp_path):
    agent = make_agent("as", env, learning_rate=1e-2).learn(env, 64)
    agent.save(tmp_path / "agent.safetensors")
    loaded = type(agent).load(tmp_path / "agent.safetensors")
    observations, _ = env.reset(seed=0)
    assert torch.equal(
        agent.predict(observations, deterministic=True)[0], loaded.predict(observations, deterministic=True)[0]
    )


def test_sampling_loss_by_hand():
    """Eq. 9: the means 0.5 and 0.3 differ from m / T, 2 / 5 and 2 / 2, by 0.1 and 0.7."""
    probabilities = torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.5], [0.2, 0.4, 0.0, 0.0, 0.0]])
    assert sampling_loss(probabilities, 2, torch.tensor([5, 2])).item() == pytest.approx(0.4)


def test_a_video_is_scored_as_if_it_were_alone(make_ragged_bank):
    """Videos of 6, 20 and 9 candidates; 8 are kept, of the first all that there are."""
    problem = FrameSelectProblem(BankSource(make_ragged_bank([6, 20, 9])), num_candidates=None, num_kept=8)
    env = SelectVectorEnv(problem, num_envs=6)
    agent = make_agent("as", env, learning_rate=1e-2).learn(env, 60)
    together = agent.frame_scores(problem.looks(torch.arange(3)))
    for video, count in enumerate([6, 20, 9]):
        observation = problem.observe(torch.tensor([video]))[:, :count]
        torch.testing.assert_close(together[video, :count], agent.scorer(observation)[0])
    assert selection_of(agent, problem, torch.arange(3)).sum(-1).tolist() == [6, 8, 8]
    policy = agent.policy(problem.looks(torch.arange(3)))
    drawn = policy.sample(200, torch.Generator().manual_seed(0)).bool()
    assert not (drawn & ~problem.valid(torch.arange(3))).any()
    assert policy.entropy().isfinite().all()
    assert policy.log_prob(drawn.to(torch.int8)).isfinite().all()
    with pytest.raises(ValueError, match="does not tell how long its video is, and videos differ"):
        agent.predict(problem.observe(torch.arange(3)))


def test_cost_of_a_bilstm_by_hand():
    """Two directions of four gates, 3 + 2 inputs to each of 2 units, and 4 inputs to the last layer; 10 times."""
    assert BiLSTMScorer(3, hidden=2).gmacs(10) == pytest.approx(10 * (2 * 4 * 2 * 5 + 4) / 1e9)


def test_clips_by_section_are_refused(bank):
    env = SelectVectorEnv(ClipSelectProblem(BankSource(bank), observation="features"), num_envs=2)
    with pytest.raises(ValueError, match="use VideoFrameSelect-v0"):
        make_agent("as", env)


def test_all_arms_are_refused(env):
    with pytest.raises(ValueError, match="'all_arms' needs one choice a section"):
        make_agent("as", env, gradient="all_arms").learn(env, 32)
