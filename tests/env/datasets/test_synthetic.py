"""The files of the synthetic sets: what is in them, and how they are made."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest

from vidselect_env.datasets.base import VideoDataset
from vidselect_env.datasets.synthetic import MOTIONS, SyntheticConfig, synthetic_dataset, truth_spans
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


def test_an_untrimmed_video_is_h264_with_aac_sound(untrimmed):
    with av.open(untrimmed.videos[0].path) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec.canonical_name, video.width, video.height) == ("h264", 160, 120)
        assert (video.average_rate, audio.codec.canonical_name, audio.rate) == (15, "aac", SAMPLE_RATE)
        assert audio.layout.name == "mono"
        frames = list(container.decode(video))
        assert [round(frame.time * 15) for frame in frames] == list(range(180))
        keys = [number for number, frame in enumerate(frames) if frame.key_frame]
        assert max(np.diff([*keys, 180])) <= 30
        assert av.video.frame.PictureType.B in {frame.pict_type for frame in frames}
        container.seek(0)
        samples = sum(frame.samples for frame in container.decode(audio))
        assert samples / SAMPLE_RATE == pytest.approx(12, abs=0.2)


def test_a_trimmed_video_is_twelve_frames_without_sound(tmp_path):
    with av.open(make(tmp_path, 1).videos[0].path) as container:
        assert not container.streams.audio
        assert len(list(container.decode(video=0))) == 12


def test_truth_lies_beside_the_videos(untrimmed):
    for video in untrimmed.videos:
        truth = truth_spans(video.path)
        assert (truth.label,) == video.labels
        assert {span.motion for span in truth.action} == {MOTIONS[truth.label]}
    with pytest.raises(ValueError, match=r"'other.mp4' is not listed in"):
        truth_spans(Path(untrimmed.videos[0].path).with_name("other.mp4"))


def test_classes_are_balanced(tmp_path):
    dataset = make(tmp_path, 16)
    assert dataset.class_names == MOTIONS
    assert Counter(video.labels for video in dataset.videos) == {(label,): 2 for label in range(8)}


@pytest.mark.parametrize("kind", ["untrimmed", "trimmed"])
def test_same_seed_same_bytes_another_seed_others(tmp_path, kind):
    first, again, other = (
        contents(make(tmp_path / name, 2, kind=kind, seed=seed)) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again
    assert len({*first, *other}) == 4


def test_train_and_test_are_different_videos(tmp_path):
    train = synthetic_dataset(split="train", num_train=2, kind="trimmed", cache_dir=tmp_path, progress=False)
    assert not set(contents(train)) & set(contents(make(tmp_path, 2)))


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
    monkeypatch.setattr("vidselect_env.datasets.synthetic.writable_folder", lambda path: pytest.fail("wrote"))
    assert make(tmp_path, 2) == dataset


def test_an_unknown_split_and_no_videos_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"unknown split 'val' of the synthetic videos: there are train, test"):
        synthetic_dataset(split="val", cache_dir=tmp_path)
    with pytest.raises(ValueError, match=r"num_test \(0\) must be at least 1"):
        make(tmp_path, 0)
