"""Clips of different lengths together: what runs on all maps at once gives what each clip alone would."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vidselect_classifiers.ragged import RaggedMaps


def clips_of(*sizes: tuple[int, int], planes: int = 4) -> RaggedMaps:
    """Groups of (clips, maps) of noise, in the batch's order."""
    generator = torch.Generator().manual_seed(0)
    groups = [torch.randn(clips, planes, maps, 6, 5, generator=generator) for clips, maps in sizes]
    order = torch.arange(sum(clips for clips, _ in sizes))
    return RaggedMaps(groups, order=order, lengths=torch.tensor([maps for clips, maps in sizes for _ in range(clips)]))


def same(found: RaggedMaps, expected: list[torch.Tensor]) -> None:
    assert len(found.groups) == len(expected)
    for group, other in zip(found.groups, expected, strict=True):
        torch.testing.assert_close(group, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv3d(4, 6, 1),
        nn.Conv3d(4, 8, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), bias=False),
        nn.Conv3d(4, 4, (1, 3, 3), padding=(0, 1, 1), groups=4),
        nn.Conv3d(4, 6, (3, 3, 3), padding=1),  # looks at the maps beside: no other clip's
        nn.Conv3d(4, 6, 1, stride=2),  # leaves every other map out
        nn.BatchNorm3d(4).eval(),
        nn.ReLU(inplace=True),
        nn.SiLU(),
        nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_layer_gives_each_clip_what_it_gives_it_alone(layer):
    maps = clips_of((2, 5), (1, 1), (3, 2))
    alone = [torch.cat([layer(clip[None].clone()) for clip in group]) for group in maps.groups]
    same(layer(maps), alone)


def test_maps_are_packed_clip_by_clip_and_come_back():
    maps = clips_of((2, 3), (1, 2))
    packed = maps.packed()
    assert packed.shape == (8, 4, 6, 5)
    assert torch.equal(packed[3], maps.groups[0][1, :, 0])  # the second clip's first map
    assert torch.equal(packed[7], maps.groups[1][0, :, 1])
    same(maps.with_packed(packed * 2), [group * 2 for group in maps.groups])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_with_known_statistics_is_torchs(affine, dtype):
    maps = clips_of((2, 3), (1, 2))
    groups = [group.to(dtype) for group in maps.groups]
    mean, variance, weight, bias = (torch.rand(4, dtype=dtype) + 0.1 for _ in range(4))
    scales = (weight, bias) if affine else (None, None)
    found = F.batch_norm(RaggedMaps(groups, order=maps.order, lengths=maps.lengths), mean, variance, *scales, eps=0.5)
    same(
        found,
        [
            (group - mean.view(-1, 1, 1, 1)) / (variance.view(-1, 1, 1, 1) + 0.5).sqrt() * w + b
            for group in groups
            for w, b in [(weight.view(-1, 1, 1, 1), bias.view(-1, 1, 1, 1)) if affine else (1, 0)]
        ],
    )


def test_a_relu_in_place_is_seen_in_the_groups_made_before_it():
    maps = F.batch_norm(clips_of((2, 3), (1, 2)), torch.zeros(4), torch.ones(4))
    before = [group.clone() for group in maps.groups]
    F.relu(maps, inplace=True)
    same(maps, [group.relu() for group in before])


def test_sums_of_maps_and_of_a_number():
    maps, others = clips_of((2, 3), (1, 2)), clips_of((2, 3), (1, 2))
    same(maps + others.with_packed(others.packed() ** 2), [group + group**2 for group in maps.groups])
    same(maps + 1, [group + 1 for group in maps.groups])
    means = maps.mean((2, 3, 4), keepdim=True)  # of each clip: no value for every pixel
    same(maps * means, [group * group.mean((2, 3, 4), keepdim=True) for group in maps.groups])
    same(maps + means, [group + group.mean((2, 3, 4), keepdim=True) for group in maps.groups])


def test_gradients_are_those_of_each_clip():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(4, 4, (1, 3, 3), padding=(0, 1, 1)), nn.ReLU(inplace=True), nn.Conv3d(4, 3, 1))
    given = clips_of((2, 3), (1, 2)).groups
    leaves = [[group.clone().requires_grad_() for group in given] for _ in range(2)]
    ragged = network(RaggedMaps(leaves[0], order=torch.arange(3), lengths=torch.tensor([3, 3, 2])))
    sum(group.square().sum() for group in ragged.groups).backward()
    sum(network(group).square().sum() for group in leaves[1]).backward()
    for one, other in zip(*leaves, strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-4, rtol=1e-4)
