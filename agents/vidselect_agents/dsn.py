"""DSN: dynamic sampling networks (Zheng et al., IEEE TIP 2020), with a frozen classifier (DSN-f).

Shapes: B contexts, M sections, N clips a section.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from vidselect_agents.policy_gradient import PolicyGradientAgent, PolicyGradientConfig
from vidselect_agents.scorers.cost import gmacs_of_observations
from vidselect_agents.scorers.sections import SectionScorer, make_backbone
from vidselect_agents.selection import OnePerSection
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.problem import SelectionProblem


@dataclass(frozen=True, kw_only=True)
class DSNConfig(PolicyGradientConfig):
    """DSN's settings; the defaults are those of the default problem.

    Args:
        scorer: backbone of the observation network: auto, r2d18 (the paper's), r2d or mlp.
        samples_per_context: actions tried in each context (the paper's is 1).
    """

    scorer: str = "auto"
    samples_per_context: int = 8


class DSN(PolicyGradientAgent):
    """Scores the clips of each section from a cheap look at them, and keeps one a section.

    Training samples a clip a section, with the reward of the most probable clip as baseline (Eq. 11);
    testing takes the most probable one. One network serves all sections, so M may differ in testing.
    """

    name = "dsn"
    config_class = DSNConfig
    config: DSNConfig

    def make_scorer(self) -> nn.Module:
        problem = self.env.problem
        if not isinstance(problem, ClipSelectProblem):
            raise ValueError(f"agent 'dsn' chooses one clip a section: it does not fit {type(problem).__name__}")
        return SectionScorer(make_backbone(self.config.scorer, problem.observation_space), problem.num_clips)

    def policy(self, observations: Tensor, valid: Tensor | None = None) -> OnePerSection:
        return OnePerSection(self.scorer(observations))

    def scorer_gmacs(self, problem: SelectionProblem) -> float:
        return gmacs_of_observations(self.scorer.get_submodule("backbone"), problem)
