"""`truth_spans`: taught where the action is by spans that a person marked: an upper bound, not a method.

Shapes: B contexts, K candidates a context.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from vidselect_agents.supervised import ObservationScorer
from vidselect_env.envs.contract import Answers, Needs
from vidselect_env.evaluation.hits import is_known, overlaps_action


class TruthSpans(ObservationScorer):
    """Scores each candidate by itself, by cross-entropy with whether it shows the action.

    It needs what the users of a classifier do not have, and is told what reward may only hint at: what such a network
    can learn from these looks. It does not know which clips of the action the classifier gets wrong.
    """

    name = "truth_spans"
    made_for = Needs(environment="VideoFrameSelect-v0", observation="skim")

    @property
    def num_outputs(self) -> int:
        return 1

    def saliency(self, outputs: Tensor) -> Tensor:
        return outputs.squeeze(-1)

    def loss_of(self, outputs: Tensor, answers: Answers, valid: Tensor) -> Tensor:
        if answers.spans_s is None or answers.action_spans_s is None:
            raise ValueError("agent 'truth_spans' needs to know where the action is, which this dataset does not say")
        shown = overlaps_action(answers.spans_s, answers.action_spans_s).to(self.device)
        counts = valid & is_known(answers.action_spans_s).to(self.device)[:, None]
        scores = self.saliency(outputs)
        return F.binary_cross_entropy_with_logits(scores[counts], shown[counts].to(scores.dtype))
