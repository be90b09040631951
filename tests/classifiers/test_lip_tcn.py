"""The classifier that finds the mouth first."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vidselect_classifiers import make_classifier
from vidselect_classifiers.lip_tcn import Locate


class Brightness(nn.Module):
    """Weighs places by how bright they are, so sharply that the brightest takes all."""

    def forward(self, maps: Tensor) -> Tensor:
        return 1000 * maps.mean(1, keepdim=True)


def locator(weigh: nn.Module) -> Locate:
    locate = Locate((8, 12)).eval()
    locate.weigh = weigh
    return locate


def clips_with_spot(row: int, column: int) -> Tensor:
    """Two frames of noise, 40 x 48; in both a bright square of 4 x 4 pixels."""
    clips = torch.rand(1, 3, 2, 40, 48, generator=torch.Generator().manual_seed(0))
    clips[..., row : row + 4, column : column + 4] = 2
    return clips


def test_the_window_lies_around_the_place_of_largest_weight() -> None:
    clips = clips_with_spot(12, 32)
    locate = locator(Brightness())
    # The middle of the spot, 14 of 40 pixels from above and 34 of 48 from the left, in [-1, 1].
    torch.testing.assert_close(locate.centres(clips), torch.tensor([[2 * 34 / 48 - 1, 2 * 14 / 40 - 1]]))
    cut = locate(clips)
    assert cut.shape == (1, 3, 2, 8, 12)
    torch.testing.assert_close(cut, clips[..., 10:18, 28:40], atol=1e-4, rtol=1e-4)


def test_a_window_over_the_edge_repeats_the_edge() -> None:
    cut = locator(Brightness())(clips_with_spot(0, 0))
    # From 2 pixels above the frame and 4 to the left of it.
    torch.testing.assert_close(cut[..., :3, :5], torch.full_like(cut[..., :3, :5], 2))


def test_an_untrained_network_looks_near_the_middle_and_learns_where() -> None:
    torch.manual_seed(0)
    locate = Locate((8, 12)).eval()
    clips = clips_with_spot(12, 32).requires_grad_()
    assert locate.centres(clips).abs().max() < 0.2
    locate(clips).square().sum().backward()
    last = locate.weigh[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.weight.grad is not None
    assert last.weight.grad.abs().max() > 0


def test_each_clip_of_a_batch_has_a_window_of_its_own() -> None:
    both = torch.cat([clips_with_spot(12, 32), clips_with_spot(24, 8)])
    locate = locator(Brightness())
    torch.testing.assert_close(locate(both), torch.cat([locate(both[:1]), locate(both[1:])]))


def test_time_stays_until_the_mean_so_that_a_late_frame_moves_early_features() -> None:
    classifier = make_classifier("lip_tcn")
    maps = torch.rand(1, 64, 10, 4, 6, generator=torch.Generator().manual_seed(0))
    changed = maps.clone()
    changed[:, :, 5] += 1
    network = classifier.network
    with torch.inference_mode():
        moved = (network.tcn(network.frame(maps)) != network.tcn(network.frame(changed))).any(1).flatten()  # type: ignore[operator]
    assert moved.nonzero().flatten().tolist() == [3, 4, 5, 6, 7]


def test_a_crop_in_which_no_mouth_fits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"crop \(24, 48\) of lip_tcn must be at least \(32, 48\)"):
        make_classifier("lip_tcn", crop=(24, 48))
