"""DSN: dynamic sampling networks (Zheng et al., IEEE TIP 2020), with a frozen classifier (DSN-f) or trained with it.

Shapes: B contexts, M sections, N clips a section.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vidselect_agents.gradients import all_arms_loss, reinforce_loss
from vidselect_agents.joint import ClassifierSteps
from vidselect_agents.policy_gradient import PolicyGradientAgent, PolicyGradientConfig
from vidselect_agents.scorers.candidates import SectionScorer, gmacs_of_observations, make_backbone
from vidselect_agents.scorers.imagenet import load_resnet18
from vidselect_agents.selection import OnePerSection
from vidselect_agents.steps import StepsConfig
from vidselect_env.envs.choice import OneInEach
from vidselect_env.envs.contract import Looks, LookShapes, Needs
from vidselect_env.envs.sources import LiveSource
from vidselect_env.envs.wrappers import BatchedEnv
from vidselect_env.fitting.augmentation import ClipJitter
from vidselect_env.settings import check_settings


@dataclass(frozen=True, kw_only=True)
class DSNConfig(PolicyGradientConfig):
    """DSN's settings; the defaults are those of the default problem.

    Args:
        scorer: backbone of the observation network: auto, r2d18 (the paper's), r2d or mlp.
        scorer_weights: file of torchvision's resnet18 that r2d18 starts with; None for fresh weights.
        samples_per_context: actions tried in each context (the paper's is 1).
        joint: train the classifier too, on the videos themselves (Algorithm 1): a step of it by the selected clips
            (Eq. 5), then one of the scorer. What follows is of that alone.
        classifier_rate: the classifier's largest learning rate, of SGD with momentum 0.9; warm-up and decay are those
            of the scorer.
        classifier_decay: its weight decay (lambda of Eq. 5).
        label_smoothing: of Eq. 5.
        scale_jitter: smallest and largest factor by which frames are enlarged before they are cropped.
        random_crop: crop anywhere in a frame, not in its middle.
        flip: mirror half of the clips; wrong where left and right tell classes apart.
        mixed_precision: bfloat16 where the device is a GPU.
    """

    scorer: str = "auto"
    scorer_weights: str | None = None
    samples_per_context: int = 8
    joint: bool = False
    classifier_rate: float = 1e-3
    classifier_decay: float = 1e-4
    label_smoothing: float = 0.0
    scale_jitter: tuple[float, float] = (1.0, 1.0)
    random_crop: bool = False
    flip: bool = False
    mixed_precision: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(
            self,
            at_least={"classifier_decay": 0, "label_smoothing": 0},
            above={"classifier_rate": 0},
            at_most={"label_smoothing": 1},
        )
        self.jitter()

    def jitter(self) -> ClipJitter:
        """What joint training changes of a clip."""
        return ClipJitter(scales=self.scale_jitter, random_crop=self.random_crop)

    def classifier_steps(self) -> StepsConfig:
        """How joint training trains the classifier."""
        steps = {field.name: getattr(self, field.name) for field in dataclasses.fields(StepsConfig)}
        own = {"optimizer": "sgd", "learning_rate": self.classifier_rate, "weight_decay": self.classifier_decay}
        return StepsConfig(**(steps | own))


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

    def sample(self, policy: OnePerSection, num_samples: int) -> Tensor:
        """The same, where several processes learn: each draws for all contexts, as one would, and takes its own."""
        if self.processes.count == 1:
            return super().sample(policy, num_samples)
        whole = OnePerSection(self.processes.joined(policy.log_probabilities.detach()))
        return super().sample(whole, num_samples)[:, self.processes.part(len(whole.log_probabilities))]

    def learning_beside(self, env: BatchedEnv, *, total: int) -> dict[str, Any]:
        self._classifier: ClassifierSteps | None = None
        if not self.config.joint:
            return {}
        source = env.problem.source
        if not isinstance(source, LiveSource):
            raise ValueError("joint training changes the classifier: it needs a live source, not a bank")
        self._classifier = ClassifierSteps(
            source,
            config=self.config.classifier_steps(),
            total=total,
            jitter=self.config.jitter(),
            flip=self.config.flip,
            label_smoothing=self.config.label_smoothing,
            seed=self.seed,
            processes=self.processes,
        )
        return {"classifier": self._classifier}

    def classification_step(self, env: BatchedEnv, policy: OnePerSection) -> None:
        """Train the classifier by clips that the policy selects (Algorithm 1, lines 6 to 8)."""
        assert self._classifier is not None
        selection = env.problem.selection(env.contexts, self.sample(policy, 1)[0].to(env.device))
        candidates = env.problem.candidates(env.contexts)
        selected = candidates[selection].view(len(candidates), -1)
        loss = self._classifier.step(env.problem.videos(env.contexts), selected)
        self.check_loss(loss)
        self.logger.record_mean("train/classifier_loss", loss.item())

    def loss(self, env: BatchedEnv, policy: OnePerSection) -> Tensor:
        if self.config.joint:
            self.classification_step(env, policy)
        if self.config.gradient == "all_arms":
            arm_rewards = env.full_information().to(self.device)
            self.step(env, policy, self.sample(policy, 1)[0])
            return all_arms_loss(policy, arm_rewards)
        actions, advantages = self.play(env, policy)  # Eq. 6, less that of the most probable clip
        return reinforce_loss(policy.log_prob(actions), advantages)  # Eq. 11

    def cost_gmacs(self, shapes: LookShapes) -> float:
        return gmacs_of_observations(self.scorer.get_submodule("backbone"), shapes, self.shapes.shown)
