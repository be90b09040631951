"""The GRID audiovisual corpus as its authors distribute it: which word of a sentence is said in these two seconds?

Cooke, Barker, Cunningham, Shao: An audio-visual corpus for speech perception and automatic speech recognition, JASA
120(5), 2006. 34 speakers say 1000 sentences each, of six words ("bin blue at f two now"), in 3 s of 25 frames/s. The
name of a file is the first letter of each of its words (`z` for zero, else the digit itself): `bbaf2n`. Its alignment
says when each word is said, in samples of the 25 kHz sound::

    0 23750 sil
    23750 29500 bin
"""

from __future__ import annotations

import hashlib
import math
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from vidselect_env.datasets.base import SPLITS, LabelledVideo, VideoDataset
from vidselect_env.datasets.checks import warn_left_out
from vidselect_env.datasets.folder import is_video_name
from vidselect_env.datasets.splits import check_split

ALIGN_RATE = 25_000  # units of an alignment a second
FPS, SENTENCE_FRAMES, SEGMENT_FRAMES = 25, 75, 50
SILENCE = ("sil", "sp")
VOCABULARY = {  # in the order of a sentence
    "verb": ("bin", "lay", "place", "set"),
    "colour": ("blue", "green", "red", "white"),
    "preposition": ("at", "by", "in", "with"),
    "letter": tuple("abcdefghijklmnopqrstuvxyz"),  # w has too many syllables
    "digit": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "adverb": ("again", "now", "please", "soon"),
}
TASKS = (*VOCABULARY, "words")
UNSEEN = "-unseen"
# Two men and two women: the test speakers of LipNet (Assael et al. 2016, section 4.1). The next four are ours.
TEST_SPEAKERS, VAL_SPEAKERS = ("s1", "s2", "s20", "s22"), ("s3", "s4", "s23", "s24")


@dataclass(frozen=True)
class Word:
    """A word, and from when to when it is said, in seconds."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Sentence:
    """A video of the corpus, its speaker (`s1`), and its alignment; None where there is none."""

    video: Path
    speaker: str
    alignment: Path | None

    @property
    def name(self) -> str:
        return f"{self.speaker}/{self.video.stem}"


def grid_dataset(path: str, *, split: str) -> VideoDataset:
    """One split of one task.

    A task is a word of the sentence, such as `colour`: the videos are 2 s of sentences, in which that word is said at
    a place that a hash of the file's name draws, and it is told where (`action_spans_s`). `words` are all the words
    of other sentences, trimmed, in the task's 51 classes: for training a classifier that the tasks' sentences are new
    to. Two fifths of the sentences, by a hash of their names, are for `words`.

    Splits are made of sentences by a hash of their names: a fifth each is in `val` and `test`. With `-unseen` they are
    made of speakers: `test` are s1, s2, s20 and s22, `val` s3, s4, s23 and s24.

    Args:
        path: `ROOT@TASK` or `ROOT@TASK-unseen`. ROOT holds a folder for each speaker, `s1/*.mpg` (or in folders of it,
            and of any format); alignments are in `s1/align/`, `s1/`, `align/s1/`, `alignments/s1/`, or, of a single
            speaker, in `align/` or `alignments/`, and named `*.align`.
        split: train, val, test or all.

    Raises:
        ValueError: an unknown task or split, no such folder, no sentence or no alignment in it, or an alignment that
            is none.
    """
    root, _, variant = path.rpartition("@")
    task = variant.removesuffix(UNSEEN)
    if not root or task not in TASKS:
        tasks = ", ".join(TASKS)
        raise ValueError(
            f"'grid:{path}' must be grid:ROOT@TASK or grid:ROOT@TASK{UNSEEN}, of which the task is one of {tasks}"
        )
    check_split(split, available=SPLITS, where=f"grid:{path}")
    left_out: dict[str, list[str]] = defaultdict(list)
    sentences = find_sentences(Path(root).expanduser(), left_out)
    wanted = [
        sentence
        for sentence in sentences
        if (_hash(sentence.name, "role") % 5 < 2) == (task == "words")
        and _is_in(split, sentence, unseen=variant.endswith(UNSEEN))
    ]
    videos = []
    for sentence in wanted:
        videos += _videos(sentence, task, left_out)
    if wanted and not videos:
        reasons = "; ".join(f"{len(names)} {reason}" for reason, names in left_out.items())
        raise ValueError(f"no sentence of {root!r} can be used: {reasons}")
    warn_left_out(root, left_out)
    return VideoDataset(name=f"grid:{path}", split=split, class_names=class_names(task), videos=tuple(videos))


def class_names(task: str) -> tuple[str, ...]:
    """The words of a task; of `words`, all 51 in the order of a sentence."""
    return tuple(word for words in VOCABULARY.values() for word in words) if task == "words" else VOCABULARY[task]


def read_alignment(file: Path) -> list[Word]:
    """The words of a sentence in order, without silence.

    Raises:
        ValueError: it is no such file; the message names the line.
    """
    words = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        parts = line.split()
        if len(parts) != 3 or not (parts[0].isdigit() and parts[1].isdigit()) or int(parts[0]) >= int(parts[1]):
            raise ValueError(f"{str(file)!r}, line {number}: {line!r} must be 'START END WORD', END after START")
        if parts[2] not in SILENCE:
            words.append(Word(parts[2], int(parts[0]) / ALIGN_RATE, int(parts[1]) / ALIGN_RATE))
    return words


def segment_around(word: Word, *, name: str) -> tuple[float, float] | None:
    """2 s of a sentence in which a word is said, on whole frames; None where there are none.

    Of all such places one is drawn by a hash of `name`.

    Example: a word from 1.0 to 1.2 s may lie in any 50 frames that begin at 0 to 1.0 s, frames 0 to 25.
    """
    first = max(math.ceil(word.end_s * FPS - 1e-6) - SEGMENT_FRAMES, 0)
    last = min(math.floor(word.start_s * FPS + 1e-6), SENTENCE_FRAMES - SEGMENT_FRAMES)
    if last < first:
        return None
    start = first + _hash(name, "place") % (last - first + 1)
    return start / FPS, (start + SEGMENT_FRAMES) / FPS


def find_sentences(root: Path, left_out: dict[str, list[str]]) -> list[Sentence]:
    """The sentences under a folder, by speaker and name.

    Raises:
        ValueError: there are none.
    """
    if not root.is_dir():
        raise ValueError(f"dataset folder {str(root)!r} is not a folder")
    speakers = sorted(
        (entry for entry in root.iterdir() if entry.is_dir() and entry.name[:1] == "s" and entry.name[1:].isdigit()),
        key=lambda entry: int(entry.name[1:]),
    )
    found = []
    for folder in speakers:
        places = [folder / "align", folder, root / "align" / folder.name, root / "alignments" / folder.name]
        if len(speakers) == 1:  # of several, sentences of one name would share an alignment
            places += [root / "align", root / "alignments"]
        alignments = {file.stem: file for place in reversed(places) for file in place.glob("*.align")}
        seen: set[str] = set()
        for video in _videos_below(folder):
            name = str(video.relative_to(root))
            if spoken(video.stem) is None:
                left_out["videos whose names tell no sentence"].append(name)
            elif video.stem in seen:
                left_out["other files of a sentence"].append(name)
            else:
                seen.add(video.stem)
                found.append(Sentence(video, folder.name, alignments.get(video.stem)))
    if not found:
        raise ValueError(f"{str(root)!r} holds no sentence of GRID: it needs folders of speakers (s1/bbaf2n.mpg)")
    return found


def spoken(stem: str) -> tuple[str, ...] | None:
    """The words that a file's name tells; None where it tells none.

    Example: `bbaf2n` -> bin, blue, at, f, two, now.
    """
    if len(stem) != len(VOCABULARY):
        return None
    words = []
    for letter, (kind, known) in zip(stem, VOCABULARY.items(), strict=True):
        codes = "z123456789" if kind == "digit" else [word[0] for word in known]
        if letter not in codes:
            return None
        words.append(known[list(codes).index(letter)])
    return tuple(words)


def _videos_below(folder: Path) -> list[Path]:
    files = [Path(parent) / name for parent, _, names in os.walk(folder) for name in names]
    return sorted(file for file in files if is_video_name(file) and not file.name.startswith(".") and file.is_file())


def _videos(sentence: Sentence, task: str, left_out: dict[str, list[str]]) -> list[LabelledVideo]:
    """The videos that a task makes of a sentence."""
    if sentence.alignment is None:
        left_out["sentences without an alignment"].append(sentence.name)
        return []
    words = read_alignment(sentence.alignment)
    if tuple(word.text for word in words) != spoken(sentence.video.stem):
        left_out["sentences whose alignment has other words than their name"].append(sentence.name)
        return []
    names, path = class_names(task), str(sentence.video)
    if task == "words":
        return [LabelledVideo(path, (names.index(word.text),), word.start_s, word.end_s) for word in words]
    word = words[list(VOCABULARY).index(task)]
    segment_s = segment_around(word, name=f"{sentence.name} {task}")
    if segment_s is None:
        left_out["sentences in which the word fits into no segment"].append(sentence.name)
        return []
    return [LabelledVideo(path, (names.index(word.text),), *segment_s, action_spans_s=((word.start_s, word.end_s),))]


def _is_in(split: str, sentence: Sentence, *, unseen: bool) -> bool:
    if unseen:
        own = "test" if sentence.speaker in TEST_SPEAKERS else "val" if sentence.speaker in VAL_SPEAKERS else "train"
    else:
        own = {0: "test", 1: "val"}.get(_hash(sentence.name, "split") % 5, "train")
    return split == "all" or own == ("train" if split == "fit" else split)


def _hash(name: str, purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose} {name}".encode()).digest()[:8], "big")
