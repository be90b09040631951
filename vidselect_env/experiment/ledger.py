"""What recognition took: what was looked at and classified, in multiply-adds and milliseconds, beside doing it all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from vidselect_env.envs.contract import Looks, LookShapes, Needs
from vidselect_env.experiment.config import ProblemConfig
from vidselect_env.experiment.problems import environment_of, observation_of
from vidselect_env.experiment.windows import Decision, milliseconds_of


class Dense:
    """Takes every candidate, and looks at none."""

    needs = Needs(fields=())

    def select(self, looks: Looks) -> Tensor:
        return looks.valid

    def cost_gmacs(self, shapes: LookShapes) -> float:
        return 0.0


def dense_problem(problem: ProblemConfig, needs: Needs) -> ProblemConfig:
    """The problem of a selector with these needs, for one that has none of its own: the same candidates."""
    return replace(problem, environment=environment_of(problem, needs), observation=observation_of(problem, needs))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Ledger:
    """What the decisions about one video took.

    num_candidates: that were looked at; num_classified: of these; dense_gmacs: of classifying all of them.
    looking_gmacs, classifying_gmacs: multiply-adds in units of 1e9.
    milliseconds: of `look`, `score`, `decode`, `classify`.
    """

    num_candidates: int
    num_classified: int
    looking_gmacs: float
    classifying_gmacs: float
    dense_gmacs: float
    milliseconds: dict[str, float]

    @classmethod
    def of(cls, decisions: Sequence[Decision]) -> Ledger:
        """Added up over the windows that were recognised."""
        each = [decision.found for decision in decisions if decision.found is not None]
        return cls(
            num_candidates=sum(found.num_candidates for found in each),
            num_classified=sum(len(found.classified) for found in each),
            looking_gmacs=sum(found.looking_gmacs for found in each),
            classifying_gmacs=sum(found.clip_gmacs * len(found.classified) for found in each),
            dense_gmacs=sum(found.clip_gmacs * found.num_candidates for found in each),
            milliseconds=milliseconds_of(decisions),
        )

    @property
    def gmacs(self) -> float:
        return self.looking_gmacs + self.classifying_gmacs

    def __str__(self) -> str:
        relative = self.gmacs / self.dense_gmacs if self.dense_gmacs else float("nan")
        spent = f"{self.looking_gmacs:.3g} GMACs to choose and {self.classifying_gmacs:.4g} to classify"
        return (
            f"{self.num_classified} of {self.num_candidates} clips classified; {spent}; dense {self.dense_gmacs:.4g}: "
            f"{relative:.2f} of its cost"
        )


def compared(chosen: Sequence[Decision], dense: Sequence[Decision]) -> str:
    """What choosing saves of the milliseconds, and how often both say the same, in one line."""
    mine, theirs = (sum(milliseconds_of(each).values()) for each in (chosen, dense))
    pairs = [(one, other) for one, other in zip(chosen, dense, strict=True) if one.found and other.found]
    same = sum(one.label == other.label for one, other in pairs)
    spent = ", ".join(f"{name} {value:.0f}" for name, value in milliseconds_of(dense).items())
    return (
        f"dense: milliseconds: {spent}; {theirs:.0f} in all, choosing took {mine:.0f} ({mine / theirs:.2f} of it); "
        f"the same class in {same} of {len(pairs)}"
    )
