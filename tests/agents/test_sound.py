"""Sound as what an environment shows: any agent may choose by it."""

from __future__ import annotations

import pytest
import torch
from gymnasium.spaces import Box

from vidselect_agents import make_agent
from vidselect_agents.scorers.candidates import make_backbone
from vidselect_env.bank import ClipBank
from vidselect_env.bank.spec import SILENCE
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.search.batched import SearchVectorEnv
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import evaluate
from vidselect_env.evaluation.stopping import StopRule

QUIET, LOUD = -12.0, -6.0


def sounding_bank(*, num_videos: int = 60, seed: int = 0, silent: int = 0) -> ClipBank:
    """Of six clips the classifier is right about one, which is loud; `silent` videos have no sound track."""
    generator = torch.Generator().manual_seed(seed)
    labels, rows = torch.arange(num_videos) % 4, torch.arange(num_videos)
    right = torch.randint(6, (num_videos,), generator=generator)
    said = (labels[:, None] + 1 + torch.randint(3, (num_videos, 6), generator=generator)) % 4  # wrong
    said[rows, right] = labels
    mel = QUIET + 0.5 * torch.randn(num_videos, 6, 40, 200, generator=generator)
    mel[rows, right] += LOUD - QUIET
    mel[:silent] = torch.nan
    logits = 4.0 * torch.nn.functional.one_hot(said, 4)
    return ClipBank.from_tensors(logits, labels.tolist(), signals={"mel": mel.half()})


def frames_of(bank: ClipBank) -> FrameSelectProblem:
    return FrameSelectProblem(BankSource(bank), num_candidates=6, num_kept=1, observation="mel", reward="correct")


def test_an_observation_of_sound_is_its_mel_pictures_and_no_sound_is_silence():
    bank = sounding_bank(num_videos=4, silent=1)
    pictures = bank.field("mel").take(torch.arange(24)).view(4, 6, 40, 200)
    problem = frames_of(bank)
    assert problem.observation_space.shape == (6, 40, 200)
    observations = problem.observe(torch.arange(4))
    assert observations.dtype == torch.float32
    assert (observations[0] == SILENCE).all()
    torch.testing.assert_close(observations[1:], pictures[1:].float())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("plackett_luce", {"gradient": "all_arms"}),
        ("ranking", {"worth": "label"}),
        ("dsn", {"gradient": "all_arms"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_agents_find_the_loud_clip(name, settings):
    train, test = sounding_bank(), sounding_bank(seed=1)
    if name == "dsn":
        problems = [
            ClipSelectProblem(BankSource(bank), num_sections=1, num_clips=6, observation="mel")
            for bank in (train, test)
        ]
    else:
        problems = [frames_of(bank) for bank in (train, test)]
    env = SelectVectorEnv(problems[0], num_envs=20)
    agent = make_agent(name, env, learning_rate=3e-3, **settings).learn(env, 900)
    assert evaluate(agent, problems[1], name=name).top1 > 0.9  # 1 / 6 by chance


def test_a_search_begins_with_the_loud_clip():
    train, test = (
        SearchProblem(BankSource(sounding_bank(seed=seed)), num_candidates=6, observation="mel") for seed in (0, 1)
    )
    env = SearchVectorEnv(train, num_envs=20)
    agent = make_agent("search", env, looking_steps=900, learning_rate=3e-3, folds=1).learn(env, 1800)
    assert evaluate(StopRule(agent, "count", 1), test, name="search").top1 > 0.9


def test_what_reads_vectors_says_that_it_does_not_take_pictures():
    env = SelectVectorEnv(frames_of(sounding_bank(num_videos=4)), num_envs=2)
    with pytest.raises(ValueError, match="agent 'as' reads features or predictions, not mel"):
        make_agent("as", env)
    with pytest.raises(ValueError, match="scorer 'mlp' does not fit"):
        make_backbone("mlp", env.problem.observation_space)
    with pytest.raises(ValueError, match="scorer 'sound' does not fit"):
        make_backbone("sound", Box(-1, 1, (6, 16)))
