"""Which frames of each video a classifier is trained and tested on."""

from __future__ import annotations

import pytest
import torch

from vidselect_classifiers import ClipGeometry, make_classifier
from vidselect_env.datasets import LabelledVideo, VideoDataset, load_dataset
from vidselect_env.fitting.augmentation import ClipJitter
from vidselect_env.fitting.fit_config import SAMPLERS
from vidselect_env.fitting.loader import ClipLoader, clip_frames, clips_of_segments, consensus
from vidselect_env.fitting.training import FitConfig
from vidselect_env.video.decode import FrameSize, read_frames
from vidselect_env.video.index import probe
from vidselect_env.video.motion import motion_curve
from vidselect_env.video.sampling import motion_guided_frames


def loader(video_folder, *, training: bool, seed: int = 0, **options) -> ClipLoader:
    return ClipLoader(
        load_dataset(f"folder:{video_folder}", split="train"),
        make_classifier("tiny_r3d").geometry,
        batch_size=3,
        training=training,
        generator=torch.Generator().manual_seed(seed),
        **options,
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_testing_is_fixed_and_training_follows_the_seed(video_folder, sampler):
    def clips(**options):
        return torch.cat([batch for batch, _ in loader(video_folder, sampler=sampler, **options)])

    assert torch.equal(clips(training=False), clips(training=False, seed=1))
    assert clips(training=False).shape == (8, 8, 3, 32, 32)
    assert torch.equal(clips(training=True, num_workers=1), clips(training=True, num_workers=4))
    assert not torch.equal(clips(training=True), clips(training=True, seed=1))


def test_motion_guided_frames_are_those_of_the_whole_video(video_folder):
    batches = loader(video_folder, training=False, sampler="motion_guided", mu=1.0)
    path = batches.dataset.videos[2].path
    frames = motion_guided_frames(motion_curve(path), 8, mu=1.0)
    assert frames.max() > probe(path).num_frames // 2
    [expected] = read_frames(path, frames, sizes=[FrameSize((32, 32), (32, 32))])
    assert torch.equal(next(iter(batches))[0][2], expected)


def test_a_set_of_which_nothing_can_be_read_is_an_error(tmp_path):
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "a" / "0.mp4").write_bytes(b"not a video")
    with pytest.raises(ValueError, match=r"dataset 'folder:.*', split 'train': no video can be read"):
        list(loader(tmp_path, training=False))


def test_an_unknown_sampler_is_refused():
    with pytest.raises(ValueError, match=r"sampler \('x'\) must be one of clip, segment, motion_guided, magnitude"):
        FitConfig(sampler="x")


GEOMETRY_5 = ClipGeometry(num_frames=5, resize=(32, 32), crop=(32, 32))


@pytest.mark.parametrize(
    ("num_frames", "options", "first", "last"),
    [
        (8, {"place": 0.0}, 0, 4),
        (8, {"place": 0.99}, 3, 7),
        (8, {"place": 0.5}, 2, 6),
        # A segment of 3 frames: its last repeats, or what lies around it is taken.
        (3, {"place": 0.99}, 0, 2),
        (3, {"place": 0.99, "reach": (2, 2)}, -1, 3),
        (3, {"place": 0.0, "reach": (2, 2), "time_jitter": 1}, -2, 2),
        (3, {"place": 0.99, "reach": (2, 2), "time_jitter": 1}, 0, 4),
        # At the start and at the end of a file.
        (3, {"place": 0.5, "reach": (0, 2)}, 0, 4),
        (3, {"place": 0.5, "reach": (2, 0)}, -2, 2),
        (3, {"place": 0.99, "reach": (0, 1), "time_jitter": 4}, 0, 3),
        # Near the middle of a longer one.
        (15, {"place": 0.0, "time_jitter": 2}, 3, 7),
        (15, {"place": 0.99, "time_jitter": 2}, 7, 11),
        (6, {"place": 0.99, "time_jitter": 3}, 1, 5),
        (6, {"place": 0.99, "time_jitter": 3, "reach": (5, 5)}, 3, 7),
    ],
)
def test_frames_of_a_clip_by_hand(num_frames, options, first, last):
    frames = clip_frames(num_frames, GEOMETRY_5, **options)
    assert (frames[0].item(), frames.max().item(), len(frames)) == (first, last, 5)
    assert set(frames.diff().tolist()) <= {0, 1}


def test_every_place_within_the_jitter_is_as_likely():
    starts = [clip_frames(15, GEOMETRY_5, place=place / 50, time_jitter=2)[0].item() for place in range(50)]
    assert [starts.count(start) for start in range(3, 8)] == [10] * 5


@pytest.mark.parametrize("cache", [False, True])
def test_a_short_segment_is_shown_with_what_lies_around_it(make_video, tmp_path, cache):
    path = make_video(tmp_path / "a.mp4", num_frames=30)
    whole, part = (
        VideoDataset(name="one", split="train", class_names=("a",), videos=(LabelledVideo(str(path), (0,), *segment),))
        for segment in ((), (10 / 15, 13 / 15))
    )
    [everything] = read_frames(path, range(30), sizes=[FrameSize((32, 32), (32, 32))])

    def clip(dataset, **options):
        options = {"batch_size": 1, "training": False, "generator": torch.Generator(), "cache": cache} | options
        return next(iter(ClipLoader(dataset, GEOMETRY_5, **options)))[0][0]

    assert torch.equal(clip(part), everything[[10, 11, 12, 12, 12]])
    assert torch.equal(clip(part, context=True), everything[9:14])
    assert torch.equal(clip(whole, context=True), everything[13:18])
    generator = torch.Generator().manual_seed(0)
    moved = [clip(part, context=True, time_jitter=2, training=True, generator=generator) for _ in range(30)]
    starts = {start for one in moved for start in range(26) if torch.equal(one, everything[start : start + 5])}
    assert starts == {7, 8, 9, 10, 11}


def test_jitter_takes_windows_of_the_whole_frame_in_training_alone(video_folder):
    jitter = ClipJitter(random_crop=True)
    geometry = ClipGeometry(num_frames=2, resize=(40, 40), crop=(32, 32))
    dataset = load_dataset(f"folder:{video_folder}", split="train")

    def clips(**options):
        options = {"generator": torch.Generator().manual_seed(0), "batch_size": 8, "jitter": jitter} | options
        return next(iter(ClipLoader(dataset, geometry, **options)))[0]

    assert torch.equal(clips(training=False), clips(training=False, jitter=None))
    assert clips(training=True).shape == (8, 2, 3, 32, 32)
    assert not torch.equal(clips(training=True), clips(training=True, jitter=None))
    assert torch.equal(clips(training=True), clips(training=True, cache=True))
    assert torch.equal(clips(training=True, num_workers=1), clips(training=True, num_workers=4))


def test_segments_are_equal_parts_of_the_places_where_clips_fit():
    geometry = ClipGeometry(num_frames=3, resize=8, crop=(8, 8))
    assert clips_of_segments(12, geometry, num_segments=2).tolist() == [[2, 3, 4], [7, 8, 9]]
    ends = clips_of_segments(12, geometry, num_segments=2, places=torch.tensor([0.0, 0.999]))
    assert ends.tolist() == [[0, 1, 2], [9, 10, 11]]
    assert clips_of_segments(2, geometry, num_segments=3).tolist() == [[0, 1, 1]] * 3


def test_the_consensus_is_the_mean_of_a_videos_clips():
    logits = torch.tensor([[1.0, 5.0], [3.0, 1.0], [0.0, 0.0], [2.0, 8.0]])
    assert consensus(logits, 2).tolist() == [[2, 3], [1, 4]]
    assert torch.equal(consensus(logits, 4), logits)


@pytest.mark.parametrize("cache", [False, True])
def test_clips_of_segments_come_one_video_after_another(video_folder, cache):
    batches = loader(video_folder, training=False, segments=3, cache=cache)
    clips, targets = next(iter(batches))
    assert (len(clips), len(targets)) == (9, 3)
    path = batches.dataset.videos[1].path
    frames = clips_of_segments(probe(path).num_frames, batches.geometry, num_segments=3)
    [expected] = read_frames(path, frames.flatten(), sizes=[FrameSize((32, 32), (32, 32))])
    assert torch.equal(clips[3:6].flatten(0, 1), expected)


def test_random_segments_follow_the_seed_and_are_in_order(video_folder):
    def clips(seed):
        jitter = ClipJitter(brightness=0.2)
        batches = loader(video_folder, training=True, segments=3, seed=seed, jitter=jitter)
        return torch.cat([batch for batch, _ in batches])

    assert torch.equal(clips(0), clips(0))
    assert not torch.equal(clips(0), clips(1))


def test_segments_do_not_go_with_mixup():
    with pytest.raises(ValueError, match=r"segments \(3\) go with sampler clip"):
        FitConfig(segments=3, mixup=0.2)


@pytest.mark.parametrize("difference", ["feature", "ssim"])
def test_the_difference_and_the_rounding_decide_which_frames_are_seen(video_folder, difference):
    batches = loader(
        video_folder, training=False, sampler="motion_guided", mu=4.0, difference=difference, rounding="authors"
    )
    path = batches.dataset.videos[2].path
    frames = motion_guided_frames(motion_curve(path, kind=difference), 8, mu=4.0, rounding="authors")
    [expected] = read_frames(path, frames, sizes=[FrameSize((32, 32), (32, 32))])
    assert torch.equal(next(iter(batches))[0][2], expected)
