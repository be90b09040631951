"""What is said of the data before hours are spent on it."""

from __future__ import annotations

import pytest
import torch

from vidselect_env.bank import ClipBank
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.experiment.config import ProblemConfig
from vidselect_env.experiment.problems import OPTIONS_OF, check_options
from vidselect_env.experiment.summary import describe_answers, describe_dataset, describe_problem


def source_of(right: list[list[bool]]) -> BankSource:
    """Two classes; the classifier is right about those clips."""
    truth = torch.tensor(right)
    return BankSource(ClipBank.from_tensors(torch.stack([~truth, truth], -1).float(), [1] * len(right)))


def test_a_split_is_told_by_videos_classes_clips_and_bytes(video_folder):
    [line] = describe_dataset(load_dataset(f"folder:{video_folder}", split="train"), num_clips=6)
    size = sum(file.stat().st_size for file in (video_folder / "train").rglob("*.mp4")) / 1e6
    assert line == f"train: 8 videos of 2 classes (left 4, right 4), {size:.1f} MB, 6 clips each, 48 in all"


def test_one_class_and_empty_classes_are_said(tmp_path, make_video):
    make_video(tmp_path / "train" / "only" / "0.mp4", num_frames=5)
    dataset = load_dataset(f"folder:{tmp_path}", split="train")
    assert "one class only: every answer is right" in describe_dataset(dataset, num_clips=None)[1]
    (tmp_path / "train" / "empty").mkdir()
    dataset = load_dataset(f"folder:{tmp_path}", split="train")
    assert describe_dataset(dataset, num_clips=None)[1] == "warning: train has no video of empty"


def test_a_classifier_that_is_always_right_or_always_wrong_is_said():
    [line] = describe_answers(source_of([[True, False], [True, True]]), split="train")
    assert line == (
        "train: the classifier is right about 75.0 % of the clips; in 50.0 % of the videos it depends on the clip"
    )
    for right, said in ((True, "right"), (False, "wrong")):
        warning = describe_answers(source_of([[right] * 2] * 3), split="train")[1]
        assert warning == (f"warning: the classifier is {said} about every clip of train: whatever is chosen is {said}")


def test_repeated_candidates_are_said(bank):
    source = BankSource(bank)
    [line] = describe_problem(ClipSelectProblem(source, num_sections=20, num_clips=5, observation="features"))
    assert "sections (20) x clips (5) are 100, more than the 30 candidates of a video" in line
    assert describe_problem(ClipSelectProblem(source, observation="features")) == []
    assert describe_problem(FrameSelectProblem(source, observation="features")) == []


def test_an_option_of_another_environment_is_refused():
    clips, frames = (Needs(environment=f"Video{kind}Select-v0") for kind in ("Clip", "Frame"))
    check_options(ProblemConfig(sections=2, penalty=0.1), clips)
    check_options(ProblemConfig(frames=None, kept=2), frames)
    with pytest.raises(ValueError, match="--sections 2 is no option of VideoFrameSelect-v0, but of VideoClipSelect-v0"):
        check_options(ProblemConfig(sections=2), frames)
    with pytest.raises(ValueError, match=r"--alpha 0.1 is no option of VideoClipSelect-v0.*called --agent-alpha"):
        check_options(ProblemConfig(alpha=0.1), clips)


def test_every_option_of_a_problem_is_of_an_environment_or_of_all():
    told = {name for names in OPTIONS_OF.values() for name in names}
    assert told | {"environment", "observation"} == set(vars(ProblemConfig()))
