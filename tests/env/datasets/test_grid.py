"""GRID in the layout of its authors, made small: MPEG-1 files of 75 frames that show their number, and alignments."""

from __future__ import annotations

import csv
import itertools
from fractions import Fraction

import av
import numpy as np
import pytest

from vidselect_env.datasets import load_dataset
from vidselect_env.datasets.grid import TASKS, Word, read_alignment, segment_around, spoken
from vidselect_env.video.decode import FrameSize, read_frames
from vidselect_env.video.index import index_video

# "bin blue at f two now", as of the first sentence of the corpus; 25 000 units a second.
ALIGNMENT = """0 23750 sil
23750 29500 bin
29500 34000 blue
34000 35500 at
35500 41000 f
41000 47250 two
47250 53000 now
53000 74500 sil
"""


def align(path, name):
    """An alignment of another sentence, at the same times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = ALIGNMENT
    for word, other in zip(("bin", "blue", "at", "f", "two", "now"), spoken(name), strict=True):
        text = text.replace(f" {word}\n", f" {other}\n")
    path.write_text(text)


def write_mpeg(path):
    """75 frames; frame i is 3 i bright."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg1video", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 2_000_000
        for number in range(75):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64), 3 * number, np.uint8), format="gray")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def corpus(root, speakers=("s1", "s2", "s3", "s4", "s5"), each=40, suffix="mpg", place="{root}/{speaker}/align"):
    """Files that are never decoded, each with its alignment."""
    names = itertools.islice(itertools.product("bl", "bg", "ab", "xyz", "z1", "an"), each)
    for name in map("".join, names):
        for speaker in speakers:
            video = root / speaker / f"{name}.{suffix}"
            video.parent.mkdir(parents=True, exist_ok=True)
            video.write_bytes(f"{speaker}{name}".encode())
            align(root.joinpath(place.format(root=root, speaker=speaker), f"{name}.align"), name)
    return root


def test_words_and_times_of_an_alignment(tmp_path):
    (tmp_path / "bbaf2n.align").write_text(ALIGNMENT.replace("53000 74500 sil", "53000 54000 sp\n54000 74500 sil"))
    words = read_alignment(tmp_path / "bbaf2n.align")
    assert [word.text for word in words] == ["bin", "blue", "at", "f", "two", "now"]
    assert (words[0].start_s, words[0].end_s) == (0.95, 1.18)
    for wrong in ("0 100", "100 100 bin", "a 100 bin", "0 1 2 bin"):
        (tmp_path / "bbaf2n.align").write_text(f"0 50 sil\n{wrong}\n")
        with pytest.raises(ValueError, match=rf"bbaf2n.align', line 2: '{wrong}' must be 'START END WORD'"):
            read_alignment(tmp_path / "bbaf2n.align")


def test_what_a_files_name_tells():
    assert spoken("bbaf2n") == ("bin", "blue", "at", "f", "two", "now")
    assert spoken("swwzzs") == ("set", "white", "with", "z", "zero", "soon")
    for name in ("bbaf2", "bbaf2nn", "bbaw2n", "bbaf0n", "xbaf2n"):
        assert spoken(name) is None


def test_a_segment_holds_the_word_and_begins_anywhere_that_it_can():
    word = Word("blue", 1.0, 1.2)
    segments = [segment_around(word, name=f"s1/{number}") for number in range(2000)]
    assert {round(start * 25) for start, _ in segments} == set(range(26))  # 0 to 1.0 s
    assert {round((end - start) * 25) for start, end in segments} == {50}
    early, late = Word("bin", 0.1, 0.3), Word("now", 2.5, 2.98)
    assert {round(segment_around(early, name=str(n))[0] * 25) for n in range(100)} == {0, 1, 2}
    assert {round(segment_around(late, name=str(n))[0] * 25) for n in range(100)} == {25}
    assert segment_around(Word("bin", 0.5, 2.6), name="s1/x") is None


def shown(video):
    """The numbers of the frames of a video."""
    index = index_video(video.path, start_s=video.start_s, end_s=video.end_s)
    size = FrameSize((48, 64), (48, 64))
    (frames,) = read_frames(video.path, range(index.info.num_frames), sizes=[size], index=index)
    return (frames.float().mean(dim=(1, 2, 3)) / 3).round().int().tolist()


def test_videos_of_official_files_are_exactly_their_frames(tmp_path):
    for name in ("bbaf2n", "bbaf3s"):  # by their hashes the first is for `words`, the second for the tasks
        write_mpeg(tmp_path / "s1" / f"{name}.mpg")
        align(tmp_path / "align" / f"{name}.align", name)
    words = load_dataset(f"grid:{tmp_path}@words", split="all")
    assert len(words.class_names) == 51
    assert [words.class_names[video.labels[0]] for video in words.videos] == ["bin", "blue", "at", "f", "two", "now"]
    assert shown(words.videos[0]) == [24, 25, 26, 27, 28, 29]  # 0.95 to 1.18 s at 25 frames/s
    for task in TASKS[:-1]:
        [video] = load_dataset(f"grid:{tmp_path}@{task}", split="all").videos
        first = round(video.start_s * 25)
        assert shown(video) == list(range(first, first + 50))


def test_a_task_is_two_seconds_around_its_word(tmp_path):
    data = load_dataset(f"grid:{corpus(tmp_path)}@colour", split="all")
    assert data.class_names == ("blue", "green", "red", "white")
    for video in data.videos:
        name = video.path.split("/")[-1]
        assert data.class_names[video.labels[0]][0] == name[1]
        assert video.end_s - video.start_s == pytest.approx(2.0)
        assert video.action_spans_s == ((29500 / 25000, 34000 / 25000),)
        assert video.start_s <= video.action_spans_s[0][0] < video.action_spans_s[0][1] <= video.end_s
    assert len({video.start_s for video in data.videos}) > 15
    again = load_dataset(f"grid:{tmp_path}@colour", split="all")
    assert again.fingerprint() == data.fingerprint()
    verbs = load_dataset(f"grid:{tmp_path}@verb", split="all")
    assert [video.path for video in verbs.videos] == [video.path for video in data.videos]
    assert [video.start_s for video in verbs.videos] != [video.start_s for video in data.videos]


def paths(root, task, split):
    return {video.path for video in load_dataset(f"grid:{root}@{task}", split=split).videos}


def test_no_sentence_is_in_two_splits_and_words_are_of_other_sentences(tmp_path):
    root = corpus(tmp_path)
    train, val, test, everything = (paths(root, "digit", split) for split in ("train", "val", "test", "all"))
    assert len(train) + len(val) + len(test) == len(train | val | test) == len(everything)
    assert len(train) > 2 * min(len(val), len(test)) > 0
    words = paths(root, "words", "all")
    assert not words & everything
    assert len(words | everything) == 200
    assert 0.3 < len(words) / 200 < 0.5
    assert paths(root, "digit", "fit") == train


def test_unseen_speakers_are_in_no_other_split(tmp_path):
    root = corpus(tmp_path)
    speakers = {
        split: {path.split("/")[-2] for path in paths(root, "digit-unseen", split)}
        for split in ("train", "val", "test")
    }
    assert speakers == {"train": {"s5"}, "val": {"s3", "s4"}, "test": {"s1", "s2"}}


@pytest.mark.parametrize(
    "place", ["{root}/{speaker}/align", "{root}/{speaker}", "{root}/align/{speaker}", "{root}/alignments/{speaker}"]
)
def test_alignments_are_found_where_people_unpack_them(tmp_path, place):
    assert len(paths(corpus(tmp_path, each=10, suffix="mp4", place=place), "verb", "all")) > 10


def test_one_folder_of_alignments_is_for_one_speaker_only(tmp_path):
    root = corpus(tmp_path, ("s1",), place="{root}/align")
    assert len(paths(root, "verb", "all")) > 10
    (root / "s2").mkdir()
    (root / "s2" / "bbax1a.mpg").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"no sentence of .* can be used: \d+ sentences without an alignment"):
        paths(root, "verb", "all")


def test_what_cannot_be_used_is_counted(tmp_path):
    root = corpus(tmp_path, ("s1",))
    videos = sorted(paths(root, "verb", "all"))
    (root / "s1" / "align" / f"{videos[0].split('/')[-1][:6]}.align").unlink()
    align(root / "s1" / "align" / f"{videos[1].split('/')[-1][:6]}.align", "swwzzs")
    (root / "s1" / "high").mkdir()
    (root / "s1" / "high" / videos[2].split("/")[-1]).write_bytes(b"better")
    (root / "s1" / "intro.mpg").write_bytes(b"x")
    with pytest.warns(UserWarning, match="left out") as caught:
        assert len(load_dataset(f"grid:{root}@verb", split="all")) == len(videos) - 2
    [message] = {str(warning.message) for warning in caught}
    for reason in (
        "without an alignment",
        "whose alignment has other words",
        "whose names tell no",
        "other files of a",
    ):
        assert reason in message


def test_a_task_must_be_named(tmp_path):
    for name in (f"grid:{tmp_path}", f"grid:{tmp_path}@color", "grid:@colour"):
        with pytest.raises(ValueError, match=r"must be grid:ROOT@TASK .*one of verb, colour, preposition"):
            load_dataset(name, split="train")
    with pytest.raises(ValueError, match=r"holds no sentence of GRID: it needs folders of speakers"):
        load_dataset(f"grid:{tmp_path}@colour", split="train")
    with pytest.raises(ValueError, match=r"unknown split 'dev' .*train, val, test, all, fit"):
        load_dataset(f"grid:{tmp_path}@colour", split="dev")


def test_names_of_the_corpus_tell_the_words_that_are_said(shared):
    for task, place in (("verb", 0), ("colour", 1), ("digit", 4), ("adverb", 5)):
        with (shared / "data" / "grid_s1" / f"{task}.csv").open() as stream:
            for row in csv.DictReader(stream):
                assert spoken(row["path"].split("/")[-1][:-4])[place] == row["label"]
