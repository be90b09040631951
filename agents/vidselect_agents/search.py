"""`search`: looks at the candidates, classifies one after another, and stops when another is not worth its price.

Actor-critic on VideoClipSearch-v0. Shapes: B sub-environments, T steps of a rollout, K candidates, C classes.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from vidselect_agents.base import Agent, Callback
from vidselect_agents.gradients import clipped_loss, generalised_advantages
from vidselect_agents.ranking_losses import expected_worth_loss
from vidselect_agents.rollouts import PARTS, Rollout, joined, rows_of
from vidselect_agents.scorers.candidates import CONTEXTS, gmacs_of_observations, make_backbone
from vidselect_agents.scorers.search import Decision, LookNetwork, SearchNetwork
from vidselect_env.envs.contract import Looks, LookShapes, Needs
from vidselect_env.envs.rewards import label_probability
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.envs.search.state import SearchView
from vidselect_env.envs.wrappers import BatchedEnv
from vidselect_env.seeding import seeded
from vidselect_env.settings import check_settings


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Settings of `search`.

    Args:
        scorer: the backbone that looks at a candidate: auto, r2d18, r2d or mlp, as DSN's.
        context: what the guess at a candidate's worth is made from: its own look (own), or also its neighbours' and
            where in the video it lies (neighbours).
        width: of the deciding network.
        looking_steps: videos on which it first learns to look, a step each; at most half of all steps.
        folds: of the training videos. The decisions are learned on guesses of networks that have not seen the video,
            which are as good as those in testing; with 1 fold, on those of the network that learned from it.
        rollout_steps: T, of every sub-environment between two updates.
        epochs: passes over a rollout. minibatches: of each pass.
        discount: gamma. trace: lambda of the advantages.
        clip: of the probability ratio.
        value_coefficient: weight of the value's squared error.
        entropy_coefficient: weight of the policy's entropy, in nats; it falls to nothing.
        learning_rate: Adam's, decayed to zero by a cosine. weight_decay: Adam's, of looking.
        max_gradient_norm: larger gradients are scaled down to it.
    """

    scorer: str = "auto"
    context: str = "own"
    width: int = 64
    looking_steps: int = 6_400
    folds: int = 2
    rollout_steps: int = 16
    epochs: int = 4
    minibatches: int = 4
    discount: float = 1.0
    trace: float = 0.95
    clip: float = 0.2
    value_coefficient: float = 0.5
    entropy_coefficient: float = 0.01
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    max_gradient_norm: float = 0.5

    def __post_init__(self) -> None:
        if self.context not in CONTEXTS:
            raise ValueError(f"context ({self.context!r}) must be {' or '.join(CONTEXTS)}")
        counts = ("width", "folds", "rollout_steps", "epochs", "minibatches")
        amounts = ("looking_steps", "discount", "trace", "value_coefficient", "entropy_coefficient", "weight_decay")
        check_settings(
            self,
            at_least=dict.fromkeys(counts, 1) | dict.fromkeys(amounts, 0),
            above=dict.fromkeys(("clip", "learning_rate", "max_gradient_norm"), 0),
            at_most=dict.fromkeys(("discount", "trace"), 1),
        )


class Search(Agent):
    """Learns to look by supervision, and then where to look closer, and when it is enough, by reinforcement.

    What a candidate's look is worth is learned from what the classifier said of every candidate of the training
    videos. It is then left as it is: all looks are looked at once, and the deciding network knows of each the guess.
    """

    name = "search"
    made_for = Needs(environment="VideoClipSearch-v0")
    config_class = SearchConfig
    config: SearchConfig

    def __init__(
        self, shapes: LookShapes, *, config: Any = None, seed: int = 0, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__(shapes, config=config, seed=seed, device=device)
        with seeded(seed, self.device):
            backbone = make_backbone(self.config.scorer, shapes.observation_space)
            around = self.config.context == "neighbours"
            self.looking = LookNetwork(backbone, neighbours=around).to(self.device)
            self.deciding = SearchNetwork(shapes.num_classes, width=self.config.width).to(self.device)
        self._of_fold: list[LookNetwork] = []  # who guesses at the training videos of each, once it has learned to

    def modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"looking": self.looking, "deciding": self.deciding})

    # What a searcher does.

    def begin(self, view: SearchView) -> Tensor:
        return self.scores(view.looks)

    @torch.no_grad()
    def next(self, view: SearchView, memory: Tensor) -> tuple[Tensor, Tensor]:
        self._check_paid(view.is_paid)
        guesses = self.scores(view.looks) if view.is_paid else memory
        return self.deciding(guesses, self._here(view)).logits.argmax(-1), guesses

    @torch.no_grad()
    def scores(self, looks: Looks) -> Tensor:
        """How sure of the label it guesses the classifier to be at each candidate, (B, K): an order for a rule."""
        self.looking.eval()
        return self.looking(*self._seen(looks))

    def _seen(self, looks: Looks) -> tuple[Tensor, Tensor, Tensor]:
        """What a `LookNetwork` takes."""
        parts = looks.observation(self.shapes.shown), looks.places, looks.valid
        observations, places, valid = (part.to(self.device) for part in parts)
        return observations, places, valid

    def cost_gmacs(self, shapes: LookShapes) -> float:
        of_looks = gmacs_of_observations(self.looking.backbone, shapes, self.shapes.shown)
        return of_looks + self.looking.gmacs(shapes.num_candidates)

    def step_gmacs(self, shapes: LookShapes) -> float:
        return self.deciding.gmacs(shapes.num_candidates)

    def select(self, looks: Looks) -> Tensor:
        raise ValueError("'search' needs the classifier's answers as it goes: use next(view), or evaluate()")

    # How it learns.

    def learn(
        self, env: BatchedEnv, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False
    ) -> Agent:
        if not isinstance(env.problem, SearchProblem):
            raise ValueError(f"agent 'search' learns on {self.made_for.environment}, not on {env.problem.environment}")
        self._check_paid(env.problem.is_paid)
        config, end = self.config, self.num_timesteps + total_timesteps
        with tqdm(total=total_timesteps, desc=self.name, unit="step", unit_scale=True, disable=not progress_bar) as bar:
            if not self._of_fold:
                self._learn_to_look(env, min(config.looking_steps, total_timesteps // 2), bar)
            guesses = self._guess_all(env)
            optimizer = torch.optim.Adam(self.deciding.parameters(), lr=config.learning_rate, eps=1e-5)
            env.reset(seed=self.seed)
            begun = self.num_timesteps
            while self.num_timesteps < end:
                done = (self.num_timesteps - begun) / (end - begun)
                left = 0.5 * (1 + math.cos(math.pi * done))
                optimizer.param_groups[0]["lr"] = config.learning_rate * left
                rollout = self._roll_out(env, guesses)
                self._improve(rollout, guesses, optimizer, entropy_coefficient=config.entropy_coefficient * left)
                self._count(rollout.actions.numel(), bar)
                if callback is not None and not callback(self):
                    break
        return self

    def undecided(self) -> Search:
        """An agent that looks as this one does, guesses of its folds included, and has yet to learn to decide."""
        other = Search(self.shapes, config=self.config, seed=self.seed, device=self.device)
        other.looking = copy.deepcopy(self.looking)
        other._of_fold = [copy.deepcopy(network) for network in self._of_fold]
        return other

    def _learn_to_look(self, env: BatchedEnv, num_steps: int, bar: Any) -> None:
        """Prefer, by looks, those of a video's candidates where the classifier gives the labels most probability."""
        folds = self.config.folds
        networks = [self.looking, *(copy.deepcopy(self.looking) for _ in range(folds if folds > 1 else 0))]
        optimizers = [
            torch.optim.Adam(network.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay)
            for network in networks
        ]
        stops = torch.full((env.num_envs,), self.shapes.num_candidates, device=env.device)
        env.reset(seed=self.seed)
        for update in range(num_steps // env.num_envs):
            left = 0.5 * (1 + math.cos(math.pi * update * env.num_envs / num_steps))
            looks, answers = env.looks(), env.answers()
            worth = label_probability(answers.probabilities, answers.targets[:, None]).clamp(0, 1).to(self.device)
            seen, fold = self._seen(looks), env.contexts.to(self.device) % folds
            for number, (network, optimizer) in enumerate(zip(networks, optimizers, strict=True)):
                optimizer.param_groups[0]["lr"] = self.config.learning_rate * left
                theirs = fold != number - 1  # the first learns from all
                if not theirs.any():
                    continue
                network.train()
                guesses = network(*(part[theirs] for part in seen))
                loss = expected_worth_loss(guesses, worth[theirs], valid=seen[-1][theirs])
                self._descend(loss, network, optimizer)
                if number == 0:
                    self.logger.record_mean("train/look_loss", loss.item())
            self._count(env.num_envs, bar)
            env.step(stops)
        self._of_fold = networks[1:] or networks

    @torch.no_grad()
    def _guess_all(self, env: BatchedEnv) -> Tensor:
        """Guesses at every context, (contexts, K), each of a network that has not seen it."""
        for network in self._of_fold:
            network.eval()
        found: list[Tensor] = []
        for looks, _ in env.every_context(self.shapes.shown, batch_size=64):
            each = torch.stack([network(*self._seen(looks)) for network in self._of_fold])
            contexts = torch.arange(len(found) * 64, len(found) * 64 + len(looks), device=self.device)
            found.append(each[contexts % len(each), torch.arange(len(looks), device=self.device)])
        return torch.cat(found)

    @torch.no_grad()
    def _roll_out(self, env: Any, guesses: Tensor) -> Rollout:
        """T steps of every sub-environment, by the policy as it is."""
        steps: list[tuple[Tensor, ...]] = []
        views, values = [], []
        for _ in range(self.config.rollout_steps):
            contexts, view = env.contexts.to(self.device), self._here(env.view(()))
            decision: Decision = self.deciding(guesses[contexts], view)
            probabilities = decision.policy.probs
            actions = torch.multinomial(probabilities, 1, generator=self.generator)[:, 0]
            _, rewards, ended, _, _ = env.step(actions.to(env.device))
            log_prob = decision.policy.log_prob(actions)
            steps.append((contexts, actions, log_prob, rewards.to(self.device), ended.to(self.device)))
            views.append(view)
            values.append(decision.values)
        last = self.deciding(guesses[env.contexts.to(self.device)], self._here(env.view(()))).values
        contexts, actions, log_prob, rewards, ended = (torch.stack(each) for each in zip(*steps, strict=True))
        value = torch.stack([*values, last])
        advantages = generalised_advantages(
            rewards, value, ended, discount=self.config.discount, trace=self.config.trace
        )
        return Rollout(
            joined(views),
            contexts.flatten(),
            actions.flatten(),
            log_prob.flatten(),
            advantages.flatten(),
            (advantages + value[:-1]).flatten(),
        )

    def _improve(
        self, rollout: Rollout, guesses: Tensor, optimizer: torch.optim.Optimizer, *, entropy_coefficient: float
    ) -> None:
        config, count = self.config, len(rollout.actions)
        for _ in range(config.epochs):
            shuffled = torch.randperm(count, generator=self.generator, device=self.device)
            for rows in shuffled.chunk(config.minibatches):
                decision: Decision = self.deciding(guesses[rollout.contexts[rows]], rows_of(rollout.view, rows))
                advantages = rollout.advantages[rows]
                advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-6)
                log_prob = decision.policy.log_prob(rollout.actions[rows])
                surrogate = clipped_loss(log_prob, rollout.log_prob[rows], advantages, clip=config.clip)
                value_loss = F.mse_loss(decision.values, rollout.returns[rows])
                entropy = _entropy(decision.logits).mean()
                loss = surrogate + config.value_coefficient * value_loss - entropy_coefficient * entropy
                self._descend(loss, self.deciding, optimizer)
        for name, value in (("loss", surrogate), ("value_loss", value_loss), ("entropy", entropy)):
            self.logger.record_mean(f"train/{name}", value.item())

    def _descend(self, loss: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.check_loss(loss)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), self.config.max_gradient_norm)
        optimizer.step()

    def _check_paid(self, is_paid: bool) -> None:
        if is_paid and self.config.context != "own":
            raise ValueError(
                "context 'neighbours' looks at clips that are not paid for: looks='paid' needs context='own'"
            )

    def _count(self, num_steps: int, bar: Any) -> None:
        self.num_timesteps += num_steps
        bar.update(num_steps)

    def _here(self, view: SearchView) -> SearchView:
        """A view, without its looks' fields, on the agent's device."""
        looks = dataclasses.replace(
            view.looks, fields={}, valid=view.looks.valid.to(self.device), places=view.looks.places.to(self.device)
        )
        return dataclasses.replace(view, looks=looks, **{name: getattr(view, name).to(self.device) for name in PARTS})


def _entropy(logits: Tensor) -> Tensor:
    """Of a categorical distribution, in nats, some of whose logits are -inf: (B, K + 1) -> (B,)."""
    log_probabilities = logits.log_softmax(-1)
    finite = log_probabilities.masked_fill(log_probabilities == -torch.inf, 0.0)
    return -(finite.exp() * finite * (log_probabilities > -torch.inf)).sum(-1)
