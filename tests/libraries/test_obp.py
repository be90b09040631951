"""The Open Bandit Pipeline's estimators on our logs give our numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.envs.wrappers import LogInteractions, load_interactions
from vidselect_env.evaluation import offpolicy

ope = pytest.importorskip("obp.ope", reason="the Open Bandit Pipeline is not installed")


@pytest.fixture(scope="module")
def feedback(make_bank, tmp_path_factory):
    """The log of a policy that takes the first clip of a section with probability 0.6, each other with 0.2."""
    problem = ClipSelectProblem(BankSource(make_bank(num_videos=50)), observation="features", penalty=0.0)
    path = tmp_path_factory.mktemp("log") / "log.npz"
    env = LogInteractions(SelectVectorEnv(problem, num_envs=32), path)
    env.reset(seed=0)
    generator, odds = torch.Generator().manual_seed(0), torch.tensor([0.6, 0.2, 0.2])
    for _ in range(10):
        actions = torch.multinomial(odds.expand(32 * 6, -1), 1, generator=generator).view(32, 6)
        env.step(actions, propensities=odds[actions])
    env.write()
    return load_interactions(path)


@pytest.fixture(scope="module")
def policy(feedback):
    return np.tile([0.1, 0.2, 0.7], (feedback["n_rounds"], 1))


@pytest.fixture(scope="module")
def predicted(feedback):
    """Its regression model's rewards, which it learns from `context`: (R, N, 1)."""
    from sklearn.linear_model import Ridge

    model = ope.RegressionModel(n_actions=feedback["n_actions"], base_model=Ridge())
    given = {name: feedback[name] for name in ("context", "action", "reward", "position", "pscore")}
    return model.fit_predict(**given, n_folds=2, random_state=0)


def test_its_regression_learns_from_our_contexts(feedback, predicted):
    truth = feedback["expected_reward"][..., 0]
    error = np.abs(predicted[..., 0] - truth).mean()
    assert error < np.abs(truth.mean() - truth).mean()  # of who knows the mean alone


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
def test_its_estimates_are_ours(feedback, policy, predicted, name):
    theirs = {
        "ips": ope.InverseProbabilityWeighting,
        "snips": ope.SelfNormalizedInverseProbabilityWeighting,
        "dr": ope.DoublyRobust,
    }[name]()
    given = {name: feedback[name] for name in ("reward", "action", "pscore", "position")}
    estimated = theirs.estimate_policy_value(
        **given, action_dist=policy[..., None], estimated_rewards_by_reg_model=predicted
    )
    reward = feedback["reward"]
    weights = offpolicy.importance_weights(feedback["action"], feedback["pscore"], policy)
    ours = {
        "ips": lambda: offpolicy.inverse_propensity_score(reward, weights),
        "snips": lambda: offpolicy.self_normalised(reward, weights),
        "dr": lambda: offpolicy.doubly_robust(
            reward, weights, action=feedback["action"], policy=policy, predicted=predicted[..., 0]
        ),
    }[name]()
    assert estimated == pytest.approx(ours, rel=1e-5)


def test_its_summary_of_all_estimators_takes_the_dictionary_as_it_is(feedback, policy, predicted):
    evaluation = ope.OffPolicyEvaluation(
        bandit_feedback=feedback, ope_estimators=[ope.InverseProbabilityWeighting(), ope.DirectMethod()]
    )
    values = evaluation.estimate_policy_values(action_dist=policy[..., None], estimated_rewards_by_reg_model=predicted)
    truth = offpolicy.true_value(policy, feedback["expected_reward"])
    assert values["dm"] == pytest.approx(truth, abs=0.1)
