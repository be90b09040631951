"""Max response: a light classifier of skims; each section keeps the clip it is surest of.

The rival of DSN's Table I. Shapes: B contexts, M sections, N clips a section, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from vidselect_agents.supervised import ObservationScorer, ObservationScorerConfig
from vidselect_env.datasets.labels import label_shares
from vidselect_env.envs.contract import Answers
from vidselect_env.settings import check_settings


@dataclass(frozen=True, kw_only=True)
class MaxResponseConfig(ObservationScorerConfig):
    """Max response's settings; the light classifier is trained by cross-entropy.

    Args:
        label_smoothing: of the cross-entropy.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, at_least={"label_smoothing": 0}, at_most={"label_smoothing": 1})


class MaxResponse(ObservationScorer):
    """Learns the video's label from each single candidate; never asks the classifier."""

    name = "max_response"
    config_class = MaxResponseConfig
    config: MaxResponseConfig

    @property
    def num_outputs(self) -> int:
        return self.shapes.num_classes

    def saliency(self, outputs: Tensor) -> Tensor:
        """The largest class probability of each candidate."""
        return outputs.softmax(-1).amax(-1)

    def loss_of(self, outputs: Tensor, answers: Answers, valid: Tensor) -> Tensor:
        shares = label_shares(answers.targets.to(self.device))[:, None]
        smoothing = self.config.label_smoothing
        return F.cross_entropy(outputs[valid], shares.expand_as(outputs)[valid], label_smoothing=smoothing)
