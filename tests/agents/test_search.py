"""The agent `search`: its estimators by hand, and that it learns what no fixed order knows."""

from __future__ import annotations

import pytest
import torch

from vidselect_agents.gradients import clipped_loss, generalised_advantages
from vidselect_agents.registry import load_agent, make_agent
from vidselect_env.bank import ClipBank
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.search.batched import SearchVectorEnv
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.envs.search.run import search
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import evaluate
from vidselect_env.evaluation.stopping import Spread, StopRule, frontier, price_frontier, top1_at


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None]


ENDS = torch.tensor([[False], [False], [True]])
REWARDS, VALUES = column(-0.1, -0.1, 1.0), column(0.5, 0.6, 0.7, 9.0)


def test_advantages_of_a_three_step_episode():
    # surprises: -0.1 + 0.6 - 0.5 = 0; -0.1 + 0.7 - 0.6 = 0; 1 - 0.7 = 0.3; what follows the end (9) counts nothing
    found = generalised_advantages(REWARDS, VALUES, ENDS, discount=1, trace=0.5)
    torch.testing.assert_close(found, column(0.075, 0.15, 0.3))


def test_without_trace_the_values_are_believed_and_with_a_full_one_the_rewards():
    torch.testing.assert_close(generalised_advantages(REWARDS, VALUES, ENDS, trace=0), column(0, 0, 0.3))
    found = generalised_advantages(REWARDS, VALUES, ENDS, trace=1)
    torch.testing.assert_close(found + VALUES[:-1], column(0.8, 0.9, 1.0))  # the returns


def test_a_discount_makes_what_comes_later_less():
    found = generalised_advantages(REWARDS, VALUES, ENDS, discount=0.5, trace=1)
    torch.testing.assert_close(found + VALUES[:-1], column(-0.1 - 0.05 + 0.25, -0.1 + 0.5, 1.0))


def test_an_episode_within_a_rollout_takes_nothing_from_the_next():
    ends = torch.tensor([[True], [False], [True]])
    found = generalised_advantages(column(1, 2, 3), column(0, 0, 0, 0), ends, trace=1)
    torch.testing.assert_close(found, column(1, 5, 3))


def test_a_rollout_that_is_cut_goes_on_by_its_value():
    found = generalised_advantages(column(1.0), column(0, 4), torch.tensor([[False]]), discount=0.5)
    torch.testing.assert_close(found, column(3.0))


def test_the_clipped_loss_stops_pulling_beyond_its_clip():
    log_prob = torch.tensor([1.5, 1.1, 0.5], requires_grad=True).log()
    log_prob.retain_grad()
    loss = clipped_loss(log_prob, torch.zeros(3), torch.tensor([1.0, 1.0, 1.0]), clip=0.2)
    loss.backward()
    assert loss.item() == pytest.approx(-(1.2 + 1.1 + 0.5) / 3)
    assert log_prob.grad[0] == 0
    assert (log_prob.grad[1:] < 0).all()


def telling_bank(num_videos: int = 200, num_clips: int = 6, *, seed: int = 0, doubtful: bool = False) -> ClipBank:
    """One or two of six clips show which of four classes it is, and look different; of the rest the classifier knows
    nothing and says anything with confidence. Where it is doubtful five do, and it is right about half of these."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (num_videos,), generator=generator)
    ranks = torch.rand(num_videos, num_clips, generator=generator).argsort(-1)
    good = ranks < (5 if doubtful else torch.randint(1, 3, (num_videos, 1), generator=generator))
    told = good & (torch.rand(good.shape, generator=generator) < 0.5) if doubtful else good
    shown = torch.where(told, labels[:, None], torch.randint(4, good.shape, generator=generator))
    logits = 3 * torch.nn.functional.one_hot(shown, 4) + 0.3 * torch.randn(*good.shape, 4, generator=generator)
    skim = torch.randint(0, 120, (num_videos, num_clips, 1, 3, 4, 4), generator=generator)
    skim[good] += 100
    return ClipBank.from_tensors(logits, labels.tolist(), skim=skim.to(torch.uint8))


def telling_problem(*, seed: int = 0, doubtful: bool = False, **options) -> SearchProblem:
    options = {"num_candidates": 6, "price": 0.05} | options
    return SearchProblem(BankSource(telling_bank(seed=seed, doubtful=doubtful)), **options)


def learned(problem: SearchProblem, *, steps: int = 16_000, seed: int = 0):
    env = SearchVectorEnv(problem, num_envs=64)
    return make_agent("search", env, seed=seed, looking_steps=3_000, learning_rate=3e-3).learn(env, steps)


def test_it_beats_every_stop_on_a_fixed_order_at_equal_cost():
    agent, test = learned(telling_problem()), telling_problem(seed=1)
    row = evaluate(agent, test, name="search")
    assert row.clips_per_video < 3
    for stop, thresholds in (("count", range(1, 7)), ("confidence", (0.3, 0.5, 0.6, 0.7, 0.8)), ("patience", (1, 2))):
        points = frontier(lambda at, stop=stop: StopRule(Spread(), stop, at), test, thresholds, name=stop)
        cheapest = min(point.result.clips_per_video for point in points)  # two, of patience
        assert row.top1 > top1_at(points, max(row.clips_per_video, cheapest)) + 0.1


def test_one_policy_spends_less_where_clips_cost_more():
    agent = learned(telling_problem(price_range=(0.002, 0.5), doubtful=True), steps=32_000)
    points = price_frontier(agent, telling_problem(seed=1, doubtful=True), [0.003, 0.4], name="search")
    assert [point.setting for point in points] == [0.4, 0.003]
    assert points[0].result.clips_per_video < points[1].result.clips_per_video - 0.2


@pytest.mark.parametrize("options", [{"looks": "paid"}, {"start": "first"}, {"shaping": 0.2, "reward": "log_prob"}])
def test_it_learns_wherever_a_search_is(options):
    problem = telling_problem(**options)
    agent = learned(problem, steps=2048)
    state = search(agent, problem, torch.arange(20))
    assert agent.num_timesteps >= 2048
    assert (state.num_clips <= 6).all()


def test_a_saved_agent_searches_as_before(tmp_path):
    problem = telling_problem()
    agent = learned(problem, steps=1024)
    agent.save(tmp_path / "agent.safetensors")
    again = load_agent("search", tmp_path, problem.shapes)
    contexts = torch.arange(50)
    assert torch.equal(search(agent, problem, contexts).order, search(again, problem, contexts).order)


def test_the_same_seed_learns_the_same():
    problem = telling_problem()
    first, second, other = (learned(problem, steps=1024, seed=seed) for seed in (0, 0, 1))
    for name, value in first.modules().state_dict().items():
        assert torch.equal(value, second.modules().state_dict()[name])
    assert not torch.equal(first.deciding.own.weight, other.deciding.own.weight)


def announced_bank(*, num_videos: int = 300, seed: int = 0) -> ClipBank:
    """One clip of six is right, and the look that tells which is the one before it."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_videos) % 4
    right = torch.randint(1, 6, (num_videos,), generator=generator)
    rows = torch.arange(num_videos)
    said = torch.randint(4, (num_videos, 6), generator=generator)
    said[rows, right] = labels
    skim = torch.randint(0, 120, (num_videos, 6, 1, 3, 4, 4), generator=generator)
    skim[rows, right - 1] += 100
    logits = 3.0 * torch.nn.functional.one_hot(said, 4)
    return ClipBank.from_tensors(logits, labels.tolist(), skim=skim.to(torch.uint8))


@pytest.mark.campaign
def test_neighbours_tell_what_a_look_of_its_own_does_not():
    train, test = (SearchProblem(BankSource(announced_bank(seed=seed)), num_candidates=6, price=0.4) for seed in (0, 1))
    top1 = {}
    for context in ("own", "neighbours"):
        env = SearchVectorEnv(train, num_envs=64)
        agent = make_agent("search", env, looking_steps=12_000, learning_rate=3e-3, context=context)
        agent.learn(env, 24_000)
        top1[context] = evaluate(StopRule(agent, "count", 1), test, name=context).top1
    assert top1["neighbours"] > 0.95
    assert top1["own"] < 0.6  # the look before may be of the right clip or of any other: 0.25 by chance


def test_neighbours_are_not_looked_at_where_looks_are_paid_for():
    env = SearchVectorEnv(telling_problem(looks="paid"), num_envs=4)
    with pytest.raises(ValueError, match="paid"):
        make_agent("search", env, context="neighbours").learn(env, 8)


def test_it_says_where_it_does_not_fit(make_bank):
    problem = ClipSelectProblem(BankSource(make_bank()), observation="features")
    env = SelectVectorEnv(problem, num_envs=4)
    with pytest.raises(ValueError, match="VideoClipSearch-v0"):
        make_agent("search", env).learn(env, 8)
    with pytest.raises(ValueError, match="as it goes"):
        evaluate_set(problem, make_agent("search", env))


def evaluate_set(problem, agent):
    agent.select(problem.looks(torch.arange(2)))
