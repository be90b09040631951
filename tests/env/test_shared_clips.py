"""A clip that several candidates of a short video share is decoded, classified and charged once."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from vidselect_agents import make_agent
from vidselect_classifiers import make_classifier
from vidselect_env.bank import SkimSpec, bank_spec, build_bank
from vidselect_env.bank.decode import decode_video
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.sources import BankSource, LiveSource
from vidselect_env.evaluation.evaluate import evaluate
from vidselect_env.experiment.config import ProblemConfig
from vidselect_env.experiment.recognise import recognise
from vidselect_env.video.clips import ClipGrid

# 29 frames, clips of 16: starts 0 to 13, 14 of them, for 30 candidates; two videos of that length.
DIFFERENT = 14


class TakesAll:
    needs = Needs(fields=(), environment="VideoClipSelect-v0")

    def select(self, looks):
        return looks.valid

    def cost_gmacs(self, shapes):
        return 0.0


@pytest.fixture(scope="module")
def short(tmp_path_factory, make_video):
    """A dataset of two short videos, a classifier that counts its clips, and the spec of their bank."""
    root = tmp_path_factory.mktemp("short")
    for label, name in enumerate(("a", "b")):
        make_video(root / "train" / name / "0.mp4", num_frames=29, seed=label)
    dataset = load_dataset(f"folder:{root}", split="train")
    torch.manual_seed(0)
    classifier = make_classifier("tiny_r3d", num_classes=2, num_frames=16).eval()
    seen: list[int] = []
    classifier.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    spec = bank_spec(dataset, classifier, num_clips=30, skim=SkimSpec(num_frames=2, resize=(8, 8), crop=(8, 8)))
    seen.clear()  # of counting multiply-adds
    return dataset, classifier, spec, seen


@pytest.fixture(scope="module")
def bank(short, tmp_path_factory):
    dataset, classifier, spec, seen = short
    built = build_bank(tmp_path_factory.mktemp("bank"), dataset, classifier, spec=spec, batch_size=64, progress=False)
    assert sum(seen) == 2 * DIFFERENT
    return built


def test_the_first_of_the_same_frames_worked_out_by_hand():
    grid = ClipGrid(num_clips=4, num_frames=5)
    assert grid.starts(7).tolist() == [0, 0, 1, 2]
    assert grid.first_alike(7).tolist() == [0, 0, 2, 3]
    assert grid.first_alike(3).tolist() == [0, 0, 0, 0]


def test_different_clips_are_decoded_and_every_candidate_keeps_its_row(short, bank):
    dataset, classifier, spec, _ = short
    decoded = decode_video(dataset.videos[0], spec=spec)
    assert len(decoded.clips) == DIFFERENT
    starts = spec.grid.starts(29)
    assert torch.equal(decoded.clip_of, starts)  # 0 to 13, each of them there
    assert len(decoded.fields["skim"]) == len(decoded.spans_s) == 30
    with torch.inference_mode():
        expected = classifier(decoded.clips[decoded.clip_of]).logits
    torch.testing.assert_close(bank.field("logits").joined()[:30], expected)
    assert torch.equal(bank.field("skim").joined()[:30], decoded.fields["skim"])


def test_dense_is_charged_for_the_different_clips_offered(bank):
    problem = ClipSelectProblem(BankSource(bank), num_sections=6, num_clips=3, observation="skim")
    offered = bank.spec.grid.starts(29)[problem.candidates(torch.tensor([0]))[0]]
    assert len(offered) == 18
    assert len(offered.unique()) < 18
    result = evaluate(TakesAll(), problem, name="dense")
    assert result.clips_per_video == len(offered.unique())
    assert result.relative_cost == 1


def test_a_live_source_answers_as_the_bank_and_classifies_each_clip_once(short, bank):
    dataset, classifier, spec, seen = short
    live, banked = LiveSource(dataset, classifier, spec=spec), BankSource(bank)
    videos, candidates = torch.tensor([1, 0]), torch.tensor([[0, 1, 2, 29], [28, 29, 3, 0]])
    seen.clear()
    torch.testing.assert_close(live.probabilities(videos, candidates), banked.probabilities(videos, candidates))
    starts = spec.grid.starts(29)
    assert sum(seen) == sum(len(starts[own].unique()) for own in candidates)
    assert sum(seen) < 8
    assert torch.equal(live.first_alike(videos, candidates), banked.first_alike(videos, candidates))
    assert evaluate(TakesAll(), ClipSelectProblem(live), name="x").clips_per_video == pytest.approx(
        evaluate(TakesAll(), ClipSelectProblem(banked), name="x").clips_per_video
    )
    live.close()


def test_a_new_file_has_its_different_clips_classified(short):
    dataset, classifier, spec, seen = short
    seen.clear()
    config = ProblemConfig(sections=6, clips=3)
    looking = dataclasses.replace(spec, fields=("skim",))
    found = recognise(dataset.videos[0].path, TakesAll(), classifier=classifier, spec=looking, problem=config)
    assert sum(seen) == len(found.classified) == found.num_candidates < 18


def test_banks_of_tensors_have_candidates_that_all_differ(make_ragged_bank):
    bank = make_ragged_bank([2, 5])
    alike = BankSource(bank).first_alike(torch.tensor([1]), torch.tensor([[0, 4, 2]]))
    assert alike.tolist() == [[0, 4, 2]]
    env = SelectVectorEnv(ClipSelectProblem(BankSource(bank), num_sections=1, num_clips=2), num_envs=2)
    assert evaluate(make_agent("dense", env), env.problem, name="dense").clips_per_video == 2
