"""A new video is recognised as the same video of a bank is evaluated, without classifying what was not chosen."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from vidselect_classifiers import make_classifier
from vidselect_env.bank import SkimSpec, bank_spec, build_bank
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import selection_of
from vidselect_env.experiment.config import ProblemConfig
from vidselect_env.experiment.problems import make_problem
from vidselect_env.experiment.recognise import recognise
from vidselect_env.video.errors import VideoError

SECTIONS = {"sections": 6, "clips": 3}
FRAMES = {"frames": 5, "kept": 2}


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return make_classifier("tiny_r3d", num_classes=3, resize=40, crop=(32, 32)).eval()


def spec_of(classifier, folder, num_clips):
    dataset = dataclasses.replace(load_dataset(f"folder:{folder}", split="test"), class_names=("a", "b", "c"))
    skim = SkimSpec(num_frames=2, resize=(8, 8), crop=(8, 8))
    return dataset, bank_spec(dataset, classifier, num_clips=num_clips, fields=("logits", "skim"), skim=skim)


class Brightest:
    """A choice that depends on what is seen."""

    def __init__(self, environment, **needs):
        self.needs = Needs(fields=("skim",), environment=environment, observation="skim", **needs)

    def select(self, looks):
        return looks.best(looks.field("skim").float().flatten(2).mean(-1))

    def cost_gmacs(self, shapes):
        return 0.0


class Nothing(Brightest):
    def select(self, looks):
        return torch.zeros_like(looks.valid)


CLIPS, WHOLE = "VideoClipSelect-v0", "VideoFrameSelect-v0"


@pytest.mark.parametrize(
    ("selector", "options", "num_clips"),
    [
        (Brightest(CLIPS), SECTIONS, 18),
        (Brightest(CLIPS, per_section=True), SECTIONS, 18),
        (Brightest(CLIPS), SECTIONS, None),  # 4 clips in 6 sections: some are chosen more than once
        (Brightest(WHOLE), FRAMES, 10),
        (Brightest(WHOLE), FRAMES | {"alpha": 0.5}, 10),
        (Brightest(WHOLE), FRAMES | {"frames": None}, None),
    ],
)
def test_recognition_is_evaluation_of_one_video(tmp_path, make_video, classifier, selector, options, num_clips):
    path = make_video(tmp_path / "set" / "test" / "a" / "0.mp4", num_frames=32)
    dataset, spec = spec_of(classifier, tmp_path / "set", num_clips)
    bank = build_bank(tmp_path / "bank", dataset, classifier, spec=spec, progress=False)
    config = ProblemConfig(**options)
    problem = make_problem(config, BankSource(bank), selector.needs)
    contexts = torch.arange(problem.num_contexts)
    weights = problem.fusion_weights(selection_of(selector, problem, contexts))
    expected = (weights[..., None] * problem.probabilities(contexts)).sum((0, 1)) / weights.sum()

    found = recognise(
        str(path),
        selector,
        classifier=classifier,
        spec=dataclasses.replace(spec, fields=("skim",)),
        problem=config,
    )
    torch.testing.assert_close(found.probabilities, expected, atol=1e-5, rtol=0)
    assert found.classified.tolist() == problem.candidates(contexts)[weights > 0].unique().tolist()


def recognised(path, classifier, folder, *, num_clips=5, selector=None, **options):
    _, spec = spec_of(classifier, folder, num_clips)
    return recognise(
        str(path),
        selector or Brightest(WHOLE),
        classifier=classifier,
        spec=dataclasses.replace(spec, fields=("skim",)),
        problem=ProblemConfig(**(FRAMES | options)),
    )


def test_a_video_that_the_problem_does_not_fit_is_named(tmp_path, make_video, classifier):
    path = make_video(tmp_path / "set" / "test" / "a" / "0.mp4", num_frames=20)
    with pytest.raises(VideoError, match=r"0\.mp4.*num_candidates \(5\) must be at most the fewest candidates .*\(2\)"):
        recognised(path, classifier, tmp_path / "set", num_clips=None)
    with pytest.raises(VideoError, match=r"0\.mp4.*chooses no clip of it"):
        recognised(path, classifier, tmp_path / "set", selector=Nothing(WHOLE))


def test_seconds_are_those_of_the_timestamps(tmp_path, make_video, classifier):
    """Thirty frames in the first second, then two a second."""
    make_video(tmp_path / "set" / "test" / "a" / "0.mp4")
    path = tmp_path / "slower.mkv"
    milliseconds = [*range(0, 1000, 33)][:30] + [1000 + 500 * number for number in range(30)]
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 48, 48, "yuv420p", Fraction(1, 1000)
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, shown_ms in enumerate(milliseconds):
            frame = av.VideoFrame.from_ndarray(np.full((48, 48, 3), 4 * number, dtype=np.uint8), format="rgb24")
            frame.pts, frame.time_base = shown_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    found = recognised(path, classifier, tmp_path / "set", kept=5)
    starts = [0, 13, 26, 39, 52]  # frames; the last clip ends with the video
    assert found.start_s.tolist() == pytest.approx([milliseconds[start] / 1000 for start in starts], abs=0.002)
