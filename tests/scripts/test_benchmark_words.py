"""Which clips of a word the benchmark of words takes, by hand, and its tables."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from vidselect_classifiers import ClipGeometry, make_classifier, save_weights
from vidselect_env.datasets import LabelledVideo, VideoDataset, load_dataset

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "measure" / "words.py"
GEOMETRY = ClipGeometry(num_frames=5, resize=(32, 32), crop=(32, 32))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_words", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmark_words"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def path(make_video, tmp_path_factory) -> str:
    """45 frames, 15 a second."""
    return str(make_video(tmp_path_factory.mktemp("sentence") / "a.mp4", num_frames=45))


def test_clips_lie_around_the_middle_of_a_word_and_stay_in_the_file(script, path):
    word = LabelledVideo(path, (0,), start_s=1.0, end_s=1.2)  # frames 15, 16, 17
    frames = script.word_clips(word, GEOMETRY, offsets=[-30, -1, 0, 2, 30])
    assert frames[:, 0].tolist() == [0, 13, 14, 16, 40]
    assert frames[2].tolist() == [14, 15, 16, 17, 18]


def test_the_nearest_candidate_of_a_segment_has_the_nearest_middle(script, path):
    # Frames 6 to 35; candidates begin at 6, 11, 16, 21, 26, 31, and the word's middle is at 1.1 s, frame 16.5.
    segment = LabelledVideo(path, (0,), start_s=0.4, end_s=2.4, action_spans_s=((1.0, 1.2),))
    assert script.nearest_clip(segment, GEOMETRY, 6).tolist() == [[16, 17, 18, 19, 20]]
    [word] = script.trimmed(VideoDataset(name="one", split="train", class_names=("a",), videos=(segment,)))
    assert (word.start_s, word.end_s) == (1.0, 1.2)


def test_words_of_other_tasks_are_left_out_and_the_rest_numbered_by_the_task(script):
    videos = tuple(LabelledVideo(name, (number,)) for number, name in enumerate("abc"))
    words = VideoDataset(name="words", split="test", class_names=("at", "blue", "red"), videos=videos)
    chosen = script.of_classes(words, ("red", "white", "blue"))
    assert [(video.path, video.labels) for video in chosen] == [("b", (2,)), ("c", (0,))]


def test_tables_of_a_folder(path, tmp_path):
    classifier = make_classifier("lip_tcn", num_classes=3)
    classifier.set_class_names(["at", "blue", "red"])
    # Always blue, where at is out of the question.
    classifier.head.weight.data.zero_()
    classifier.head.bias.data.copy_(classifier.head.bias.new_tensor([9.0, 1.0, 0.0]))
    save_weights(classifier, tmp_path / "weights.safetensors")
    (tmp_path / "words.csv").write_text(
        "path,label,split,start_s,end_s\n"
        f"{path},blue,test,0.2,0.4\n{path},blue,test,0.6,0.8\n{path},red,test,1,1.2\n{path},at,test,2,2.2\n"
    )
    (tmp_path / "colour.csv").write_text(
        "path,label,split,start_s,end_s,action_start_s,action_end_s\n"
        f"{path},blue,train,0.4,1.4,1,1.2\n{path},red,train,1,2,1.4,1.6\n"
    )
    arguments = ["--data", str(tmp_path), "--weights", str(tmp_path / "weights.safetensors"), "--tasks", "colour"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments, "--max-offset", "1", "--candidates", "3"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "| colour (3, 2) | 66.7 | 50.0 | 50.0 |" in done.stdout
    assert "| colour | 50.0 | 50.0 | 50.0 |" in done.stdout


def test_published_weights_tell_the_colours_of_other_videos_apart(script, shared):
    folder = shared / "data" / "grid_s1"
    colours = ("blue", "green", "red", "white")
    classifier = make_classifier("lip_tcn", weights="default")
    words = script.of_classes(load_dataset(f"csv:{folder}/words.csv", split="test"), colours)
    jobs = [(word, script.word_clips(word, classifier.geometry, offsets=[0])) for word in words]
    assert len(jobs) == 50
    assert script.accuracy(classifier, jobs, colours)[0] > 90
    classifier.keep_classes(colours)
    assert script.accuracy(classifier, jobs, colours)[0] > 90
