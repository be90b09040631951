"""Distributions over selections."""

import torch

from vidselect_agents.selection import KeepOrDrop, OnePerSection


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
