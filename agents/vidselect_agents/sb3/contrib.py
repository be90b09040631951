"""Agents of sb3-contrib (the extra `contrib`): TRPO, QR-DQN and PPO with action masks."""

from __future__ import annotations

from typing import Any

import gymnasium
from sb3_contrib import QRDQN, TRPO, MaskablePPO
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from torch import Tensor, nn

from vidselect_agents.sb3.agents import PPOAgent, SB3Agent, ValueAgent, settings_of
from vidselect_agents.sb3.policy import put_candidate_heads


class MaskableCandidatePolicy(MaskableActorCriticPolicy):
    """`CandidatePolicy` with action masks."""

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        put_candidate_heads(self, lr_schedule)


class TRPOAgent(SB3Agent):
    name = "trpo"
    algorithm = TRPO
    config_class = settings_of(TRPO)
    action_spaces = PPOAgent.action_spaces


class MaskablePPOAgent(SB3Agent):
    """Never takes the second copy of a candidate that a short video offers twice."""

    name = "maskable_ppo"
    algorithm = MaskablePPO
    policy_class = MaskableCandidatePolicy
    config_class = settings_of(MaskablePPO)
    action_spaces = (gymnasium.spaces.MultiDiscrete, gymnasium.spaces.Discrete)
    hint = "; where there is nothing to mask, use ppo"


class QRDQNAgent(ValueAgent):
    name = "qrdqn"
    algorithm = QRDQN
    config_class = settings_of(QRDQN)

    def values(self, sections: Tensor) -> Tensor:
        return self.policy.get_submodule("quantile_net")(sections).mean(1)

    @property
    def backbone(self) -> nn.Module:
        return self.policy.get_submodule("quantile_net.features_extractor.backbone")
