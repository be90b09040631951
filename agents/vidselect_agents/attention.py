"""AS: attention-aware sampling (Dong, Zhang and Tan, AAAI 2019).

Shapes: B contexts, T candidates, D + C values of a candidate's state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidselect_agents.gradients import reinforce_loss
from vidselect_agents.policy_gradient import PolicyGradientAgent, PolicyGradientConfig
from vidselect_agents.scorers.recurrent import BiLSTMScorer
from vidselect_agents.selection import KeepOrDrop
from vidselect_env.envs.choice import BestOf
from vidselect_env.envs.contract import Looks, LookShapes, Needs
from vidselect_env.envs.wrappers import BatchedEnv
from vidselect_env.settings import check_settings


@dataclass(frozen=True, kw_only=True)
class ASConfig(PolicyGradientConfig):
    """AS's settings; the defaults are the paper's where it states them.

    Args:
        beta: weight of the sampling loss (Eq. 9).
        hidden: units of each direction of the BiLSTM.
        samples_per_context: N, episodes on one video (Algorithm 1).
    """

    beta: float = 0.1
    hidden: int = 128
    baseline: str = "moving_average"
    samples_per_context: int = 5
    learning_rate: float = 1e-5
    decay: str = "steps"
    weight_decay: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, at_least={"beta": 0, "hidden": 1})


class AttentionAwareSampling(PolicyGradientAgent):
    """Keeps or drops each candidate from the classifier's features and predictions of all.

    Learns by REINFORCE over N selections of each video, against a moving average of that video's rewards
    (Eq. 8), with a loss that draws the mean probability of keeping towards m / T (Eq. 9). Testing keeps
    the m most probable candidates (Algorithm 2).
    """

    name = "as"
    made_for = Needs(environment="VideoFrameSelect-v0")
    config_class = ASConfig
    config: ASConfig

    def make_scorer(self) -> nn.Module:
        if not isinstance(self.shapes.choice, BestOf):
            raise ValueError(
                f"agent 'as' keeps or drops candidates: it does not fit {self.shapes.choice}; use VideoFrameSelect-v0"
            )
        if self.config.gradient == "all_arms":
            raise ValueError("gradient 'all_arms' needs one choice a section, which 'as' has not")
        if len(self.shapes.candidate_shape) != 1:
            raise ValueError(f"agent 'as' reads features or predictions, not {'+'.join(self.shapes.shown)}")
        return BiLSTMScorer(self.shapes.candidate_shape[-1], hidden=self.config.hidden)

    def policy(self, looks: Looks) -> KeepOrDrop:
        assert isinstance(looks.choice, BestOf)
        valid = looks.valid.to(self.device)
        return KeepOrDrop(self._scores(looks), num_kept=looks.choice.num_kept, valid=valid)

    def loss(self, env: BatchedEnv, policy: KeepOrDrop) -> Tensor:
        actions, advantages = self.play(env, policy)
        assert policy.num_kept is not None
        of_sampling = sampling_loss(policy.probabilities, policy.num_kept, policy.valid.sum(-1))  # Eq. 9
        return reinforce_loss(policy.log_prob(actions), advantages) + self.config.beta * of_sampling  # Eq. 8

    def _scores(self, looks: Looks) -> Tensor:
        """(B, T); what stands for the missing candidates of shorter videos is not read."""
        lengths = None if looks.valid.all() else looks.valid.sum(-1)
        return self.scorer(looks.observation(self.shapes.shown).to(self.device), lengths)

    @torch.no_grad()
    def frame_scores(self, looks: Looks) -> Tensor:
        """Importance of each candidate, (B, T): its probability of being kept, before the sigmoid."""
        self.scorer.eval()
        return self._scores(looks).to(looks.valid.device)

    def select(self, looks: Looks) -> Tensor:
        """The m most probable candidates, m being the tested problem's."""
        return looks.best(self.frame_scores(looks))

    def cost_gmacs(self, shapes: LookShapes) -> float:
        assert isinstance(self.scorer, BiLSTMScorer)
        return self.scorer.gmacs(shapes.num_candidates)


def sampling_loss(probabilities: Tensor, num_kept: int, counts: Tensor) -> Tensor:
    """How far the mean probability of keeping is from m / T (AS, Eq. 9 without beta).

    Args:
        probabilities: (B, T), 0 of a candidate that is not there. num_kept: m. counts: (B,) candidates of each.

    Returns:
        The mean over contexts of the absolute difference.
    """
    return (probabilities.sum(-1) - counts.clamp(max=num_kept)).div(counts).abs().mean()
