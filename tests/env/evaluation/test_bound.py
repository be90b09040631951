"""The oracle is a bound: no selector is right about more videos."""

from __future__ import annotations

import pytest
import torch

from vidselect_env.bank import ClipBank
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import evaluate, selection_of
from vidselect_env.evaluation.references import REFERENCES


class TakesAtRandom:
    """What the choice allows, or of `BestOf` at times fewer."""

    needs = Needs(fields=())

    def __init__(self, seed: int, *, fewer: bool = False) -> None:
        self.generator, self.fewer = torch.Generator().manual_seed(seed), fewer

    def select(self, looks):
        chosen = looks.best(torch.rand(looks.valid.shape, generator=self.generator))
        if self.fewer:  # all but one of the chosen are dropped at times
            first = chosen & (chosen.cumsum(-1) == 1)
            chosen = torch.where(torch.rand(len(chosen), 1, generator=self.generator) < 0.3, first, chosen)
        return chosen

    def cost_gmacs(self, shapes):
        return 0.0


def hard_bank(*, num_videos: int = 60, num_clips: int = 8, num_classes: int = 4, several: bool = False) -> ClipBank:
    """Clips that are mostly wrong, so that what is right must be looked for."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(num_classes, (num_videos,), generator=generator)
    logits = torch.randn(num_videos, num_clips, num_classes, generator=generator)
    sets = [(label, (label + 1) % num_classes) if several else (label,) for label in labels.tolist()]
    for video, own in enumerate(sets):
        logits[video, :, list(own)] -= 2.0 if several else 1.2
    return ClipBank.from_tensors(logits, sets, features=torch.zeros(num_videos, num_clips, 1))


def of_classes(p: list, label: int, *, num_kept: int = 1) -> FrameSelectProblem:
    """One video whose candidates have these probabilities."""
    bank = ClipBank.from_tensors(torch.tensor([p]).log(), [label])
    return FrameSelectProblem(BankSource(bank), num_candidates=len(p), num_kept=num_kept, observation="predictions")


def top1(name: str, problem) -> float:
    return evaluate(REFERENCES[name](), problem, name=name).top1


def test_the_largest_probability_of_the_label_can_be_a_wrong_clip_and_the_oracle_takes_the_right_one():
    problem = of_classes([[0.40, 0.45, 0.15], [0.36, 0.33, 0.31]], 0)
    assert top1("most_confident", problem) == 0
    assert top1("oracle", problem) == 1


def test_two_wrong_clips_that_are_right_together_are_found():
    # Class 0: .40 beside .45, and .40 beside .45 of another; the mean is .40 beside .30. The third spoils either.
    problem = of_classes([[0.40, 0.45, 0.15], [0.10, 0.80, 0.10], [0.40, 0.15, 0.45]], 0, num_kept=2)
    assert selection_of(REFERENCES["oracle"](), problem, torch.tensor([0])).tolist() == [[True, False, True]]


def test_fewer_clips_are_taken_where_as_many_as_may_be_are_wrong():
    problem = of_classes([[0.55, 0.45], [0.1, 0.9], [0.2, 0.8]], 0, num_kept=2)
    assert selection_of(REFERENCES["oracle"](), problem, torch.tensor([0])).tolist() == [[True, False, False]]


def test_where_nothing_is_right_it_is_wrong():
    assert top1("oracle", of_classes([[0.3, 0.7], [0.4, 0.6], [0.1, 0.9]], 0, num_kept=3)) == 0


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("sections", [(4, 2), (2, 4), (1, 8)])
def test_no_selection_of_all_is_right_where_the_oracle_is_wrong(sections, several):
    """Against every selection that there is, not only drawn ones."""
    bank = hard_bank(several=several)
    problem = ClipSelectProblem(
        BankSource(bank), num_sections=sections[0], num_clips=sections[1], observation="features"
    )
    shape = [range(sections[1])] * sections[0]
    actions = torch.cartesian_prod(*(torch.tensor(each) for each in shape)).view(-1, sections[0])
    contexts = torch.arange(problem.num_contexts)
    outcomes = [problem.outcome(contexts, each.expand(len(contexts), -1))[1]["is_correct"] for each in actions]
    possible = torch.stack(outcomes).any(0)
    assert possible.any()
    assert not possible.all()
    assert evaluate(REFERENCES["oracle"](), problem, name="x").right == tuple(possible.tolist())


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("num_kept", [1, 3, 8])
def test_the_bound_bounds_random_selectors(num_kept, alpha):
    problem = FrameSelectProblem(
        BankSource(hard_bank()), num_candidates=8, num_kept=num_kept, observation="predictions", alpha=alpha
    )
    bound = evaluate(REFERENCES["oracle"](), problem, name="oracle")
    surest = evaluate(REFERENCES["most_confident"](), problem, name="most_confident")
    assert bound.top1 >= surest.top1
    for seed in range(60):
        found = evaluate(TakesAtRandom(seed, fewer=True), problem, name="random")
        assert all(most or not one for most, one in zip(bound.right, found.right, strict=True))


def test_the_bound_bounds_random_selectors_of_ragged_videos_and_of_single_sections(make_ragged_bank):
    ragged = FrameSelectProblem(
        BankSource(make_ragged_bank([2, 5, 3, 9], seed=4)), num_candidates=None, num_kept=3, observation="predictions"
    )
    single = ClipSelectProblem(
        BankSource(hard_bank()), num_sections=4, num_clips=2, observation="features", per_section=True
    )
    for problem in (ragged, single):
        bound = evaluate(REFERENCES["oracle"](), problem, name="oracle").right
        for seed in range(40):
            found = evaluate(TakesAtRandom(seed), problem, name="random").right
            assert all(most or not one for most, one in zip(bound, found, strict=True))


def test_single_sections_do_not_change_the_bound():
    whole = ClipSelectProblem(BankSource(hard_bank()), num_sections=4, num_clips=2, observation="features")
    single = ClipSelectProblem(
        BankSource(hard_bank()), num_sections=4, num_clips=2, observation="features", per_section=True
    )
    bounds = [evaluate(REFERENCES["oracle"](), problem, name="oracle") for problem in (whole, single)]
    assert bounds[0].right == bounds[1].right
    assert bounds[0].clips_per_video == bounds[1].clips_per_video == 4
