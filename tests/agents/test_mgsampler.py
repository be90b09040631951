"""MGSampler on banks made by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vidselect_agents import make_agent
from vidselect_env.bank import ClipBank
from vidselect_env.evaluation.evaluate import evaluate, selection_of


def test_mgsampler_finds_what_moves(signal_bank, frames_env):
    env = frames_env(signal_bank(), observation="skim")
    contexts = torch.arange(60)
    moving = (
        env.problem.source.observe("vectors", contexts, env.problem.candidates(contexts))
        .float()
        .abs()
        .mean((2, 3, 4, 5))
    )
    for difference in ("image", "feature"):
        chosen = selection_of(make_agent("mgsampler", env, difference=difference, mu=1.0), env.problem, contexts)
        assert (chosen.sum(-1) == 2).all()
        found = (chosen & (moving > moving.mean())).sum() / chosen.sum()
        assert found > 0.9
    magnitude = selection_of(make_agent("mgsampler", env, strategy="magnitude"), env.problem, contexts)
    assert (magnitude & (moving > moving.mean())).sum() == magnitude.sum()


def test_mgsampler_without_mu_is_segment_based_sampling_and_uniform(signal_bank, frames_env):
    env = frames_env(signal_bank(), observation="skim")
    contexts = torch.arange(20)
    chosen = [
        selection_of(make_agent("mgsampler", env, **options), env.problem, contexts)
        for options in ({"mu": 0.0}, {"strategy": "segment"})
    ]
    assert torch.equal(*chosen)
    assert torch.equal(chosen[0], selection_of(make_agent("uniform", env), env.problem, contexts))


def test_mgsampler_pays_for_no_classification_whatever_its_problem_shows(tmp_path, signal_bank, frames_env):
    env = frames_env(signal_bank())  # which shows predictions
    agent = make_agent("mgsampler", env)
    assert evaluate(agent, env.problem, name="x").clips_per_video == 2
    with pytest.raises(ValueError, match="looks at skim, which observations of predictions do not show"):
        agent.predict(env.problem.observe(torch.arange(2)))
    with pytest.raises(ValueError, match=r"filters \('a.safetensors'\) must be of difference 'feature', not 'image'"):
        make_agent("mgsampler", env, filters="a.safetensors")


def test_single_frames_are_compared_with_the_candidate_before(signal_bank, frames_env):
    skim = torch.zeros(1, 4, 1, 3, 2, 2, dtype=torch.uint8)
    skim[0, 2:] = 60
    env = frames_env(signal_bank(), observation="skim")
    assert make_agent("mgsampler", env).curves(skim).tolist() == [[0, 0, 60, 0]]
    assert make_agent("mgsampler", env).curves(skim.repeat(1, 1, 4, 1, 1, 1)).tolist() == [[0, 0, 60, 0]]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.floats(0, 2), st.integers(0, 99))
def test_mgsampler_gives_the_asked_number_without_repeats(signal_bank, frames_env, num_kept, mu, seed):
    env = frames_env(signal_bank(num_videos=4, seed=seed), num_kept=num_kept, observation="skim")
    chosen = selection_of(make_agent("mgsampler", env, mu=mu), env.problem, torch.arange(4))
    assert (chosen.sum(-1) == num_kept).all()


def test_mgsampler_has_no_multiply_adds_without_convolutions(signal_bank, frames_env):
    skims = frames_env(signal_bank(), observation="skim")
    assert make_agent("mgsampler", skims).cost_gmacs(skims.shapes) == 0
    # 8 candidates x 2 differences of 8 x 8 grey pixels x 8 filters of 7 x 7.
    expected = 8 * 2 * 64 * 8 * 49 / 1e9
    assert make_agent("mgsampler", skims, difference="feature").cost_gmacs(skims.shapes) == pytest.approx(expected)


def test_the_samplers_choice_does_not_depend_on_the_other_videos(signal_bank, frames_env):
    bank = signal_bank()
    skim = bank.field("skim").joined().view(60, 8, 3, 3, 8, 8).clone()
    skim[1, :, 1:] = skim[1, :, :1]  # nothing moves within its clips
    still = ClipBank.from_tensors(torch.zeros(60, 8, 3), [0] * 60, skim=skim)
    env = frames_env(still, observation="skim")
    agent = make_agent("mgsampler", env)
    together, alone = (selection_of(agent, env.problem, torch.tensor(videos)) for videos in ([0, 1, 2, 3], [1]))
    assert torch.equal(together[1], alone[0])
