"""Max response: a light classifier of skims; each section keeps the clip it is surest of.

The rival of DSN's Table I. Shapes: B contexts, M sections, N clips a section, C classes.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from vidselect_agents.supervised import ObservationScorer
from vidselect_env.datasets.labels import label_shares
from vidselect_env.envs.contract import Answers


class MaxResponse(ObservationScorer):
    """Learns the video's label from each single candidate; never asks the classifier."""

    name = "max_response"

    @property
    def num_outputs(self) -> int:
        return self.shapes.num_classes

    def saliency(self, outputs: Tensor) -> Tensor:
        """The largest class probability of each candidate."""
        return outputs.softmax(-1).amax(-1)

    def loss_of(self, outputs: Tensor, answers: Answers, valid: Tensor) -> Tensor:
        shares = label_shares(answers.targets.to(self.device))[:, None]
        return F.cross_entropy(outputs[valid], shares.expand_as(outputs)[valid])
