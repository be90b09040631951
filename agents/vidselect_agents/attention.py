"""AS: attention-aware sampling (Dong, Zhang and Tan, AAAI 2019).

Shapes: B contexts, T candidates, D + C values of a candidate's state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidselect_agents.policy_gradient import PolicyGradientAgent, PolicyGradientConfig
from vidselect_agents.scorers.recurrent import BiLSTMScorer
from vidselect_agents.selection import KeepOrDrop, Selection
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.problem import SelectionProblem

NEVER = -1e4  # the score of what cannot be kept: its probability is 0 in float32, and its entropy too


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


class AttentionAwareSampling(PolicyGradientAgent):
    """Keeps or drops each candidate from the classifier's features and predictions of all.

    Learns by REINFORCE over N selections of each video, against a moving average of that video's rewards
    (Eq. 8), with a loss that draws the mean probability of keeping towards m / T (Eq. 9). Testing keeps
    the m most probable candidates (Algorithm 2).
    """

    name = "as"
    environment = "VideoFrameSelect-v0"
    config_class = ASConfig
    config: ASConfig

    @property
    def problem(self) -> FrameSelectProblem:
        problem = self.env.problem
        if not isinstance(problem, FrameSelectProblem):
            raise ValueError(
                f"agent 'as' keeps or drops candidates: it does not fit {type(problem).__name__}; "
                "use VideoFrameSelect-v0"
            )
        return problem

    def make_scorer(self) -> nn.Module:
        return BiLSTMScorer((self.problem.observation_space.shape or ())[-1], hidden=self.config.hidden)

    def policy(self, observations: Tensor, valid: Tensor | None = None) -> KeepOrDrop:
        if valid is None:  # observations do not tell where a video ends
            valid = self.problem.valid(self.unknown_contexts(len(observations)))
        return KeepOrDrop(self._scores(observations, valid.to(self.device)), num_kept=self.problem.num_kept)

    def auxiliary_loss(self, selection: Selection) -> Tensor:
        assert isinstance(selection, KeepOrDrop)
        counts = (selection.scores > NEVER).sum(-1)
        return self.config.beta * sampling_loss(selection.probabilities, self.problem.num_kept, counts)

    def _scores(self, observations: Tensor, valid: Tensor) -> Tensor:
        """(B, T); what stands for the missing candidates of shorter videos is not read, and is never kept."""
        lengths = None if valid.all() else valid.sum(-1)
        return self.scorer(observations, lengths).masked_fill(~valid, NEVER)

    @torch.no_grad()
    def frame_scores(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        """Importance of each candidate, (B, T): its probability of being kept, before the sigmoid."""
        self.scorer.eval()
        valid = problem.valid(contexts).to(self.device)
        return self._scores(problem.observe(contexts).to(self.device), valid).to(contexts.device)

    def select(self, problem: SelectionProblem, contexts: Tensor) -> Tensor:
        """The m most probable candidates, m being the tested problem's."""
        return problem.best(contexts, self.frame_scores(problem, contexts))

    def scorer_gmacs(self, problem: SelectionProblem) -> float:
        assert isinstance(problem, FrameSelectProblem)
        assert isinstance(self.scorer, BiLSTMScorer)
        return self.scorer.gmacs(problem.num_frames)


def sampling_loss(probabilities: Tensor, num_kept: int, counts: Tensor) -> Tensor:
    """How far the mean probability of keeping is from m / T (AS, Eq. 9 without beta).

    Args:
        probabilities: (B, T), 0 of a candidate that is not there. num_kept: m. counts: (B,) candidates of each.

    Returns:
        The mean over contexts of the absolute difference.
    """
    return (probabilities.sum(-1) - counts.clamp(max=num_kept)).div(counts).abs().mean()
