"""A clip classifier: a network, the clips it takes, and what it says about them.

Shapes: B clips, T frames a clip, C classes, D feature values, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidselect_classifiers.cost import gmacs
from vidselect_classifiers.flow import FLOW_CHANNELS, FLOW_MEAN, FLOW_STD, take_flow
from vidselect_classifiers.ragged import RaggedMaps

KINETICS_MEAN = (0.43216, 0.394666, 0.37645)
KINETICS_STD = (0.22803, 0.22145, 0.216989)
Modality = Literal["rgb", "flow"]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ClipOutput(NamedTuple):
    """What a classifier says about B clips.

    logits: (B, C) float, unnormalised.
    features: (B, D) float, what the last layer takes; (B, 0) of a classifier that gives none.
    num_bins: (B,) int64, maps that each clip kept, of a classifier with similarity guided sampling.
    """

    logits: Tensor
    features: Tensor
    num_bins: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class ClipGeometry:
    """Which frames make a clip, and which pixels of a frame the network sees.

    A clip is `num_frames` frames, `frame_stride` apart: its span is `(num_frames - 1) * frame_stride + 1`.
    A frame is resized, so that its short side is `resize` (an int) or to `resize` (height, width), and
    the centre `crop` (height, width) of it is kept. Pixels in [0, 1] are then normalised by `mean`, `std`.

    `modality` says what the pixels are: colours, or optical flow (`flow.py`), which has a mean and a spread of its own.

    Raises:
        ValueError: a count is not positive, the modality is unknown, or the crop is larger than the resized frame.
    """

    num_frames: int
    frame_stride: int = 1
    resize: int | tuple[int, int]
    crop: tuple[int, int]
    mean: tuple[float, float, float] = KINETICS_MEAN
    std: tuple[float, float, float] = KINETICS_STD
    modality: Modality = "rgb"

    def __post_init__(self) -> None:
        if self.modality not in get_args(Modality):
            raise ValueError(f"modality ({self.modality!r}) must be one of {', '.join(get_args(Modality))}")
        for name in ("num_frames", "frame_stride"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        height, width = (self.resize, self.resize) if isinstance(self.resize, int) else self.resize
        if self.crop[0] > height or self.crop[1] > width:
            raise ValueError(f"crop {self.crop} must fit into the resized frame ({height}, {width})")

    @property
    def span(self) -> int:
        """Frames from the first to the last of a clip, both counted."""
        return (self.num_frames - 1) * self.frame_stride + 1


class ClipClassifier(nn.Module):
    """A network with its geometry: uint8 clips in, `ClipOutput` out.

    The network keeps its own parameter names (`network.load_state_dict` takes published checkpoints), and
    is evaluated in steps, so that features come with the logits: its stages, `pool`, its head.

    Args:
        network: the module whose parameters these are.
        head: name of the network's last layer (`fc`, `head.1`), from D features to C logits: an `nn.Linear`,
            or an `nn.Conv3d` of kernel 1, which is the same matrix under another shape (S3D, I3D). None of a
            network without one: it gives logits alone (`PlainClassifier`).
        stages: names of the submodules that clips (B, 3, T, H, W) float pass one after another; none where a
            network is not such a chain.
        pool: `(network, what the last stage gives) -> (B, D)`, all that is left before the head.
        geometry: the clips it takes.
        class_names: the C classes, where known.
        name: its name in `CLASSIFIERS`.

    Raises:
        AttributeError: the network has no layer of the head's name.
        TypeError: the head is neither.
        ValueError: `class_names` are not as many as the head's outputs.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        head: str | None,
        stages: Sequence[str] = (),
        pool: Callable[[Any, Tensor], Tensor],
        geometry: ClipGeometry,
        class_names: Sequence[str] | None = None,
        name: str = "",
    ) -> None:
        super().__init__()
        num_channels = 3
        if geometry.modality == "flow":
            take_flow(network, num_frames=geometry.num_frames)
            geometry, num_channels = replace(geometry, mean=FLOW_MEAN, std=FLOW_STD), FLOW_CHANNELS
        last = None if head is None else network.get_submodule(head)
        if not (isinstance(last, nn.Linear | None) or (isinstance(last, nn.Conv3d) and last.kernel_size == (1, 1, 1))):
            raise TypeError(f"head {head!r} ({last}) must be an nn.Linear or an nn.Conv3d of kernel 1")
        self.network = network
        self.head_name = head
        self.stages = tuple(stages)
        self.pool = pool
        self.geometry = geometry
        self.set_class_names(class_names)
        self.name = name
        self.register_buffer("mean", torch.tensor(geometry.mean[:num_channels]).view(1, 1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(geometry.std[:num_channels]).view(1, 1, -1, 1, 1), persistent=False)

    @property
    def label(self) -> str:
        """What messages call it: its name, or its network's kind."""
        return self.name or type(self.network).__name__

    @property
    def head(self) -> nn.Linear | nn.Conv3d:
        """The last layer; `classify_features` applies it.

        Raises:
            ValueError: no layer was named as head: there are logits alone.
        """
        if self.head_name is None:
            raise ValueError(
                f"classifier {self.label!r} gives logits alone, no features: name its last layer as head "
                "(docs/classifiers.md), or take an agent that needs none"
            )
        return cast("nn.Linear | nn.Conv3d", self.network.get_submodule(self.head_name))

    @property
    def num_classes(self) -> int:
        return self.head.weight.shape[0]

    @property
    def has_features(self) -> bool:
        """Whether it has a named head, whose input is the features."""
        return self.head_name is not None

    @property
    def feature_dim(self) -> int:
        """D; an error as of `head` where there are no features."""
        return self.head.weight.shape[1]

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of one clip of uint8 frames: (T, 3, H, W)."""
        return (self.geometry.num_frames, 3, *self.geometry.crop)

    def convolve_fast(self, *, mixed_precision: bool = False) -> None:
        """Keep weights channels-last where its device then convolves faster: on a CPU, and with mixed precision.

        Networks of small 3D convolutions are trained half as fast again so on a CPU, whose batch norm then sums less
        exactly (1e-4 of a value, not 1e-6): where deterministic algorithms are asked for it stays as it is.
        """
        on_cpu = self.mean.device.type == "cpu"
        faster = not torch.are_deterministic_algorithms_enabled() if on_cpu else mixed_precision
        if faster:
            self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def preprocess(self, clips: Tensor) -> Tensor:
        """Normalise (B, T, 3, H, W) uint8 clips to the network's (B, 3, T, H, W) float; of flow (B, 2, T, H, W)."""
        if clips.dtype != torch.uint8 or clips.ndim != 5 or clips.shape[2] != 3:
            raise ValueError(f"clips ({clips.dtype}, {tuple(clips.shape)}) must be uint8 of shape (B, T, 3, H, W)")
        assert isinstance(self.mean, Tensor)
        assert isinstance(self.std, Tensor)
        scaled = clips[:, :, : self.mean.shape[2]].to(self.mean.dtype).div_(255)  # in place: twice as fast
        return scaled.sub_(self.mean).div_(self.std).transpose(1, 2)

    def forward(self, clips: Tensor) -> ClipOutput:
        """Classify (B, T, 3, H, W) uint8 clips."""
        maps = self.preprocess(clips)
        for stage in self.stages:
            maps = self.network.get_submodule(stage)(maps)
        features = self.pool(self.network, maps)
        num_bins = None
        if isinstance(features, RaggedMaps):
            features, num_bins = features.joined(), features.lengths
        return ClipOutput(self.classify_features(features), features, num_bins)

    def classify_features(self, features: Tensor) -> Tensor:
        """Logits (B, C) of features (B, D): the head alone."""
        head = self.head
        return functional.linear(features, head.weight.flatten(1), head.bias)

    def set_class_names(self, class_names: Sequence[str] | None) -> None:
        """Name the C classes, or with None leave them nameless."""
        if class_names is not None and len(class_names) != self.num_classes:
            raise ValueError(
                f"class_names ({len(class_names)}) must be as many as the head's outputs ({self.num_classes})"
            )
        self.class_names = None if class_names is None else tuple(class_names)

    def replace_head(self, num_classes: int, class_names: Sequence[str] | None = None) -> None:
        """Put a freshly initialised head of `num_classes` outputs in place of the present one."""
        old = self.head
        new: nn.Module
        if isinstance(old, nn.Conv3d):
            new = nn.Conv3d(self.feature_dim, num_classes, kernel_size=1)
        else:
            new = nn.Linear(self.feature_dim, num_classes)
        assert self.head_name is not None
        self.network.set_submodule(self.head_name, new.to(old.weight))
        self.set_class_names(class_names)

    def keep_classes(self, class_names: Sequence[str]) -> None:
        """Keep the outputs of these classes, in this order, and drop the others: the softmax is over them alone.

        Raises:
            ValueError: the classifier's classes have no names, one of `class_names` is not among them, or one comes
                twice.
        """
        if self.class_names is None:
            raise ValueError("keep_classes needs a classifier with class names: set_class_names gives them")
        missing = [name for name in class_names if name not in self.class_names]
        if missing:
            raise ValueError(
                f"the classifier does not know the classes {', '.join(map(repr, missing))}: "
                f"its {self.num_classes} are {', '.join(self.class_names)}"
            )
        if len(set(class_names)) != len(class_names) or not class_names:
            raise ValueError(f"class_names {tuple(class_names)} must be one or more, and different")
        head = self.head
        rows = torch.tensor([self.class_names.index(name) for name in class_names], device=head.weight.device)
        kept_weight, kept_bias = head.weight.detach()[rows], None if head.bias is None else head.bias.detach()[rows]
        self.replace_head(len(rows), class_names)
        with torch.no_grad():
            self.head.weight.copy_(kept_weight)
            if self.head.bias is not None and kept_bias is not None:
                self.head.bias.copy_(kept_bias)

    def put_head(self, head: nn.Linear, class_names: Sequence[str]) -> None:
        """Put a fitted linear layer, (B, D) -> (B, C), in the place of the head."""
        self.replace_head(head.out_features, class_names)
        assert self.head.bias is not None
        with torch.no_grad():
            self.head.weight.copy_(head.weight.view_as(self.head.weight))
            self.head.bias.copy_(head.bias)

    def gmacs_per_clip(self) -> float:
        """Multiply-adds of one clip, in units of 1e9 (the papers call them FLOPs).

        With similarity guided sampling the most that a clip can take; `gmacs_by_bins` has the others.
        """
        return gmacs(self, (1, *self.input_shape), dtype=torch.uint8)
