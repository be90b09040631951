"""Distributions over selections."""

import itertools

import pytest
import torch

from vidselect_agents.selection import KeepOrDrop, OnePerSection, WithoutReplacement, order_log_prob, set_log_prob


def test_samples_of_a_section_follow_its_probabilities():
    scores = torch.tensor([[[0.2, 0.5, 0.3], [0.9, 0.05, 0.05]]]).log()
    drawn = OnePerSection(scores).sample(20_000, torch.Generator().manual_seed(0))
    assert drawn.shape == (20_000, 1, 2)
    shares = torch.nn.functional.one_hot(drawn, 3).float().mean(0)
    torch.testing.assert_close(shares, scores.exp(), atol=0.015, rtol=0)


def test_mode_is_the_most_probable_clip():
    assert OnePerSection(torch.tensor([[[0.0, 2.0, 1.0]]])).mode().tolist() == [[1]]


def test_entropy_of_even_odds():
    assert torch.allclose(OnePerSection(torch.zeros(1, 1, 4)).entropy(), torch.tensor(4.0).log())
    assert torch.allclose(KeepOrDrop(torch.zeros(1, 3)).entropy(), 3 * torch.tensor(2.0).log())


def test_log_probability_of_keeping_is_a_product_over_frames():
    scores = torch.tensor([[0.0, 1.0]])
    kept = scores.sigmoid()[0]
    actions = torch.tensor([[[1, 0]]])
    expected = (kept[0] * (1 - kept[1])).log()
    torch.testing.assert_close(KeepOrDrop(scores).log_prob(actions), expected.view(1, 1, 1))


def test_the_mode_keeps_as_many_as_asked():
    scores = torch.tensor([[0.1, 3.0, -2.0, 1.0]])
    assert KeepOrDrop(scores, num_kept=2).mode().tolist() == [[0, 1, 0, 1]]
    assert KeepOrDrop(scores).mode().tolist() == [[1, 1, 0, 1]]


def test_the_order_of_drawing_has_the_product_of_its_softmaxes():
    scores = torch.tensor([0.5, 0.2, 0.3]).log()
    second_then_first = torch.tensor([2, 1, 0])
    assert order_log_prob(scores, second_then_first).exp().item() == pytest.approx(0.2 * 0.5 / 0.8)


@pytest.mark.parametrize("spread", [0.0, 1.0, 5.0, 30.0])
def test_a_sets_probability_is_the_sum_over_its_orders(spread):
    scores = spread * torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    scores[0, 4] = -torch.inf  # a video with one candidate less
    for kept in itertools.combinations(range(6), 3):
        orders = []
        for order in itertools.permutations(kept):
            ranks = torch.zeros(5, 6, dtype=torch.int8)
            ranks[:, list(order)] = torch.tensor([1, 2, 3], dtype=torch.int8)
            orders.append(order_log_prob(scores, ranks))
        there = scores[:, list(kept)].isfinite().all(-1)
        found = set_log_prob(scores, torch.zeros(5, 6).index_fill(1, torch.tensor(kept), 1).bool())
        torch.testing.assert_close(found[there], torch.stack(orders).logsumexp(0)[there], rtol=1e-5, atol=2e-5)


def test_a_set_of_one_has_its_softmax_and_the_set_of_all_is_certain():
    scores = torch.tensor([[0.3, -1.0, 2.0]])
    torch.testing.assert_close(set_log_prob(scores, torch.tensor([[False, True, False]])), scores.log_softmax(-1)[:, 1])
    assert set_log_prob(scores, torch.ones(1, 3, dtype=torch.bool)).item() == 0


def test_the_gradient_of_a_sets_probability_agrees_with_differences():
    scores = torch.tensor([0.4, -0.7, 1.2, 0.1], dtype=torch.float64, requires_grad=True)
    kept = torch.tensor([True, False, True, False])
    assert torch.autograd.gradcheck(lambda scores: set_log_prob(scores, kept), scores)


def test_sets_are_drawn_as_often_as_probable():
    scores = torch.tensor([[0.5, 0.1, 0.2, 0.2]]).log()
    policy = WithoutReplacement(scores, num_kept=2, valid=torch.ones(1, 4, dtype=torch.bool))
    drawn = policy.sample(20_000, torch.Generator().manual_seed(0)).bool()
    assert (drawn.sum(-1) == 2).all()
    for kept in itertools.combinations(range(4), 2):
        wanted = torch.zeros(4, dtype=torch.bool).index_fill(0, torch.tensor(kept), True)
        share = (drawn[:, 0] == wanted).all(-1).float().mean().item()
        assert share == pytest.approx(set_log_prob(scores[0], wanted).exp().item(), abs=0.015)


def test_what_is_not_there_is_never_drawn():
    valid = torch.tensor([[True, True, False], [True, False, False]])
    policy = WithoutReplacement(torch.zeros(2, 3), num_kept=2, valid=valid)
    drawn = policy.sample(50, torch.Generator().manual_seed(0)).bool()
    assert not (drawn & ~valid).any()
    assert (drawn.sum(-1) == torch.tensor([2, 1])).all()
    assert policy.log_prob(drawn.to(torch.int8)).isfinite().all()
    assert policy.entropy().isfinite().all()
