"""Which frames of each video a classifier is trained and tested on."""

from __future__ import annotations

import pytest
import torch

from vidselect_classifiers import make_classifier
from vidselect_env.datasets import load_dataset
from vidselect_env.fitting.loader import SAMPLERS, ClipLoader
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
