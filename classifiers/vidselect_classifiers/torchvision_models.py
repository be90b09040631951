"""S3D, MViT v2 and Video Swin as torchvision has them, parameter names included.

The geometry is that of the published weights: frames a clip and pixels as they were evaluated. Their frame
rates (15 a second; MViT 7.5) become strides of a 30 frames/s video, 2 and 4.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor
from torchvision.models import video
from torchvision.models.video import S3D, MViT, SwinTransformer3d

from vidselect_classifiers.base import IMAGENET_MEAN, IMAGENET_STD, ClipClassifier, ClipGeometry

S3D_SMALLEST_CROP = 209  # what its last pooling, of 7 x 7, takes after five halvings
S3D_GEOMETRY = ClipGeometry(num_frames=128, frame_stride=2, resize=(256, 256), crop=(224, 224))
MVIT_GEOMETRY = ClipGeometry(
    num_frames=16,
    frame_stride=4,
    resize=256,
    crop=(224, 224),
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
)
SWIN_GEOMETRY = ClipGeometry(
    num_frames=32, frame_stride=2, resize=256, crop=(224, 224), mean=IMAGENET_MEAN, std=IMAGENET_STD
)


def _s3d_features(network: S3D, clips: Tensor) -> Tensor:
    # S3D averages its logits over time and space after a convolution of kernel 1. Both are linear, so the
    # features may be averaged first: the logits are the same.
    dropout = network.classifier[0]
    return dropout(network.avgpool(network.features(clips)).mean(dim=(2, 3, 4)))


def _mvit_features(network: MViT, clips: Tensor) -> Tensor:
    tokens = network.pos_encoding(network.conv_proj(clips).flatten(2).transpose(1, 2))
    grid = (network.pos_encoding.temporal_size, *network.pos_encoding.spatial_size)
    for block in network.blocks:
        tokens, grid = block(tokens, grid)
    dropout = network.head[0]
    return dropout(network.norm(tokens)[:, 0])


def _swin_features(network: SwinTransformer3d, clips: Tensor) -> Tensor:
    patches = network.norm(network.features(network.pos_drop(network.patch_embed(clips))))
    return network.avgpool(patches.permute(0, 4, 1, 2, 3)).flatten(1)


def s3d(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """Separable 3D Inception (Xie et al., ECCV 2018).

    Raises:
        ValueError: fewer than 13 frames, or a smaller crop than its last pooling takes, are asked for.
    """
    own = replace(S3D_GEOMETRY, **geometry)
    if own.num_frames < 13 or min(own.crop) < S3D_SMALLEST_CROP:
        raise ValueError(
            f"num_frames ({own.num_frames}) and crop {own.crop} of s3d must be at least 13 and "
            f"{S3D_SMALLEST_CROP} x {S3D_SMALLEST_CROP}"
        )
    return ClipClassifier(
        video.s3d(num_classes=num_classes),
        head="classifier.1",
        pool=_s3d_features,
        geometry=own,
        name="s3d",
    )


def mvit_v2_s(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """MViT v2, small (Li et al., CVPR 2022); 16 frames of 224 x 224, which its position tables fix.

    Raises:
        ValueError: other frames or another crop are asked for.
    """
    own = replace(MVIT_GEOMETRY, **geometry)
    if (own.num_frames, own.crop) != (MVIT_GEOMETRY.num_frames, MVIT_GEOMETRY.crop):
        raise ValueError(
            f"num_frames ({own.num_frames}) and crop {own.crop} of mvit_v2_s must be "
            f"{MVIT_GEOMETRY.num_frames} and {MVIT_GEOMETRY.crop}: its position tables are made for them"
        )
    return ClipClassifier(
        video.mvit_v2_s(num_classes=num_classes),
        head="head.1",
        pool=_mvit_features,
        geometry=own,
        name="mvit_v2_s",
    )


def swin3d_t(*, num_classes: int = 400, **geometry: Any) -> ClipClassifier:
    """Video Swin, tiny (Liu et al., CVPR 2022)."""
    return ClipClassifier(
        video.swin3d_t(num_classes=num_classes),
        head="head",
        pool=_swin_features,
        geometry=replace(SWIN_GEOMETRY, **geometry),
        name="swin3d_t",
    )
