"""Lists of videos in CSV: each is read as it is meant, or is one error that names the file, the line and the value."""

from __future__ import annotations

import itertools
import os
import warnings
from pathlib import Path

import manifest_cases
import manifest_rows
import pytest
from hostile import at_most
from manifest_cases import A, Case, Row, right

from vidselect_env.datasets import load_dataset
from vidselect_env.datasets.base import VideoDataset
from vidselect_env.stores import is_url

FAMILIES = {
    function.__name__: function
    for function in (
        *(manifest_cases.times, manifest_cases.segments, manifest_cases.characters, manifest_cases.quotes),
        *(manifest_cases.encodings, manifest_rows.columns, manifest_rows.rows, manifest_rows.duplicates),
        *(manifest_rows.splits, manifest_rows.classes, manifest_rows.paths),
    )
}
TRIAL_S = 60


def said(dataset: VideoDataset, folder: Path) -> list[Row]:
    """What was read, with classes by name, and paths as they were written."""
    return [
        (
            video.path if is_url(video.path) else video.path.removeprefix(f"{folder}/"),
            tuple(dataset.class_names[label] for label in video.labels),
            *video.segment_s,
            video.action_spans_s,
        )
        for video in dataset.videos
    ]


def judge(case: Case, folder: Path) -> str:
    file = folder / f"list{case.suffix}"
    file.write_bytes(case.data)
    with warnings.catch_warnings(record=True) as caught, at_most(TRIAL_S):
        warnings.simplefilter("always")
        if case.rows is None:
            with pytest.raises(ValueError, match=r".+") as error:
                load_dataset(f"csv:{file}", split=case.split)
            message = str(error.value)
            assert type(error.value) is ValueError
            assert "\n" not in message
            assert str(file) in message
            assert case.line is None or f"line {case.line}" in message
            assert case.value in message
            return "one line that names file, line and value"
        dataset = load_dataset(f"csv:{file}", split=case.split)
    wanted = [(str(Path(path)) if not is_url(path) else path, *rest) for path, *rest in case.rows]
    assert said(dataset, folder) == wanted
    assert case.classes is None or dataset.class_names == case.classes
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == bool(case.warns), messages
    assert all(case.warns in message and str(file) in message for message in messages)
    assert is_url(dataset.videos[0].path) or len(dataset.fingerprint()) == 64
    return "read as meant"


def test_there_are_three_hundred_lists_and_no_two_are_the_same():
    cases = [*itertools.chain.from_iterable(family() for family in FAMILIES.values())]
    assert len({(case.data, case.split, case.suffix) for case in cases}) == len(cases)
    assert len(cases) >= 300
    assert sum(case.rows is not None for case in cases) >= 100


@pytest.mark.parametrize("family", FAMILIES)
def test_a_list_is_read_as_it_is_meant_or_is_one_error_that_names_the_line(tmp_path, count_trial, family):
    broken = []
    for number, case in enumerate(FAMILIES[family]()):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            outcome = judge(case, folder)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            outcome = "broken"
            broken.append(f"{case.title}: {type(error).__name__}: {str(error)[:300]}")
        count_trial("manifests of data", outcome)
    assert not broken, f"{len(broken)} broken: " + "\n".join(broken)


@pytest.mark.parametrize(
    "make",
    [os.mkdir, os.mkfifo, lambda file: os.symlink("/dev/zero", file), lambda file: os.symlink(file, file),
     lambda file: os.symlink("nowhere", file), lambda file: None],
    ids=["a folder", "a pipe", "endless", "itself", "a link to nothing", "nothing"],
)  # fmt: skip
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, count_trial, make):
    file = tmp_path / "list.csv"
    make(file)
    with at_most(10), pytest.raises(ValueError, match=r"list\.csv' is not a file"):
        load_dataset(f"csv:{file}", split="train")
    count_trial("manifests of data", "one line that names file, line and value")


def test_a_terabyte_of_nothing_is_refused_unread(tmp_path, count_trial):
    file = tmp_path / "list.csv"
    file.write_bytes(b"path,label\n")
    os.truncate(file, 1 << 40)
    with at_most(10), pytest.raises(ValueError, match=r"list\.csv' has 1099511627776 bytes"):
        load_dataset(f"csv:{file}", split="train")
    count_trial("manifests of data", "one line that names file, line and value")


def test_the_truth_of_this_file_can_be_missed(tmp_path):
    """A case that is wrong on purpose fails."""
    with pytest.raises(AssertionError):
        judge(right("another class", "path,label,split\na.mp4,run,train\n", A), tmp_path)
