"""From what is seen of candidates to a score for each: backbones of one candidate, and DSN's scorer over them.

Shapes: B contexts (or clips), M sections, N clips a section, T frames of 3 channels, D feature values.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from gymnasium import spaces
from torch import Tensor, nn

from vidselect_agents.scorers.frames import SoundVGG, scaled
from vidselect_classifiers import gmacs
from vidselect_env.envs.contract import LookShapes

CONTEXTS = ("own", "neighbours")  # what a candidate's score is made of: its own look, or those beside it too


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


class Neighbours(nn.Module):
    """What a candidate's neighbours in time, and where in the video it lies, add to its score.

    Two convolutions over the candidates, which see six either side, so it takes any number of them.

    Args:
        num_features: D.
        width: channels of the convolutions.
    """

    def __init__(self, num_features: int, *, width: int = 32) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Conv1d(num_features + 2 * len(_TURNS), width, 5, padding=2),
            nn.ReLU(),
            nn.Conv1d(width, width, 5, padding=4, dilation=2),
            nn.ReLU(),
        )
        self.score = nn.Linear(width, 1)
        nn.init.zeros_(self.score.weight)  # it begins with each candidate's own look, which is quick to learn

    def around(self, features: Tensor, places: Tensor, valid: Tensor) -> Tensor:
        """Features (B, K, D), places (B, K) in [0, 1] and valid (B, K) bool -> (B, K)."""
        angles = places[..., None].to(features) * torch.tensor(_TURNS, device=features.device) * torch.pi
        known = torch.cat([features, angles.sin(), angles.cos()], -1) * valid[..., None]
        return self.score(self.hidden(known.transpose(1, 2)).transpose(1, 2)).squeeze(-1)

    def gmacs(self, num_candidates: int) -> float:
        """Multiply-adds of what comes after the features, in units of 1e9."""
        layers = [layer for layer in (*self.hidden, self.score) if isinstance(layer, nn.Conv1d | nn.Linear)]
        return num_candidates * sum(layer.weight.numel() for layer in layers) / 1e9


class NeighbourScorer(Neighbours):
    """Scores each candidate from its own features, those of its neighbours in time, and where in the video it lies.

    Args:
        backbone: one candidate's observation to (D,) features; has `feature_dim`.
    """

    def __init__(self, backbone: nn.Module) -> None:
        features = int(backbone.feature_dim)  # type: ignore[arg-type]
        super().__init__(features)
        self.backbone, self.own = backbone, nn.Linear(features, 1)

    def forward(self, observations: Tensor, places: Tensor, valid: Tensor) -> Tensor:
        """Observations (B, K, ...), places (B, K) in [0, 1] and valid (B, K) bool -> scores (B, K) float32."""
        features = self.backbone(observations.flatten(0, 1)).view(*observations.shape[:2], -1)
        return self.own(features).squeeze(-1) + self.around(features, places, valid)

    def gmacs(self, num_candidates: int) -> float:
        return super().gmacs(num_candidates) + num_candidates * self.own.weight.numel() / 1e9


_TURNS = (1.0, 2.0, 4.0)  # half turns of a place's sine and cosine over the video


class Sound(nn.Module):
    """SCSampler's small network on sounds, without its last layers: mel pictures (B, 40, 200) -> (B, 32).

    Args:
        norm: from a number of channels to their normalisation.
    """

    def __init__(self, *, norm: Callable[[int], nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        network = SoundVGG(num_outputs=1, small=True)
        self.layers, self.feature_dim = network.features, int(network.classifier[0].in_features)  # type: ignore[arg-type]
        for name, layer in list(self.layers.named_children()):
            if isinstance(layer, nn.BatchNorm2d):
                self.layers.set_submodule(name, norm(layer.num_features))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(scaled("mel", pictures)[:, None]).mean((2, 3))


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
        name: `r2d18` (the paper's), `r2d` (narrow, for skims of about 32 x 32), `mlp` (for features), `sound`
            (for mel pictures), or `auto`: `r2d` for skims, or the one that fits. `r2d_bf16` is `r2d` in bfloat16
            arithmetic, which some processors and every recent GPU do twice as fast.
        norm: of the convolutional ones, from a number of channels.
        observation_space: of the environment; skims are uint8 (..., T, 3, h, w), features float32
            (K, D), mel pictures float32 (K, 40, 200).

    Raises:
        ValueError: an unknown name, or one that does not take such observations.
    """
    shape = observation_space.shape or ()
    is_skim = observation_space.dtype == "uint8"
    is_sound = not is_skim and len(shape) == 3
    if name == "auto":
        name = "r2d" if is_skim else "sound" if is_sound else "mlp"
    if name == "sound" and is_sound:
        return Sound(norm=norm)
    if name == "mlp" and not is_skim and not is_sound:
        return MLP(shape[-1])
    if name == "r2d18" and is_skim:
        return R2D(shape[-4], norm=norm)
    if name in ("r2d", "r2d_bf16") and is_skim:
        bf16 = name == "r2d_bf16"
        return R2D(shape[-4], width=12, blocks=(1, 1, 1), stem_kernel=3, norm=norm, bf16=bf16)
    raise ValueError(
        f"scorer {name!r} does not fit {observation_space}: "
        "skims take r2d18, r2d or r2d_bf16, mel pictures sound, features mlp"
    )


def gmacs_of_observations(backbone: nn.Module, shapes: LookShapes, fields: tuple[str, ...]) -> float:
    """Multiply-adds of `backbone` on these fields of every candidate of one context, in units of 1e9."""
    shape = [shapes.shape(name) for name in fields]
    joined = shape[0] if len(shape) == 1 else (sum(each[0] for each in shape),)
    dtype = torch.uint8 if fields == ("skim",) else torch.float32
    return shapes.num_candidates * gmacs(backbone, (1, *joined), dtype=dtype)


class R2D(nn.Module):
    """DSN's observation network without its last layer (section V-B; "ResNet2D-18").

    A ResNet without max-pool whose first convolution takes all frames of a skim at once: 8 RGB frames
    are 24 channels. With the default width 64 and blocks (2, 2, 2, 2) it is the paper's R2D-18, 1.93
    GMACs for 8 frames of 112 x 112; narrower and shallower ones serve small skims.

    Args:
        num_frames: T.
        width: channels of the first stage; each further stage doubles them.
        blocks: residual blocks of each stage.
        stem_kernel: size of the first convolution, whose stride is 2.
        norm: from a number of channels to their normalisation.
        bf16: convolve in bfloat16; weights and features stay float32.
    """

    def __init__(
        self,
        num_frames: int = 8,
        *,
        width: int = 64,
        blocks: tuple[int, ...] = (2, 2, 2, 2),
        stem_kernel: int = 7,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
        bf16: bool = False,
    ) -> None:
        super().__init__()
        self.bf16 = bf16
        self.stem = nn.Sequential(
            nn.Conv2d(3 * num_frames, width, stem_kernel, stride=2, padding=stem_kernel // 2, bias=False),
            norm(width),
            nn.ReLU(inplace=True),
        )
        stages, channels = [], width
        for number, count in enumerate(blocks):
            planes = width * 2**number
            stages.append(_stage(channels, planes, count, stride=1 if number == 0 else 2, norm=norm))
            channels = planes
        self.stages = nn.Sequential(*stages)
        self.feature_dim = channels

    def forward(self, skims: Tensor) -> Tensor:
        """(B, T, 3, h, w) uint8 -> (B, D) float32."""
        folded = fold_frames(skims).contiguous(memory_format=torch.channels_last)  # a third faster, on CPUs too
        kind = "cpu" if skims.is_meta else skims.device.type  # on "meta" multiply-adds are counted
        with torch.autocast(kind, torch.bfloat16, enabled=self.bf16):
            return self.stages(self.stem(folded)).mean((2, 3)).float()


def fold_frames(skims: Tensor) -> Tensor:
    """Frames as channels, (B, T, 3, h, w) uint8 -> (B, 3 * T, h, w) float32: their mean, then their steps.

    The mean frame lies in [-1, 1]; the T - 1 differences of successive frames are four times their size. This
    is the frames in another basis, with nothing lost: the first convolution can undo it. But a network that
    is handed differences finds motion within its first updates, where one that is handed frames may take
    thousands.
    """
    frames = skims.to(torch.float32)
    folded = torch.empty_like(frames)  # written once: such batches are of the size of the memory's speed
    torch.mean(frames, 1, out=folded[:, 0]).mul_(1 / 127.5).sub_(1)
    torch.sub(frames[:, 1:], frames[:, :-1], out=folded[:, 1:]).mul_(4 / 127.5)
    return folded.flatten(1, 2)


def _stage(channels: int, planes: int, count: int, *, stride: int, norm: Callable[[int], nn.Module]) -> nn.Sequential:
    from torchvision.models.resnet import BasicBlock  # takes a second to import

    shortcut = None
    if stride != 1 or channels != planes:
        shortcut = nn.Sequential(nn.Conv2d(channels, planes, 1, stride=stride, bias=False), norm(planes))
    first = BasicBlock(channels, planes, stride, shortcut, norm_layer=norm)
    return nn.Sequential(first, *(BasicBlock(planes, planes, norm_layer=norm) for _ in range(count - 1)))
