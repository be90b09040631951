"""References that see what no selector may: the labels and the classifier's answers, given to them openly.

Shapes: B contexts, K candidates a context.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from vidselect_env.envs.contract import Answers, Looks, LookShapes, Needs
from vidselect_env.envs.rewards import is_correct, label_probability
from vidselect_env.evaluation.bound import fused, right_selection
from vidselect_env.evaluation.hits import nearest_scores


class Reference(ABC):
    """A row of a table that nobody could earn: it chooses by the answers."""

    needs = Needs(fields=())

    @abstractmethod
    def select(self, looks: Looks, answers: Answers) -> Tensor:
        """Which candidates to classify: (B, K) bool."""

    def cost_gmacs(self, shapes: LookShapes) -> float:
        return 0.0


class MostConfident(Reference):
    """The candidates with the largest probability of the labels, as far as the choice lets it.

    The largest may still be too small: it is no bound.
    """

    def select(self, looks: Looks, answers: Answers) -> Tensor:
        return looks.best(label_probability(answers.probabilities, answers.targets[:, None]))


class Oracle(Reference):
    """A selection whose fused prediction is right, wherever the choice allows one: a bound of Top-1.

    No selector that takes one a section, or at most so many, as the choice allows, is right about more videos. It is
    no bound of Top-5 or mAP, nor of what takes more (`dense`). Where several selections are right, it takes that of
    `most_confident` if it is among them, and else one of as many clips as may be.
    """

    def select(self, looks: Looks, answers: Answers) -> Tensor:
        selection = MostConfident().select(looks, answers)
        right = is_correct(
            fused(answers.probabilities, selection & looks.valid, looks.valid, dropped=answers.dropped_weight),
            answers.targets,
        )
        parts = looks.choice.limits(looks.valid.shape[1])
        for row in (~right).nonzero().flatten().tolist():
            found = right_selection(
                answers.probabilities[row].cpu(),
                answers.targets[row].cpu(),
                valid=looks.valid[row].cpu(),
                limits=parts,
                dropped=answers.dropped_weight,
            )
            if found is not None:
                selection[row] = found.to(selection.device)
        return selection


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


REFERENCES: dict[str, type[Reference]] = {
    "oracle": Oracle,
    "most_confident": MostConfident,
    "nearest": Nearest,
}
