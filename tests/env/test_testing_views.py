"""Ten clips x three crops: what a trained classifier is tested on, and how their predictions are put together."""

from __future__ import annotations

import pytest
import torch
from stable_baselines3.common.logger import Logger
from torch import nn

from vidselect_classifiers import ClipGeometry, ClipOutput, make_classifier
from vidselect_env.datasets import load_dataset
from vidselect_env.fitting.epochs import evaluate_clips
from vidselect_env.fitting.fit_config import TEST_VIEWS, FitConfig
from vidselect_env.fitting.loader import ClipLoader, clips_of_segments
from vidselect_env.fitting.options import ClassifierOptions
from vidselect_env.fitting.training import fit
from vidselect_env.video.crops import NUM_VIEWS
from vidselect_env.video.decode import FrameSize, read_frames

WIDE = ClipGeometry(num_frames=3, frame_stride=2, resize=(20, 36), crop=(20, 20))


def test_a_video_is_seen_in_all_crops_of_all_its_clips(video_folder):
    dataset = load_dataset(f"folder:{video_folder}", split="test")
    options = {"batch_size": 1, "training": False, "generator": torch.Generator()}
    clips, _ = next(iter(ClipLoader(dataset, WIDE, **options, segments=2, views="three")))
    frames = clips_of_segments(20, WIDE, num_segments=2)  # clips start at frames 0 to 15
    assert frames.tolist() == [[4, 6, 8], [12, 14, 16]]
    [whole] = read_frames(dataset.videos[0].path, frames.flatten(), sizes=[FrameSize((20, 36), (20, 36))])
    expected = torch.stack([whole[..., left : left + 20] for left in (0, 8, 16)]).unflatten(1, (2, 3)).flatten(0, 1)
    assert torch.equal(clips, expected)
    centre, _ = next(iter(ClipLoader(dataset, WIDE, **options, segments=2)))
    assert torch.equal(centre, clips[2:4])


class Says(nn.Module):
    """Of the clips of a video, in order, the logits that were given."""

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.logits, self.num_classes = nn.Parameter(torch.tensor(logits)), len(logits[0])

    def forward(self, clips: torch.Tensor) -> ClipOutput:
        return ClipOutput(self.logits, self.logits)


class OneVideo:
    """A loader of one video of three clips, whose class is the second."""

    def __iter__(self):
        yield torch.zeros(3, 1, 3, 2, 2, dtype=torch.uint8), torch.tensor([[0.0, 1.0]])


def test_the_mean_probability_of_a_videos_clips_counts_and_not_their_mean_logit():
    # Probabilities of the second class: 0.9997, 0.27, 0.27, of mean 0.51; logits of the first exceed by -8, 1, 1.
    sure = Says([[0.0, 8.0], [1.0, 0.0], [1.0, 0.0]])
    # 0.0003, 0.73, 0.73, of mean 0.49; by logits 8, -1, -1 the first class wins by far more.
    unsure = Says([[8.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    one_loud = Says([[9.0, 0.0], [0.0, 3.0], [0.0, 3.0]])  # 0.0001, 0.95, 0.95 of mean 0.64; the logits 9, -3, -3
    for classifier, by_probability, by_logits in ((sure, 1.0, 1.0), (unsure, 0.0, 0.0), (one_loud, 1.0, 0.0)):
        assert evaluate_clips(classifier, OneVideo(), of="video") == {"video_top1": by_probability}  # type: ignore[arg-type]
        assert evaluate_clips(classifier, OneVideo()) == {"clip_top1": by_logits}  # type: ignore[arg-type]


class Kept(Logger):
    """Remembers what was dumped."""

    def __init__(self) -> None:
        super().__init__(None, [])
        self.seen: list[dict] = []

    def dump(self, step: int = 0) -> None:
        self.seen.append({"step": step, **self.name_to_value})
        super().dump(step)


def test_training_ends_with_a_test_on_all_views_where_asked(video_folder, tmp_path):
    sets = [load_dataset(f"folder:{video_folder}", split=split) for split in ("train", "test")]
    for options, is_tested in (({}, False), ({"test_clips": 3, "test_views": "three"}, True)):
        folder = tmp_path / str(is_tested)
        folder.mkdir()
        torch.manual_seed(0)
        logger = Kept()
        config = FitConfig(epochs=1, batch_size=4, **options)
        fit(make_classifier("tiny_r3d", num_classes=2), *sets, config=config, folder=folder, logger=logger)
        assert [each["step"] for each in logger.seen] == [1] * (1 + is_tested)
        assert ("eval/video_top1" in logger.seen[-1]) == is_tested


def test_views_are_named_as_where_they_are_cut():
    assert set(TEST_VIEWS) == set(NUM_VIEWS)
    with pytest.raises(ValueError, match=r"test_views \('two'\) must be one of centre, three, ten"):
        FitConfig(test_views="two")
    with pytest.raises(ValueError, match=r"test_clips \(10\) are of sampler clip, not of segment"):
        FitConfig(test_clips=10, sampler="segment")


def test_a_network_is_tested_at_another_size_than_it_was_trained_at():
    trained, tested = (
        ClassifierOptions(classifier="resnet3d_18_modified", weights=None, clip_frames=4, **options)
        for options in ({}, {"short_side": 288, "crop_size": 256})
    )
    assert (trained.changes()["crop"], trained.changes()["resize"]) == (None, None)
    geometry = tested.make_classifier().geometry
    assert (geometry.resize, geometry.crop) == (288, (256, 256))
    with pytest.raises(ValueError, match=r"crop_size \(0\) must be at least 1"):
        ClassifierOptions(crop_size=0)
    with pytest.raises(ValueError, match="must fit into the resized frame"):
        ClassifierOptions(classifier="x3d_s", weights=None, crop_size=300).make_classifier()
