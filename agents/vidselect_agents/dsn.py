"""DSN: dynamic sampling networks (Zheng et al., IEEE TIP 2020), with a frozen classifier (DSN-f).

Shapes: B contexts, M sections, N clips a section.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from torch import Tensor, nn

from vidselect_agents.gradients import all_arms_loss, reinforce_loss
from vidselect_agents.policy_gradient import PolicyGradientAgent, PolicyGradientConfig
from vidselect_agents.scorers.candidates import SectionScorer, gmacs_of_observations, make_backbone
from vidselect_agents.scorers.imagenet import load_resnet18
from vidselect_agents.selection import OnePerSection
from vidselect_env.envs.choice import OneInEach
from vidselect_env.envs.contract import Looks, LookShapes, Needs
from vidselect_env.envs.wrappers import BatchedEnv


@dataclass(frozen=True, kw_only=True)
class DSNConfig(PolicyGradientConfig):
    """DSN's settings; the defaults are those of the default problem.

    Args:
        scorer: backbone of the observation network: auto, r2d18 (the paper's), r2d or mlp.
        scorer_weights: file of torchvision's resnet18 that r2d18 starts with; None for fresh weights.
        samples_per_context: actions tried in each context (the paper's is 1).
    """

    scorer: str = "auto"
    scorer_weights: str | None = None
    samples_per_context: int = 8


class DSN(PolicyGradientAgent):
    """Scores the clips of each section from a cheap look at them, and keeps one a section.

    Training samples a clip a section, with the reward of the most probable clip as baseline (Eq. 11);
    testing takes the most probable one. One network serves all sections, so M may differ in testing.
    """

    name = "dsn"
    made_for = Needs(environment="VideoClipSelect-v0")
    config_class = DSNConfig
    config: DSNConfig

    def make_scorer(self) -> nn.Module:
        choice = self.shapes.choice
        if not isinstance(choice, OneInEach):
            raise ValueError(f"agent 'dsn' chooses one clip a section: it does not fit {choice}")
        backbone = make_backbone(self.config.scorer, self.shapes.observation_space)
        if self.config.scorer_weights is not None:
            load_resnet18(backbone, self.config.scorer_weights)
        return SectionScorer(backbone, choice.num_clips)

    @classmethod
    def reloaded(cls, config: DSNConfig) -> DSNConfig:
        return dataclasses.replace(config, scorer_weights=None)

    def policy(self, looks: Looks) -> OnePerSection:
        """P of Eq. 3: a softmax over the scores of each section's clips."""
        return OnePerSection(self.scorer(looks.observation(self.shapes.shown).to(self.device)))

    def scores(self, looks: Looks) -> Tensor:
        """Log-probability of each clip in its section, (B, K)."""
        self.scorer.eval()
        return self.policy(looks).log_probabilities.detach().flatten(1)

    def loss(self, env: BatchedEnv, policy: OnePerSection) -> Tensor:
        if self.config.gradient == "all_arms":
            arm_rewards = env.full_information().to(self.device)
            self.step(env, policy, policy.sample(1, self.generator)[0])
            return all_arms_loss(policy, arm_rewards)
        actions, advantages = self.play(env, policy)  # Eq. 6, less that of the most probable clip
        return reinforce_loss(policy.log_prob(actions), advantages)  # Eq. 11

    def cost_gmacs(self, shapes: LookShapes) -> float:
        return gmacs_of_observations(self.scorer.get_submodule("backbone"), shapes, self.shapes.shown)
