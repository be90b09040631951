"""PPO in a single file, in CleanRL's manner: it needs Gymnasium's vector environment, and nothing else of this package.

    python ppo.py --env-id VideoClipSelect-v0 --bank banks/train
    python ppo.py --env-id VideoClipSearch-v0 --bank banks/train --gamma 1 --learning-rate 1e-3

Shapes: B sub-environments, S steps of a rollout, P parts of an action (sections; 1 in a search), O numbers observed.
"""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium
import torch
import tyro
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.utils.tensorboard import SummaryWriter

import vidselect_env  # noqa: F401 (registers the environments)


@dataclass
class Args:
    env_id: str = "VideoClipSelect-v0"
    bank: str | None = None  # a folder; None for a small synthetic bank
    total_timesteps: int = 50_000
    num_envs: int = 64
    num_steps: int = 16
    update_epochs: int = 4
    num_minibatches: int = 4
    learning_rate: float = 1e-3
    gamma: float = 1.0
    gae_lambda: float = 0.95
    clip_coef: float = 0.2
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    seed: int = 0
    log_dir: str | None = None  # of TensorBoard


def make_envs(args: Args, **options) -> gymnasium.vector.VectorEnv:
    """The batched environment, its observations as numbers: clips by their features, searches as one vector."""
    own = {"flat": True} if args.env_id == "VideoClipSearch-v0" else {"observation": "features"}
    options = {"bank": args.bank, **own, **options}
    return gymnasium.make_vec(args.env_id, num_envs=args.num_envs, vectorization_mode="vector_entry_point", **options)


class Agent(nn.Module):
    """One body, a head a part of the action, and a value."""

    def __init__(self, observations: int, parts: list[int]) -> None:
        super().__init__()
        self.parts = parts
        self.body = nn.Sequential(nn.LayerNorm(observations), nn.Linear(observations, 128), nn.Tanh())
        self.actor, self.critic = nn.Linear(128, sum(parts)), nn.Linear(128, 1)

    def forward(self, seen: Tensor, masks: Tensor) -> tuple[list[Categorical], Tensor]:
        """The policies of the P parts, and values (B,), of what is seen (B, O); masks (B, actions) bool."""
        hidden = self.body(seen)
        logits = self.actor(hidden).masked_fill(~masks, -1e8)
        return [Categorical(logits=part) for part in logits.split(self.parts, -1)], self.critic(hidden).squeeze(-1)


def log_prob(policies: list[Categorical], actions: Tensor) -> Tensor:
    """Of actions (B, P): (B,)."""
    return torch.stack([each.log_prob(actions[:, part]) for part, each in enumerate(policies)]).sum(0)


def train(args: Args, **options) -> list[float]:
    """Learn; the mean return of the episodes of each rollout.

    Args:
        options: of the environment.
    """
    torch.manual_seed(args.seed)
    envs = make_envs(args, **options)
    space = envs.single_action_space
    is_search = isinstance(space, gymnasium.spaces.Discrete)
    agent = Agent(
        gymnasium.spaces.flatdim(envs.single_observation_space), [int(space.n)] if is_search else space.nvec.tolist()
    )
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    writer = SummaryWriter(args.log_dir) if args.log_dir else None

    def masks_of(seen: Tensor) -> Tensor:
        """A search says which actions do something in the last part of its vector; elsewhere all do."""
        return seen[:, -int(space.n) :] > 0 if is_search else torch.ones(len(seen), sum(agent.parts), dtype=torch.bool)

    seen = envs.reset(seed=args.seed)[0].flatten(1)
    history = []
    for update in range(args.total_timesteps // (args.num_envs * args.num_steps)):
        rows, returns = [], []
        for _ in range(args.num_steps):
            masks = masks_of(seen)
            with torch.no_grad():
                policies, values = agent(seen, masks)
                actions = torch.stack([each.sample() for each in policies], -1)
            after, rewards, ended, _, infos = envs.step(actions.squeeze(-1) if is_search else actions)
            rows.append((seen, masks, actions, log_prob(policies, actions), values, rewards, (~ended).float()))
            returns.append(infos["final_info"].get("return", rewards)[ended])
            seen = after.flatten(1)

        stacked = [torch.stack(each) for each in zip(*rows, strict=True)]
        values, rewards, goes_on = stacked[4:]
        with torch.no_grad():
            following, advantage = agent(seen, masks_of(seen))[1], torch.zeros(args.num_envs)
        advantages = torch.zeros_like(rewards)
        for step in reversed(range(args.num_steps)):
            surprise = rewards[step] + args.gamma * goes_on[step] * following - values[step]
            advantage = surprise + args.gamma * args.gae_lambda * goes_on[step] * advantage
            advantages[step], following = advantage, values[step]

        batch = [each.flatten(0, 1) for each in (*stacked[:4], advantages, advantages + values)]
        for _ in range(args.update_epochs):
            for chosen in torch.randperm(len(batch[0])).chunk(args.num_minibatches):
                learn(agent, optimizer, args, *(each[chosen] for each in batch))
        history.append(torch.cat(returns).mean().item())
        if writer:
            writer.add_scalar("charts/episodic_return", history[-1], (update + 1) * args.num_envs * args.num_steps)
    return history


def learn(
    agent: Agent,
    optimizer: torch.optim.Optimizer,
    args: Args,
    seen: Tensor,
    masks: Tensor,
    actions: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    targets: Tensor,
) -> None:
    """One step on a minibatch: the clipped objective, the squared error of the value, and the entropy."""
    policies, values = agent(seen, masks)
    ratio = (log_prob(policies, actions) - old_log_probs).exp()
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    clipped = ratio.clamp(1 - args.clip_coef, 1 + args.clip_coef)
    gain = torch.minimum(ratio * advantages, clipped * advantages).mean()
    entropy = torch.stack([each.entropy() for each in policies]).sum(0).mean()
    loss = -gain + args.vf_coef * (values - targets).square().mean() - args.ent_coef * entropy
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
    optimizer.step()


if __name__ == "__main__":
    rollouts = train(tyro.cli(Args))
    print(f"mean return of the first rollout {rollouts[0]:.3f}, of the last {rollouts[-1]:.3f}")
