"""The files of the synthetic sets: what is in them, and how they are made."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest

from vidselect_env.datasets import VideoDataset, load_dataset
from vidselect_env.datasets.synthetic import MOTIONS, SyntheticConfig, synthetic_dataset, truth_spans
from vidselect_env.datasets.synthetic.making import drawn_video, video_rng
from vidselect_env.datasets.synthetic.scenes import draw_scene
from vidselect_env.datasets.synthetic.sound import SAMPLE_RATE


def make(folder: Path, num_videos: int, *, kind: str = "trimmed", seed: int = 0) -> VideoDataset:
    return synthetic_dataset(split="test", num_test=num_videos, kind=kind, seed=seed, cache_dir=folder, progress=False)


def contents(dataset: VideoDataset) -> list[bytes]:
    return [Path(video.path).read_bytes() for video in dataset.videos]


@pytest.fixture(scope="module")
def untrimmed(tmp_path_factory: pytest.TempPathFactory) -> VideoDataset:
    return make(tmp_path_factory.mktemp("untrimmed"), 6, kind="untrimmed")


def test_a_video_too_short_for_its_parts_is_refused():
    with pytest.raises(ValueError, match=r"num_frames \(60\) must be at least 120"):
        SyntheticConfig(num_frames=60)


def is_silent(path: str) -> bool:
    return truth_spans(path).tones is None


def test_an_untrimmed_video_is_h264_with_aac_sound_or_silent(untrimmed):
    silent = [is_silent(video.path) for video in untrimmed.videos]
    assert len(set(silent)) == 2
    for video, without_sound in zip(untrimmed.videos, silent, strict=True):
        with av.open(video.path) as container:
            assert len(container.streams.audio) == (0 if without_sound else 1)
    with av.open(untrimmed.videos[silent.index(False)].path) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec.canonical_name, video.width, video.height) == ("h264", 160, 120)
        assert (video.average_rate, audio.codec.canonical_name, audio.rate) == (15, "aac", SAMPLE_RATE)
        assert audio.layout.name == "mono"
        frames = list(container.decode(video))
        assert [round(frame.time * 15) for frame in frames] == list(range(150))
        keys = [number for number, frame in enumerate(frames) if frame.key_frame]
        assert max(np.diff([*keys, 150])) <= 30
        assert av.video.frame.PictureType.B in {frame.pict_type for frame in frames}
        container.seek(0)
        samples = sum(frame.samples for frame in container.decode(audio))
        assert samples / SAMPLE_RATE == pytest.approx(10, abs=0.2)


def test_a_trimmed_video_is_twelve_frames_without_sound(tmp_path):
    with av.open(make(tmp_path, 1).videos[0].path) as container:
        assert not container.streams.audio
        assert len(list(container.decode(video=0))) == 12


def test_truth_lies_beside_the_videos(untrimmed):
    for number, video in enumerate(untrimmed.videos):
        truth = truth_spans(video.path)
        assert truth == draw_scene(number, 150, np.random.default_rng([0, 1, 3, number]))
        assert (truth.label,) == video.labels
        assert {span.motion for span in truth.action} == {MOTIONS[truth.label]}
    with pytest.raises(ValueError, match=r"'other.mp4' is not listed in"):
        truth_spans(Path(untrimmed.videos[0].path).with_name("other.mp4"))


def test_a_video_carries_the_seconds_of_its_action(untrimmed):
    for video in untrimmed.videos:
        spans = truth_spans(video.path).action
        assert video.action_spans_s == tuple((span.first_frame / 15, (span.last_frame + 1) / 15) for span in spans)


def test_classes_are_balanced(tmp_path):
    dataset = make(tmp_path, 16)
    assert dataset.class_names == MOTIONS
    assert Counter(video.labels for video in dataset.videos) == {(label,): 2 for label in range(8)}


@pytest.mark.parametrize("kind", ["untrimmed", "trimmed", "v1"])
def test_same_seed_same_bytes_another_seed_others(tmp_path, kind):
    first, again, other = (
        contents(make(tmp_path / name, 2, kind=kind, seed=seed)) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again
    assert len({*first, *other}) == 4


def test_the_splits_are_different_videos(tmp_path):
    sizes = {"num_train": 2, "num_val": 2, "num_test": 2}
    splits = [
        contents(synthetic_dataset(split=split, kind="trimmed", cache_dir=tmp_path, progress=False, **sizes))
        for split in ("train", "val", "test")
    ]
    assert len({video for split in splits for video in split}) == 6


def test_validation_is_a_quarter_and_testing_half_of_what_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDSELECT_CACHE", str(tmp_path))
    sizes = [
        len(load_dataset("synthetic-trimmed", split=split, num_videos=8, progress=False))
        for split in ("train", "val", "test")
    ]
    assert sizes == [8, 2, 4]


def test_a_larger_number_keeps_the_first_videos_and_a_smaller_one_is_a_part(tmp_path):
    few = make(tmp_path, 2)
    times = [Path(video.path).stat().st_mtime_ns for video in few.videos]
    many = make(tmp_path, 5)
    assert many.videos[:2] == few.videos
    assert [Path(video.path).stat().st_mtime_ns for video in few.videos] == times
    assert make(tmp_path, 2) == few
    assert truth_spans(many.videos[4].path).label == 4


def test_making_goes_on_where_it_was_killed(tmp_path):
    dataset = make(tmp_path, 4)
    whole = contents(dataset)
    folder = Path(dataset.videos[0].path).parent
    kept = (folder / "00000.mp4").stat().st_mtime_ns
    (folder / "dataset.json").unlink()
    (folder / "00002.mp4").rename(folder / "00002.mp4.part")
    (folder / "00003.mp4").unlink()
    assert contents(make(tmp_path, 4)) == whole
    assert (folder / "00000.mp4").stat().st_mtime_ns == kept
    assert not list(folder.glob("*.part"))


def test_a_deleted_file_of_a_finished_set_is_made_again(tmp_path):
    dataset = make(tmp_path, 3)
    whole = contents(dataset)
    Path(dataset.videos[1].path).unlink()
    assert contents(make(tmp_path, 3)) == whole


def test_two_makers_of_one_folder_do_not_disturb_each_other(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda number: make(tmp_path, number), (6, 4))
    assert first.videos[:4] == second.videos
    assert contents(first) == contents(make(tmp_path / "alone", 6))
    assert truth_spans(first.videos[5].path).label == 5


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PermissionError, match=r"file.*synthetic-trimmed-"):
        make(tmp_path / "file", 1)


def test_a_finished_set_needs_no_writing(tmp_path, monkeypatch):
    dataset = make(tmp_path, 2)
    monkeypatch.setattr("vidselect_env.datasets.synthetic.making.writable_folder", lambda path: pytest.fail("wrote"))
    assert make(tmp_path, 2) == dataset


def test_an_unknown_split_and_no_videos_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"unknown split 'all' of the synthetic videos: there are train, val, test"):
        synthetic_dataset(split="all", cache_dir=tmp_path)
    with pytest.raises(ValueError, match=r"num_test \(0\) must be at least 1"):
        make(tmp_path, 0)


@pytest.mark.parametrize("kind", ["v1", "v1-trimmed", "speeds"])
def test_the_first_version_is_what_it_was(kind):
    """Its random numbers decide its files: the streams that published figures were made with."""
    config = SyntheticConfig(kind=kind, seed=5)
    for split, number in (("train", 0), ("test", 1)):
        drawn = video_rng(config, split, 7).integers(0, 2**62, 3)
        kinds = ("v1", "v1-trimmed", "speeds")
        assert (drawn == np.random.default_rng([5, number, kinds.index(kind), 7]).integers(0, 2**62, 3)).all()


def test_single_frames_do_not_tell_the_class():
    """A linear probe on frames, of every eighth pixel, is at chance: one in eight."""
    config = SyntheticConfig(kind="trimmed", seed=100, num_frames=2)
    frames = np.stack([drawn_video(config, i % 8, video_rng(config, "train", i))[0][1, ::8, ::8] for i in range(720)])
    inputs = np.c_[frames.reshape(720, -1) / 127.5 - 1, np.ones(720)]
    is_class = np.eye(8)[np.arange(720) % 8]
    # Ridge regression, by the dual: fewer videos than values.
    kernel = inputs @ inputs.T
    fitted = np.linalg.solve(kernel[:480, :480] + 30 * np.eye(480), is_class[:480] - 1 / 8)
    right = (kernel[480:, :480] @ fitted).argmax(1) == np.arange(480, 720) % 8
    assert abs(right.mean() - 1 / 8) < 4 * np.sqrt(1 / 8 * 7 / 8 / 240)
