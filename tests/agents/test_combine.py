"""How sight and sound are combined, each rule by hand, and what every selection keeps to."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from vidselect_agents.combine import convex_list, convex_score, intersect_list, ranks, union_list

VISUAL = torch.tensor([[0.9, 0.1, 0.5, 0.7, 0.3]])  # places 0, 4, 2, 1, 3
AUDIO = torch.tensor([[0.1, 0.8, 0.2, 0.9, 0.4]])  # places 4, 1, 3, 0, 2


def best(scores: Tensor, count: int) -> list[int]:
    return sorted(scores[0].topk(count).indices.tolist())


def test_ranks_are_places_in_the_sorted_list():
    assert ranks(VISUAL).tolist() == [[0, 4, 2, 1, 3]]
    assert ranks(torch.tensor([[0.5, 0.7, 0.5]])).tolist() == [[1, 0, 2]]


def test_convex_score_by_hand():
    torch.testing.assert_close(
        convex_score(VISUAL, AUDIO, alpha=0.75), torch.tensor([[0.7, 0.275, 0.425, 0.75, 0.325]])
    )


def test_convex_list_by_hand():
    # Half of each place: 2, 2.5, 2.5, 0.5, 2.5.
    torch.testing.assert_close(convex_list(VISUAL, AUDIO, alpha=0.5), -torch.tensor([[2.0, 2.5, 2.5, 0.5, 2.5]]))


def test_union_takes_the_best_of_sight_then_others_of_sound():
    # The two best of sight are 0 and 3; the best of sound that are not among them are 1 and 4.
    assert best(union_list(VISUAL, AUDIO, num_visual=2), 3) == [0, 1, 3]
    assert best(union_list(VISUAL, AUDIO, num_visual=2), 4) == [0, 1, 3, 4]
    assert best(union_list(VISUAL, AUDIO, num_visual=0), 2) == [1, 3]


def test_intersection_grows_until_it_has_enough():
    # In both lists' first m: m=1 none, m=2 {3}, m=3 {3}, m=4 {2, 3, 4}, m=5 all. For two, of 2 and 4, which join
    # together, sight prefers 2.
    assert best(intersect_list(VISUAL, AUDIO), 1) == [3]
    assert best(intersect_list(VISUAL, AUDIO), 2) == [2, 3]
    assert best(intersect_list(VISUAL, AUDIO), 3) == [2, 3, 4]


def test_what_may_not_be_chosen_stays_out():
    barred = torch.tensor([[False, False, False, True, False]])
    visual, audio = (scores.masked_fill(barred, -torch.inf) for scores in (VISUAL, AUDIO))
    for combined in (
        convex_score(visual, audio, alpha=0.5),
        convex_list(visual, audio, alpha=0.5),
        union_list(visual, audio, num_visual=2),
        intersect_list(visual, audio),
    ):
        assert (combined[0, 3] == -torch.inf).item()
        assert (combined[0, [0, 1, 2, 4]] > -torch.inf).all()


numbers = st.integers(2, 12).flatmap(
    lambda count: st.tuples(
        arrays("float32", (1, count), elements=st.floats(0, 1, width=32)),
        arrays("float32", (1, count), elements=st.floats(0, 1, width=32)),
        st.integers(1, count),
    )
)


@given(numbers)
def test_union_holds_the_best_of_sight_and_has_the_asked_size(drawn):
    visual, audio, count = torch.from_numpy(drawn[0]), torch.from_numpy(drawn[1]), drawn[2]
    num_visual = (count + 1) // 2
    chosen = best(union_list(visual, audio, num_visual=num_visual), count)
    assert len(set(chosen)) == count
    assert set(ranks(visual)[0].argsort()[:num_visual].tolist()) <= set(chosen)


@given(numbers)
def test_intersection_is_contained_in_the_first_m_of_both_lists(drawn):
    visual, audio, count = torch.from_numpy(drawn[0]), torch.from_numpy(drawn[1]), drawn[2]
    chosen = best(intersect_list(visual, audio), count)
    assert len(set(chosen)) == count
    joins = torch.maximum(ranks(visual), ranks(audio))[0]
    smallest_m = joins.sort().values[count - 1]
    assert (joins[chosen] <= smallest_m).all()
