"""Ranking: a scorer of skims taught the order of the classifier's certainty, without reward or sampling.

The supervised rival of selection by reinforcement in recent work (after SOSampler).
Shapes: B contexts, K candidates a context.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vidselect_agents.ranking_losses import weighted_ranking_loss
from vidselect_agents.supervised import ObservationScorer, ObservationScorerConfig
from vidselect_env.envs.contract import Answers, Needs
from vidselect_env.envs.rewards import label_probability
from vidselect_env.settings import check_settings

WORTHS = ("largest_logit", "label")


@dataclass(frozen=True, kw_only=True)
class RankingConfig(ObservationScorerConfig):
    """Ranking's settings.

    Args:
        worth: what candidates are ordered by, and pairs weighted by the difference of: the classifier's
            largest_logit, or its probability of the label.
        margin: the lead that the worthier of a pair is asked for.
    """

    worth: str = "largest_logit"
    margin: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.worth not in WORTHS:
            raise ValueError(f"worth ({self.worth!r}) must be one of {', '.join(WORTHS)}")
        check_settings(self, at_least={"margin": 0})


class Ranking(ObservationScorer):
    """Scores each candidate by itself; all pairs of a video's candidates teach it their order."""

    name = "ranking"
    made_for = Needs(environment="VideoFrameSelect-v0", observation="skim")
    config_class = RankingConfig
    config: RankingConfig

    @property
    def num_outputs(self) -> int:
        return 1

    def saliency(self, outputs: Tensor) -> Tensor:
        return outputs.squeeze(-1)

    def loss_of(self, outputs: Tensor, answers: Answers, valid: Tensor) -> Tensor:
        if self.config.worth == "label":
            worth = label_probability(answers.probabilities, answers.targets[:, None])
        else:
            assert answers.logits is not None
            worth = answers.logits.amax(-1)
        scores = self.saliency(outputs)
        return weighted_ranking_loss(scores, worth.to(self.device), margin=self.config.margin, valid=valid)
