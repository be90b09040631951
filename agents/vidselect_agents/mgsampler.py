"""MGSampler: equal steps of cumulated motion (Zhi et al., ICCV 2021), among the candidates of a grid.

Shapes: B contexts, K candidates a context, S frames of a skim.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from vidselect_agents.base import Agent
from vidselect_env.envs.contract import Looks, LookShapes, Needs
from vidselect_env.settings import check_settings
from vidselect_env.video.motion import derivative_filters, feature_differences, image_differences, load_filters
from vidselect_env.video.sampling import (
    ROUNDINGS,
    fixed_stride_frames,
    motion_guided_frames,
    segment_frames,
)
from vidselect_env.video.ssim import WINDOW, ssim_differences

STRATEGIES = ("motion_guided", "segment", "fixed_stride", "magnitude")
DIFFERENCES = ("image", "feature", "ssim")


@dataclass(frozen=True, kw_only=True)
class MGSamplerConfig:
    """MGSampler's settings, the paper's by default.

    Args:
        strategy: motion_guided, or the paper's others: segment (TSN), fixed_stride, magnitude.
        difference: between frames: image (Eq. 1), feature (Eqs. 2 and 3), or ssim (1 - SSIM, the authors' code).
        filters: with difference feature, a file of eight 7 x 7 filters in place of the fixed ones.
        mu: exponent of the salience (Eq. 6); 0 is segment-based sampling.
        rounding: from a value on the curve to a candidate: middle, or authors, as their code does.
        stride: of fixed_stride, in candidates.
    """

    strategy: str = "motion_guided"
    difference: str = "image"
    filters: str | None = None
    mu: float = 0.5
    rounding: str = "middle"
    stride: int = 1

    def __post_init__(self) -> None:
        for name, known in (
            ("strategy", STRATEGIES),
            ("difference", DIFFERENCES),
            ("rounding", ROUNDINGS),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} ({getattr(self, name)!r}) must be one of {', '.join(known)}")
        check_settings(self, at_least={"mu": 0, "stride": 1})
        if self.filters is not None and self.difference != "feature":
            raise ValueError(f"filters ({self.filters!r}) must be of difference 'feature', not {self.difference!r}")


class MGSampler(Agent):
    """Chooses where a video moves: learns nothing, and looks at skims alone.

    A candidate's salience is the mean difference of its skim's successive frames; in a video where none differ,
    as of candidates of one frame, the difference from the candidate before, as in the paper. The cumulated
    salience is cut into as many equal parts as candidates are chosen, and the middle of each part names one. A
    candidate that fills several parts is chosen once; what is missing then are the candidates nearest to those
    that were named.
    """

    name = "mgsampler"
    made_for = Needs(environment="VideoFrameSelect-v0", observation="skim", fields=("skim",))
    config_class = MGSamplerConfig
    config: MGSamplerConfig

    @cached_property
    def filters(self) -> Tensor | None:
        """Those of the configuration's file, None for the fixed ones."""
        return None if self.config.filters is None else load_filters(self.config.filters)

    def select(self, looks: Looks) -> Tensor:
        return looks.best(self.scores(looks))

    def act(self, looks: Looks, *, deterministic: bool) -> Tensor:
        return looks.choice.action(self.scores(looks))

    def scores(self, looks: Looks) -> Tensor:
        """Scores whose largest are the selection, (B, K): 1 where a part's middle falls."""
        curves, valid = self.curves(looks.field("skim")), looks.valid
        num_chosen = looks.uniform().sum(-1)
        scores = torch.full(valid.shape, -torch.inf, device=valid.device)
        for row, (curve, count) in enumerate(zip(curves.cpu(), valid.sum(-1).tolist(), strict=True)):
            scores[row, :count] = self._of_curve(curve[:count], int(num_chosen[row])).to(scores)
        return scores

    def cost_gmacs(self, shapes: LookShapes) -> float:
        """Of the eight convolutions on grey differences of frames, or of SSIM's five means; plain ones have none."""
        if self.config.difference == "image" or self.config.strategy in ("segment", "fixed_stride"):
            return 0.0
        num_frames, _, height, width = shapes.shape("skim")
        if self.config.difference == "ssim":
            return shapes.num_candidates * max(num_frames - 1, 1) * height * width * 5 * WINDOW**2 / 1e9
        channels = 1 if self.config.filters is None else 3
        pixels = shapes.num_candidates * max(num_frames - 1, 1) * height * width
        return pixels * derivative_filters()[:, :channels].numel() / 1e9

    def curves(self, skims: Tensor) -> Tensor:
        """Salience of every candidate, from skims (B, K, S, 3, h, w): (B, K) float32, 0 where nothing moves."""
        within = self._differences(skims)[..., 1:].sum(-1) / max(skims.shape[2] - 1, 1)
        between = self._differences(skims[:, :, 0])
        return torch.where(within.any(1, keepdim=True), within, between)

    def _differences(self, frames: Tensor) -> Tensor:
        """Of frames (..., T, 3, h, w), each from the one before: (..., T)."""
        if self.config.difference == "image":
            return image_differences(frames)
        if self.config.difference == "ssim":
            return ssim_differences(frames)
        if self.config.filters is None:  # the fixed filters see nothing but luma: a third of the work
            from torchvision.transforms.functional import rgb_to_grayscale  # takes a second to import

            return feature_differences(rgb_to_grayscale(frames))
        return feature_differences(frames, self.filters)

    def _of_curve(self, curve: Tensor, num_chosen: int) -> Tensor:
        """Scores (K,) of the candidates of one video."""
        count = len(curve)
        if self.config.strategy == "magnitude":  # whose choice of any number is the beginning of one order
            ranks = curve.argsort(descending=True, stable=True)
            return torch.empty(count).scatter_(0, ranks, -torch.arange(count, dtype=torch.float32))
        places = {
            "motion_guided": lambda: motion_guided_frames(
                curve, num_chosen, mu=self.config.mu, rounding=self.config.rounding
            ),
            "segment": lambda: segment_frames(count, num_chosen),
            "fixed_stride": lambda: fixed_stride_frames(count, num_chosen, stride=self.config.stride),
        }[self.config.strategy]()
        distances = (torch.arange(count)[:, None] - places).abs().amin(-1).float()
        return (distances == 0).float() - distances / count
