"""From the candidates of a section to a score for each.

Shapes: B contexts, M sections, N clips a section, D feature values.
"""

from __future__ import annotations

from collections.abc import Callable

from gymnasium import spaces
from torch import Tensor, nn

from vidselect_agents.scorers.r2d import R2D


class SectionScorer(nn.Module):
    """DSN's scorer (Eq. 3 before the softmax): features of a section's clips, concatenated, then one layer.

    All sections share its weights, so it takes any M; N is fixed when it is made.

    Args:
        backbone: one candidate's observation to (D,) features; has `feature_dim`.
        num_clips: N.
    """

    def __init__(self, backbone: nn.Module, num_clips: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_clips = num_clips
        self.fc = nn.Linear(num_clips * int(backbone.feature_dim), num_clips)  # type: ignore[arg-type]

    def forward(self, observations: Tensor) -> Tensor:
        """Observations (B, M * N, ...) -> scores (B, M, N) float32."""
        num_contexts, num_candidates = observations.shape[:2]
        if num_candidates % self.num_clips:
            raise ValueError(
                f"candidates ({num_candidates}) must be in sections of the scorer's {self.num_clips} clips"
            )
        features = self.backbone(observations.flatten(0, 1))
        return self.fc(features.view(num_contexts, num_candidates // self.num_clips, -1))


class MLP(nn.Module):
    """A hidden layer on stored features: (B, D) float32 -> (B, width)."""

    def __init__(self, num_inputs: int, *, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(num_inputs), nn.Linear(num_inputs, width), nn.ReLU())
        self.feature_dim = width

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)


def make_backbone(
    name: str, observation_space: spaces.Space, *, norm: Callable[[int], nn.Module] = nn.BatchNorm2d
) -> nn.Module:
    """A backbone for one candidate of an environment's observations.

    Args:
        name: `r2d18` (the paper's), `r2d` (narrow, for skims of about 32 x 32), `mlp` (for features),
            or `auto`: `r2d` for skims and `mlp` for features.
        norm: of the convolutional ones, from a number of channels.
        observation_space: of the environment; skims are uint8 (..., T, 3, h, w), features float32 (..., D).

    Raises:
        ValueError: an unknown name, or one that does not take such observations.
    """
    shape = observation_space.shape or ()
    is_skim = observation_space.dtype == "uint8"
    if name == "auto":
        name = "r2d" if is_skim else "mlp"
    if name == "mlp" and not is_skim:
        return MLP(shape[-1])
    if name == "r2d18" and is_skim:
        return R2D(shape[-4], norm=norm)
    if name == "r2d" and is_skim:
        return R2D(shape[-4], width=12, blocks=(1, 1, 1), stem_kernel=3, norm=norm)
    raise ValueError(f"scorer {name!r} does not fit {observation_space}: skims take r2d18 or r2d, features mlp")
