"""`plackett_luce`: draws a set of clips without replacement, and learns from what their fused prediction is worth.

Shapes: B contexts, K candidates a context, m of them kept, S samples.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidselect_agents.gradients import reinforce_loss
from vidselect_agents.policy_gradient import PolicyGradientAgent, PolicyGradientConfig
from vidselect_agents.scorers.candidates import CONTEXTS, NeighbourScorer, gmacs_of_observations, make_backbone
from vidselect_agents.selection import Selection, WithoutReplacement
from vidselect_env.envs.choice import BestOf
from vidselect_env.envs.contract import Looks, LookShapes, Needs
from vidselect_env.envs.rewards import REWARDS
from vidselect_env.envs.wrappers import BatchedEnv

MOST_SETS = 1000  # that `all_arms` sums over: 2 of 45 candidates, 3 of 19


@dataclass(frozen=True, kw_only=True)
class PlackettLuceConfig(PolicyGradientConfig):
    """Settings of `plackett_luce`; the defaults were chosen on validation videos of the default problem.

    Args:
        scorer: backbone of the observation network: auto, r2d18, r2d or mlp, as DSN's.
        context: what a candidate's score is made of: its own look (own), or also its neighbours' and where in the
            video it lies (neighbours).
        reward: of VideoFrameSelect-v0 that it learns from, where the problem does not say another.
        log_probability: of the set that was drawn, over all its orders, or of the order alone.
        gradient: reinforce, or all_arms: the expectation over every set, where there are at most 1000.
    """

    scorer: str = "auto"
    context: str = "neighbours"
    reward: str = "gain"
    log_probability: str = "set"
    baseline: str = "leave_one_out"
    samples_per_context: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.context not in CONTEXTS:
            raise ValueError(f"context ({self.context!r}) must be {' or '.join(CONTEXTS)}")
        if self.log_probability not in ("set", "order"):
            raise ValueError(f"log_probability ({self.log_probability!r}) must be set or order")
        if self.reward not in REWARDS:
            raise ValueError(f"reward ({self.reward!r}) must be one of {', '.join(REWARDS)}")


class PlackettLuce(PolicyGradientAgent):
    """Scores every candidate, and keeps the m of largest score; in training, of largest noisy score.

    With Gumbel noise that is sampling without replacement from the softmax of the scores (Plackett and Luce; Kool
    et al., 2019). One reward comes for the whole set, so what a clip is worth depends on the others: OCSampler's
    setting (Lin et al., 2022), with `gain` its kind of reward.
    """

    name = "plackett_luce"
    made_for = Needs(environment="VideoFrameSelect-v0", observation="skim")
    config_class = PlackettLuceConfig
    config: PlackettLuceConfig

    @classmethod
    def needs_with(cls, config: PlackettLuceConfig) -> Needs:
        return dataclasses.replace(cls.made_for, reward=config.reward)

    def make_scorer(self) -> nn.Module:
        choice = self.shapes.choice
        if not isinstance(choice, BestOf):
            raise ValueError(f"agent 'plackett_luce' keeps the best of all: it does not fit {choice}")
        backbone = make_backbone(self.config.scorer, self.shapes.observation_space)
        if self.config.context == "neighbours":
            return NeighbourScorer(backbone)
        return nn.Sequential(backbone, nn.Linear(int(backbone.feature_dim), 1))  # type: ignore[arg-type]

    def policy(self, looks: Looks) -> WithoutReplacement:
        assert isinstance(looks.choice, BestOf)
        observations = looks.observation(self.shapes.shown).to(self.device)
        valid = looks.valid.to(self.device)
        if isinstance(self.scorer, NeighbourScorer):
            scores = self.scorer(observations, looks.places.to(self.device), valid)
        else:
            scores = self.scorer(observations.flatten(0, 1)).view(observations.shape[:2])
        return WithoutReplacement(
            scores,
            num_kept=looks.choice.num_kept,
            valid=valid,
            of_order=self.config.log_probability == "order",
        )

    @torch.no_grad()
    def scores(self, looks: Looks) -> Tensor:
        """Of every candidate, (B, K)."""
        self.scorer.eval()
        return self.policy(looks).scores.to(looks.valid.device)

    def select(self, looks: Looks) -> Tensor:
        """The candidates of largest score, as many as the tested problem keeps."""
        return looks.best(self.scores(looks))

    def loss(self, env: BatchedEnv, policy: WithoutReplacement) -> Tensor:
        if self.config.gradient == "all_arms":
            sets = self._every_set(policy)
            rewards = env.decision_rewards(sets.to(env.device)).to(self.device)
            self.step(env, policy, policy.sample(1, self.generator)[0])
            return -(policy.log_prob(sets).exp() * rewards).sum(0).mean()
        actions, advantages = self.play(env, policy)
        return reinforce_loss(policy.log_prob(actions), advantages)

    def step(self, env: BatchedEnv, policy: Selection, actions: Tensor) -> Tensor:
        return super().step(env, policy, actions.clamp(max=1))  # an action that says the order is kept here

    def _every_set(self, policy: WithoutReplacement) -> Tensor:
        """(S, B, K) int8, all sets of m candidates."""
        num_contexts, num_candidates = policy.scores.shape
        if (number := math.comb(num_candidates, policy.num_kept)) > MOST_SETS or not policy.valid.all():
            raise ValueError(
                f"gradient 'all_arms' sums over all sets: {policy.num_kept} of {num_candidates} candidates make "
                f"{number}, and it takes at most {MOST_SETS}, of videos that have equally many; use gradient=reinforce"
            )
        members = torch.tensor(list(itertools.combinations(range(num_candidates), policy.num_kept)))
        sets = torch.zeros(number, num_candidates, dtype=torch.int8).scatter_(1, members, 1)
        return sets[:, None].expand(-1, num_contexts, -1).to(self.device)

    def cost_gmacs(self, shapes: LookShapes) -> float:
        if not isinstance(self.scorer, NeighbourScorer):
            return gmacs_of_observations(self.scorer, shapes, self.shapes.shown)
        of_looks = gmacs_of_observations(self.scorer.backbone, shapes, self.shapes.shown)
        return of_looks + self.scorer.gmacs(shapes.num_candidates)
