"""References that see what no selector may: the labels and the classifier's answers, given to them openly.

Shapes: B contexts, K candidates a context.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from vidselect_env.envs.contract import Answers, Looks, LookShapes, Needs
from vidselect_env.envs.rewards import label_probability
from vidselect_env.evaluation.hits import nearest_scores


class Reference(ABC):
    """A row of a table that nobody could earn: it chooses by the answers."""

    needs = Needs(fields=())

    @abstractmethod
    def select(self, looks: Looks, answers: Answers) -> Tensor:
        """Which candidates to classify: (B, K) bool."""

    def cost_gmacs(self, shapes: LookShapes) -> float:
        return 0.0


class Oracle(Reference):
    """The candidates with the largest probability of the labels, as far as the choice lets it."""

    def select(self, looks: Looks, answers: Answers) -> Tensor:
        return looks.best(label_probability(answers.probabilities, answers.targets[:, None]))


class Nearest(Reference):
    """The candidates nearest to the action: what perfect localisation is worth.

    Raises:
        ValueError: in `select`: where the action is, is not known.
    """

    def select(self, looks: Looks, answers: Answers) -> Tensor:
        if answers.spans_s is None or answers.action_spans_s is None:
            raise ValueError("'nearest' needs to know where the action is, which this dataset does not say")
        scores = nearest_scores(answers.spans_s, answers.action_spans_s)
        return looks.best(scores.nan_to_num(nan=0.0).to(looks.valid.device))


REFERENCES: dict[str, type[Reference]] = {"oracle": Oracle, "nearest": Nearest}
