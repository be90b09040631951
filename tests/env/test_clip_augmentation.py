"""What training changes of a clip, against cases worked by hand."""

from __future__ import annotations

import pytest
import torch

from vidselect_env.fitting.augmentation import ClipJitter, crop_box, mixed, mixup


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def position_frames(height: int, width: int) -> torch.Tensor:
    """Two frames whose red is the row and whose green the column."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns, torch.zeros_like(rows)]).expand(2, -1, -1, -1).to(torch.uint8)


@pytest.mark.parametrize(
    ("scale", "place", "box"),
    [
        (2.0, (0.5, 0.5), (40, 85, 20, 30)),
        (1.0, (0.5, 0.5), (30, 70, 40, 60)),
        (1.0, (0.0, 0.0), (0, 0, 40, 60)),
        (1.0, (1.0, 1.0), (60, 140, 40, 60)),
        (0.5, (1.0, 0.0), (20, 0, 80, 120)),
    ],
)
def test_the_box_of_a_crop(scale, place, box):
    assert crop_box((100, 200), crop=(40, 60), scale=scale, place=place) == box


def test_a_box_larger_than_the_frame_is_an_error():
    with pytest.raises(ValueError, match=r"\(40, 60\) at scale 0.300 takes 133 x 200 pixels, and a frame has 100 x 20"):
        crop_box((100, 200), crop=(40, 60), scale=0.3, place=(0.5, 0.5))


def test_without_jitter_a_clip_stays_as_it_is():
    frames = torch.randint(0, 256, (3, 3, 6, 8), dtype=torch.uint8, generator=generator())
    assert torch.equal(ClipJitter()(frames, crop=(6, 8), generator=generator(1)), frames)


def test_a_random_crop_is_one_window_of_all_frames_and_goes_to_every_place():
    jitter = ClipJitter(random_crop=True)
    corners = set()
    for seed in range(200):
        clip = jitter(position_frames(6, 7), crop=(4, 5), generator=generator(seed))
        top, left = clip[0, :2, 0, 0].tolist()
        assert torch.equal(clip, position_frames(6, 7)[..., top : top + 4, left : left + 5])
        corners.add((top, left))
    assert corners == {(top, left) for top in range(3) for left in range(3)}


def test_twice_the_scale_is_half_of_the_crop_enlarged():
    clip = ClipJitter(scales=(2.0, 2.0))(position_frames(8, 8), crop=(4, 4), generator=generator())
    assert clip.shape == (2, 3, 4, 4)
    # The middle 2 x 2 pixels, rows 3 and 4, enlarged with their values between.
    assert clip[0, 0].float().mean() == pytest.approx(3.5, abs=0.5)
    assert (clip[0, 0, 0, 0], clip[0, 0, 3, 0]) == (3, 4)


def test_brightness_multiplies_all_values_alike_and_colour_each_channel():
    frames = torch.full((2, 3, 2, 2), 100, dtype=torch.uint8)
    seen = [ClipJitter(brightness=0.3)(frames, crop=(2, 2), generator=generator(seed)) for seed in range(50)]
    assert all(len(clip.unique()) == 1 for clip in seen)
    values = torch.stack(seen).float()
    assert 70 <= values.min() < 80
    assert 120 < values.max() <= 130
    coloured = ClipJitter(colour=0.3)(frames, crop=(2, 2), generator=generator())
    assert len(coloured.unique()) == 3
    assert torch.equal(coloured, coloured[:1, :, :1, :1].expand_as(coloured))


def test_jitter_follows_the_generator():
    jitter = ClipJitter(scales=(0.8, 1.2), random_crop=True, brightness=0.2, colour=0.2)
    first, again, other = (
        jitter(position_frames(20, 20), crop=(8, 8), generator=generator(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": (1.2, 0.8)}, r"scale_jitter \(1.2, 0.8\) must be a smallest and a largest"),
        ({"scales": (0.0, 1.0)}, "must be a smallest and a largest factor above 0"),
        ({"brightness": 1.0}, r"brightness \(1.0\) must be at least 0 and below 1"),
        ({"colour": -0.1}, r"colour \(-0.1\) must be"),
    ],
)
def test_jitter_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ClipJitter(**options)


def test_mixed_clips_and_targets_by_hand():
    clips = torch.tensor([100, 200], dtype=torch.uint8).view(2, 1, 1, 1, 1)
    targets = torch.eye(2)
    both, shares = mixed(clips, targets, others=torch.tensor([1, 0]), share=0.75)
    assert both.flatten().tolist() == [125, 175]
    assert both.dtype == torch.uint8
    assert shares.tolist() == [[0.75, 0.25], [0.25, 0.75]]


def test_mixup_shares_vary_by_the_generator_and_targets_stay_probabilities():
    clips = torch.randint(0, 256, (6, 1, 1, 2, 2), dtype=torch.uint8, generator=generator())
    seen = set()
    for seed in range(20):
        _, shares = mixup(clips, torch.eye(6), alpha=0.4, generator=generator(seed))
        torch.testing.assert_close(shares.sum(1), torch.ones(6))
        seen.add(tuple(shares.flatten().tolist()))
    assert len(seen) == 20
    repeated = [mixup(clips, torch.eye(6), alpha=0.4, generator=generator(3))[1] for _ in range(2)]
    assert torch.equal(*repeated)
