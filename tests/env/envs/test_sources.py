"""A bank and the videos themselves give the same answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidselect_classifiers import make_classifier
from vidselect_env.bank import SkimSpec, bank_spec, build_bank, decode
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.scalar import SelectEnv
from vidselect_env.envs.sources import BankSource, LiveSource
from vidselect_env.experiment.run import memory_used


@pytest.fixture(scope="module")
def sources(tmp_path_factory, video_folder):
    dataset = load_dataset(f"folder:{video_folder}", split="train")
    torch.manual_seed(0)
    classifier = make_classifier("tiny_r3d", num_classes=2)
    spec = bank_spec(dataset, classifier, num_clips=6, skim=SkimSpec(num_frames=2, resize=(8, 8), crop=(8, 8)))
    folder = tmp_path_factory.mktemp("bank")
    bank = build_bank(folder, dataset, classifier, spec=spec, progress=False)
    return BankSource(bank), LiveSource(dataset, classifier, spec=spec)


@pytest.mark.parametrize("observation", ["skim", "features"])
def test_a_frozen_classifier_pays_the_same_from_bank_and_live(sources, observation):
    results = []
    for source in sources:
        problem = ClipSelectProblem(source, num_sections=3, num_clips=2, observation=observation)
        env = SelectVectorEnv(problem, num_envs=4)
        first, _ = env.reset(seed=5)
        actions = torch.tensor([[0, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 1]])
        foretold = env.decision_rewards(actions[None])
        arms = env.full_information()
        second, rewards, _, _, infos = env.step(actions)
        results.append([first, foretold, arms, second, rewards, infos["final_info"]["section_rewards"]])
    for banked, live in zip(*results, strict=True):
        torch.testing.assert_close(banked, live)


def test_live_infos_do_not_claim_an_oracle(sources):
    env = SelectEnv(ClipSelectProblem(sources[1], num_sections=3, num_clips=2))
    env.reset(seed=0)
    assert "oracle_reward" not in env.step(np.zeros(3, dtype=np.int64))[-1]


def test_a_live_classifier_that_changes_pays_differently(sources):
    live = sources[1]
    videos, candidates = torch.tensor([0]), torch.tensor([[0]])
    before = live.probabilities(videos, candidates)
    head = live.classifier.head
    saved = head.bias.detach().clone()
    with torch.no_grad():
        head.bias += torch.tensor([5.0, 0.0])
    assert live.probabilities(videos, candidates)[0, 0, 0] > before[0, 0, 0]
    with torch.no_grad():
        head.bias.copy_(saved)


def test_a_contact_sheet_shows_every_candidate(sources):
    problem = ClipSelectProblem(sources[0], num_sections=3, num_clips=2)
    env = SelectEnv(problem, render_mode="rgb_array")
    env.reset(seed=0)
    plain = env.render()
    env.step(np.zeros(3, dtype=np.int64))
    framed = env.render()
    assert plain.shape == framed.shape == (3 * (96 + 8 + 16) + 16, 2 * (128 + 8), 3)
    assert (plain != framed).any()
    with pytest.raises(ValueError, match="render_mode"):
        SelectEnv(problem, render_mode="human")


def test_a_live_source_needs_a_fixed_number_of_candidates(sources, video_folder):
    dataset = load_dataset(f"folder:{video_folder}", split="train")
    spec = bank_spec(dataset, sources[1].classifier, num_clips=None)
    with pytest.raises(ValueError, match="fixed num_clips"):
        LiveSource(dataset, sources[1].classifier, spec=spec)


def test_every_video_is_decoded_once_while_it_is_needed(tmp_path, video_folder, monkeypatch):
    """Batches of two, of eight videos in turn: what is decoded ahead must still be there when it is asked for."""
    dataset = load_dataset(f"folder:{video_folder}", split="train")
    spec = bank_spec(dataset, make_classifier("tiny_r3d", num_classes=2), num_clips=3, skim=SkimSpec(num_frames=1))
    decoded = []
    real = decode.decode_video
    monkeypatch.setattr(
        "vidselect_env.envs.sources.live.decode_video",
        lambda video, **options: decoded.append(video.path) or real(video, **options),
    )
    source = LiveSource(dataset, make_classifier("tiny_r3d", num_classes=2), spec=spec, keep_videos=2)
    batches = torch.arange(8).view(4, 2)
    source.prefetch(batches[1])  # what comes next, before what is asked for now
    candidates = torch.zeros(2, 1, dtype=torch.int64)
    for number, batch in enumerate(batches):
        source.observe("skim", batch, candidates)
        source.probabilities(batch, candidates)
        source.prefetch(batches[min(number + 1, 3)])
    source.close()
    assert sorted(decoded) == sorted(video.path for video in dataset.videos)


def test_what_is_never_asked_for_is_never_read(make_bank, monkeypatch):
    bank, read = make_bank(), []
    for name, rows in bank.fields.items():
        for method in ("take", "to"):
            real = getattr(rows, method)
            monkeypatch.setattr(rows, method, lambda *args, real=real, name=name: read.append(name) or real(*args))
    problem = ClipSelectProblem(BankSource(bank), observation="skim")
    env = SelectVectorEnv(problem, num_envs=4)
    env.reset(seed=0)
    env.step(torch.zeros(4, 6, dtype=torch.int64))
    assert set(read) == {"skim"}
    with pytest.raises(ValueError, match="the bank has no field 'mel': it has logits, features, skim"):
        problem.source.observe("mel", torch.tensor([0]), torch.tensor([[0]]))


def test_memory_is_said_in_gigabytes():
    words = memory_used()
    assert 0.05 < float(words.split()[0]) < 100
    assert words.startswith(f"{float(words.split()[0]):.2f} GiB resident at most")
