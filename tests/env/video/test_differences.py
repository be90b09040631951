"""Claims of motion from one frame to the next: sums made by hand."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from vidselect_env.video.motion import (
    FILTER_SHAPE,
    derivative_filters,
    feature_differences,
    image_differences,
    load_filters,
)


def random_frames(*shape, seed=0):
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_image_difference_is_the_mean_absolute_change_of_pixels_and_channels():
    frames = torch.zeros(4, 3, 1, 2, dtype=torch.uint8)
    frames[1, 0, 0, 0] = 30  # up by 30 in one of six values
    frames[2] = frames[1]
    frames[3, 2, 0, 1] = 255  # down by 30, up by 255
    assert image_differences(frames).tolist() == pytest.approx([0, 30 / 6, 0, 285 / 6])


def test_feature_difference_is_the_length_of_the_change_over_the_maps():
    filters = torch.zeros(FILTER_SHAPE)
    filters[0, 0, 3, 3] = 3  # the red pixel itself, times 3
    filters[5, 0, 3, 3] = 4
    frames = torch.zeros(2, 3, 2, 5, dtype=torch.uint8)
    frames[1, 0, 1, 2] = 10  # lengths: 5 * 10 in one of ten pixels
    frames[1, 1, 0, 0] = 99  # green, which the filters do not see
    assert feature_differences(frames, filters).tolist() == pytest.approx([0, 5])


def test_feature_difference_is_that_of_the_convolved_frames():
    frames = random_frames(5, 3, 20, 26)
    maps = functional.conv2d(frames.float(), derivative_filters(), padding=3)
    lengths = (maps[1:] - maps[:-1]).square().sum(dim=1).sqrt().mean(dim=(1, 2))
    torch.testing.assert_close(feature_differences(frames)[1:], lengths)


def test_grey_frames_have_the_features_of_rgb_frames_of_equal_channels():
    grey = random_frames(4, 1, 20, 26)
    rgb = grey.expand(4, 3, 20, 26)
    torch.testing.assert_close(feature_differences(grey), feature_differences(rgb))
    assert torch.equal(image_differences(grey), image_differences(rgb))


@pytest.mark.parametrize("differences", [image_differences, feature_differences])
def test_leading_dimensions_are_videos_of_their_own(differences):
    videos = random_frames(2, 3, 4, 3, 10, 12)
    together = differences(videos)
    assert together.shape == (2, 3, 4)
    assert together.dtype == torch.float32
    torch.testing.assert_close(together[1, 2], differences(videos[1, 2]))
    assert torch.equal(together[..., 0], torch.zeros(2, 3))


@pytest.mark.parametrize("differences", [image_differences, feature_differences])
def test_frames_that_do_not_change_have_no_motion(differences):
    frames = random_frames(1, 3, 10, 12).expand(6, 3, 10, 12)
    assert torch.equal(differences(frames), torch.zeros(6))
    assert torch.equal(differences(frames[:1]), torch.zeros(1))


def test_derivative_filters_are_eight_directions_of_zero_mean_and_unit_norm():
    filters = derivative_filters()
    assert filters.shape == FILTER_SHAPE
    assert filters.dtype == torch.float32
    flat = filters.flatten(1)
    torch.testing.assert_close(flat.norm(dim=1), torch.ones(8))
    torch.testing.assert_close(filters.mean(dim=(2, 3)), torch.zeros(8, 3), atol=1e-7, rtol=0)
    likeness = (flat @ flat.T).abs() - torch.eye(8)
    assert likeness.max() < 0.8  # no two are the same up to sign


def test_derivative_filters_answer_to_edges_and_lines_across_them():
    filters = derivative_filters().sum(dim=1)
    edge = torch.zeros(7, 7)
    edge[:, 4:] = 1  # upright
    line = torch.zeros(7, 7)
    line[:, 3] = 1
    assert ((filters * edge).sum(dim=(1, 2)).abs()[:4]).argmax() == 0
    assert ((filters * edge.T).sum(dim=(1, 2)).abs()[:4]).argmax() == 2
    assert ((filters * line).sum(dim=(1, 2)).abs()[4:]).argmax() == 0
    assert ((filters * torch.eye(7)).sum(dim=(1, 2)).abs()[4:]).argmax() == 3  # steps down to the right


def test_a_change_of_light_is_motion_to_the_image_but_not_to_the_features():
    frames = random_frames(1, 3, 40, 40).clamp(max=200).repeat(2, 1, 1, 1)
    frames[1] += 20
    assert image_differences(frames)[1] == 20
    inside = feature_differences(frames[..., :20, :20])[1]  # at the border the picture ends
    shifted = feature_differences(torch.stack([frames[0], frames[0].roll(1, dims=-1)]))[1]
    assert inside < 0.25 * shifted


def test_frames_that_are_no_pictures_are_refused():
    for wrong in (
        torch.zeros(4, 3, 8, 8),
        random_frames(3, 8, 8),
        random_frames(4, 2, 8, 8),
        random_frames(0, 3, 8, 8),
    ):
        for differences in (image_differences, feature_differences):
            with pytest.raises(ValueError, match=r"must be uint8 of shape \(\.\.\., T, 3, h, w\)"):
                differences(wrong)
    with pytest.raises(ValueError, match=r"filters \(8, 1, 7, 7\) must be of shape \(8, 3, 7, 7\)"):
        feature_differences(random_frames(4, 3, 8, 8), torch.zeros(8, 1, 7, 7))


def test_filters_are_loaded_from_a_file_of_one_tensor(tmp_path):
    filters = torch.randn(FILTER_SHAPE, dtype=torch.float64)
    save_file({"conv.weight": filters}, tmp_path / "pa.safetensors")
    torch.testing.assert_close(load_filters(tmp_path / "pa.safetensors"), filters.float())


def test_files_without_such_filters_are_named_with_what_they_hold(tmp_path):
    path = tmp_path / "wrong.safetensors"
    save_file({"weight": torch.zeros(8, 3, 5, 5)}, path)
    with pytest.raises(ValueError, match=r"wrong\.safetensors.*\(8, 3, 5, 5\).* must hold one tensor of shape"):
        load_filters(path)
    save_file({"a": torch.zeros(FILTER_SHAPE), "b": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"wrong\.safetensors.*'b': \(2,\).* must hold one tensor"):
        load_filters(path)
    path.write_text("no tensors")
    with pytest.raises(ValueError, match=r"wrong\.safetensors' must be a safetensors file"):
        load_filters(path)
    with pytest.raises(FileNotFoundError, match="missing"):
        load_filters(tmp_path / "missing.safetensors")
