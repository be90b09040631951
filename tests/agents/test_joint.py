"""Joint training of DSN and its classifier (Algorithm 1), against numbers worked by hand."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from vidselect_agents import make_agent
from vidselect_agents.joint import ClassifierSteps, selected_loss
from vidselect_agents.steps import StepsConfig
from vidselect_classifiers import make_classifier
from vidselect_env.bank import SkimSpec, bank_spec
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource, LiveSource
from vidselect_env.fitting.augmentation import ClipJitter
from vidselect_env.video.crops import view_crops

SETTINGS = {"joint": True, "samples_per_context": 1, "classifier_rate": 0.05, "scorer": "r2d"}


def make_source(video_folder, *, crop: int = 32, resize: int = 32, **options) -> LiveSource:
    dataset = load_dataset(f"folder:{video_folder}", split="train")
    torch.manual_seed(0)
    classifier = make_classifier("tiny_r3d", num_classes=2, resize=(resize, resize), crop=(crop, crop))
    skim = SkimSpec(num_frames=2, resize=(8, 8), crop=(8, 8))
    spec = bank_spec(dataset, classifier, num_clips=6, fields=("logits", "skim"), skim=skim)
    return LiveSource(dataset, classifier, spec=spec, **options)


def make_env(source: LiveSource) -> SelectVectorEnv:
    problem = ClipSelectProblem(source, num_sections=3, num_clips=2, draw_candidates=True)
    return SelectVectorEnv(problem, num_envs=4)


def numbers_of(agent, source) -> torch.Tensor:
    states = [*agent.modules().state_dict().values(), *source.classifier.state_dict().values()]
    return torch.cat([value.flatten().double() for value in states])


def test_the_loss_is_the_cross_entropy_of_the_mean_prediction():
    logits = torch.tensor([[[0.8, 0.2], [0.4, 0.6]], [[0.5, 0.5], [0.1, 0.9]]]).log()
    targets = torch.tensor([[True, False], [False, True]])
    # Video 0: the label gets (0.8 + 0.4) / 2; video 1: (0.5 + 0.9) / 2.
    expected = -(torch.tensor(0.6).log() + torch.tensor(0.7).log()) / 2
    torch.testing.assert_close(selected_loss(logits, targets), expected)
    # A tenth of the target spread over both classes: 0.95 and 0.05.
    smoothed = -(0.95 * torch.tensor([0.6, 0.7]).log() + 0.05 * torch.tensor([0.4, 0.3]).log()).mean()
    torch.testing.assert_close(selected_loss(logits, targets, label_smoothing=0.1), smoothed)


def test_a_classification_step_goes_down_the_gradient_of_eq_5_worked_by_hand(video_folder):
    """Of the head's bias: -sum_m p_y (e_y - p) / sum_m p_y, of the clips' predictions p in the step."""
    source = make_source(video_folder)
    steps = ClassifierSteps(
        source,
        config=StepsConfig(optimizer="sgd", learning_rate=0.5, weight_decay=0.0, decay="none"),
        total=2,
        jitter=ClipJitter(),
    )
    said = []
    source.classifier.register_forward_hook(lambda module, inputs, output: said.append(output.logits.detach()))
    before = source.classifier.head.bias.detach().clone()
    videos, selected = torch.tensor([0, 5]), torch.tensor([[0, 3], [1, 4]])
    loss = steps.step(videos, selected)
    probabilities = said[0].softmax(-1).view(2, 2, 2)
    labels = source.targets[videos].float()
    of_label = (probabilities * labels[:, None]).sum(-1)
    torch.testing.assert_close(loss, -of_label.mean(1).log().mean())
    gradient = -((of_label[..., None] * (labels[:, None] - probabilities)).sum(1) / of_label.sum(1)[:, None]).mean(0)
    torch.testing.assert_close(source.classifier.head.bias.detach(), before - 0.5 * gradient)
    # Momentum 0.9: without a new gradient the second step would be 0.9 of the first.
    buffer = steps.optimizer.state[source.classifier.head.bias]["momentum_buffer"]
    torch.testing.assert_close(buffer, gradient)
    assert steps.optimizer.param_groups[0]["momentum"] == 0.9
    assert not source.classifier.training


def test_an_update_is_a_classification_step_and_one_batch_of_rewards_of_what_changed(video_folder):
    source = make_source(video_folder)
    env = make_env(source)
    agent = make_agent("dsn", env, seed=0, **SETTINGS)
    batches = []
    source.classifier.register_forward_hook(
        lambda module, inputs, output: batches.append((module.training, len(inputs[0])))
    )
    agent.learn(env, 3 * env.num_envs)
    assert [mode for mode, _ in batches] == [True, False] * 3
    for training, size in batches:
        assert size == 12 if training else 1 <= size <= 24  # one of each section; those and the likeliest, each once


def test_rewards_are_those_of_the_classifier_after_its_step(video_folder):
    source = make_source(video_folder)
    env = make_env(source)
    agent = make_agent("dsn", env, seed=0, **SETTINGS)
    seen = {}
    step = env.step

    def stepping(actions, **options):
        fresh = LiveSource(
            load_dataset(f"folder:{video_folder}", split="train"), copy.deepcopy(source.classifier), spec=source.spec
        )
        problem = ClipSelectProblem(fresh, num_sections=3, num_clips=2, draw_candidates=True)
        seen["expected"] = problem.outcome(env.contexts, actions)[0]
        taken = step(actions, **options)
        seen["paid"] = taken[1]
        return taken

    env.step = stepping
    agent.learn(env, env.num_envs)
    torch.testing.assert_close(seen["paid"], seen["expected"])


def test_both_learn_and_the_bank_is_refused(video_folder, bank):
    source = make_source(video_folder)
    env = make_env(source)
    agent = make_agent("dsn", env, seed=0, **SETTINGS)
    before = copy.deepcopy([agent.scorer.state_dict(), source.classifier.state_dict()])
    agent.learn(env, 2 * env.num_envs)
    for old, new in zip(before, [agent.scorer.state_dict(), source.classifier.state_dict()], strict=True):
        assert any(not torch.equal(old[name], new[name]) for name in old if name.endswith("weight"))
    banked = SelectVectorEnv(ClipSelectProblem(BankSource(bank), num_sections=3), num_envs=4)
    with pytest.raises(ValueError, match="needs a live source, not a bank"):
        make_agent("dsn", banked, joint=True).learn(banked, 4)


@pytest.mark.parametrize(
    "options", [{}, {"scale_jitter": (1.0, 1.3), "random_crop": True, "flip": True, "decay": "steps"}], ids=str
)
def test_training_that_is_taken_up_ends_as_if_it_had_never_stopped(video_folder, options):
    """Scorer, classifier, both optimizers, schedules and generators; stopped after two updates of five."""

    def world():
        source = make_source(video_folder, whole_frames=bool(options), resize=40)
        env = make_env(source)
        return source, env, make_agent("dsn", env, seed=3, **SETTINGS, **options)

    source, env, agent = world()
    states = []

    def keep(agent) -> bool:
        if agent.num_timesteps == 2 * env.num_envs:
            states.append(agent.training())
        return True

    agent.learn(env, 5 * env.num_envs, callback=keep)
    whole = numbers_of(agent, source)
    source, env, agent = world()
    with torch.no_grad():
        source.classifier.head.bias += 1  # whatever it was meanwhile
    agent.resume(states[0])
    agent.learn(env, 5 * env.num_envs)
    assert torch.equal(numbers_of(agent, source), whole)


def test_what_was_said_is_forgotten_when_the_classifier_changes(video_folder):
    source = make_source(video_folder)
    calls = []
    source.classifier.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    videos, candidates = torch.tensor([0, 1]), torch.tensor([[0, 2], [1, 1]])
    first = source.probabilities(videos, candidates)
    assert torch.equal(source.probabilities(videos, candidates[:, :1]), first[:, :1])
    assert calls == [3]
    with torch.no_grad():
        source.classifier.head.bias += torch.tensor([2.0, 0.0])
    assert (source.probabilities(videos, candidates)[..., 0] > first[..., 0]).all()
    assert calls == [3, 3]


def test_augmentation_crops_elsewhere_and_mirrors(video_folder):
    source = make_source(video_folder, resize=40, whole_frames=True)
    steps = ClassifierSteps(
        source, config=StepsConfig(optimizer="sgd"), total=1, jitter=ClipJitter(random_crop=True), flip=True
    )
    videos, candidates = torch.tensor([0]), torch.zeros(1, 40, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    clips = source.training_clips(videos, candidates, augment=steps._augmented, generator=generator)
    assert clips.shape == (40, 8, 3, 32, 32)
    whole = source._video(0).clips[0]
    found = set()
    for clip in clips:
        for mirrored in (False, True):
            own = clip.flip(-1) if mirrored else clip
            for top in range(9):
                for left in range(9):
                    if torch.equal(own, whole[..., top : top + 32, left : left + 32]):
                        found.add((top, left, mirrored))
    assert len(found) > 20  # of 162
    assert {mirrored for *_, mirrored in found} == {False, True}
    plain = dataclasses.replace(ClipJitter())
    centred = ClassifierSteps(source, config=StepsConfig(optimizer="sgd"), total=1, jitter=plain)
    [centre] = source.training_clips(videos, candidates[:, :1], augment=centred._augmented, generator=generator)
    assert torch.equal(centre, whole[..., 4:36, 4:36])


def test_jitter_needs_whole_frames(video_folder):
    with pytest.raises(ValueError, match="need a live source with whole_frames=True"):
        ClassifierSteps(
            make_source(video_folder), config=StepsConfig(optimizer="sgd"), total=1, jitter=ClipJitter(random_crop=True)
        )


def test_crops_of_three_and_ten_worked_out_by_hand():
    frames = torch.arange(4 * 10).view(1, 4, 10)
    three = view_crops(frames, (4, 4), views="three")
    assert three[:, 0, 0].tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    tall = view_crops(frames.transpose(1, 2), (4, 4), views="three")
    assert tall[:, 0, :, 0].tolist() == three[:, 0, 0].tolist()
    ten = view_crops(frames, (2, 2), views="ten")
    assert ten[:, 0, 0].tolist()[:5] == [[0, 1], [8, 9], [20, 21], [28, 29], [14, 15]]
    assert ten[5:, 0, 0].tolist() == [[9, 8], [1, 0], [29, 28], [21, 20], [15, 14]]


@pytest.mark.parametrize(("views", "count"), [("three", 3), ("ten", 10)])
def test_testing_views_are_averaged_and_charged(video_folder, views, count):
    source = make_source(video_folder, resize=40, views=views)
    videos, candidates = torch.tensor([2]), torch.tensor([[1, 4]])
    clips = source._video(2).clips[source._video(2).clip_of[candidates[0]]]
    with torch.inference_mode():
        each = [source.classifier(view_crops(clip, (32, 32), views=views)).logits.softmax(-1).mean(0) for clip in clips]
    torch.testing.assert_close(source.probabilities(videos, candidates)[0], torch.stack(each))
    assert source.clip_gmacs(videos, candidates)[0, 0] == pytest.approx(count * source.spec.classifier_gmacs)


def test_mirrored_flow_goes_the_other_way_in_training_and_in_ten_crops(video_folder, monkeypatch):
    source = make_source(video_folder, resize=40, views="ten")
    plain = source._views(0, 0)
    geometry = dataclasses.replace(source.classifier.geometry, modality="flow")
    monkeypatch.setattr(source.classifier, "geometry", geometry)
    turned = source._views(0, 0)
    assert torch.equal(turned[:5], plain[:5])
    assert torch.equal(turned[5:, :, 1:], plain[5:, :, 1:])
    assert not (turned[5:, :, 0] + plain[5:, :, 0]).any()  # displacement x and -x are bytes 128 + x and 128 - x
    steps = ClassifierSteps(source, config=StepsConfig(optimizer="sgd"), total=1, jitter=ClipJitter(), flip=True)
    videos, candidates = torch.tensor([0]), torch.zeros(1, 20, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    clips = source.training_clips(videos, candidates, augment=steps._augmented, generator=generator)
    counts = [sum(torch.equal(clip, kind) for clip in clips) for kind in (plain[4], turned[9])]
    assert sum(counts) == 20
    assert min(counts) > 0
