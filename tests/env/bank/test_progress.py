"""A build that is stopped loses no more than the batch that it was at, and what was written in the last seconds."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from vidselect_classifiers import make_classifier
from vidselect_env.bank import SkimSpec, bank_spec, build_bank, decode, progress
from vidselect_env.datasets import load_dataset

SKIM = SkimSpec(num_frames=2, resize=(8, 8), crop=(8, 8))
NUM_VIDEOS, NUM_CLIPS, BATCH = 8, 5, 4


class Watched:
    """What a build does: clips that are classified, and videos that are decoded, until it is stopped."""

    def __init__(self, monkeypatch, *, stop_after: int | None = None) -> None:
        self.clips, self.batches, self.paths, self.stop_after = 0, 0, [], stop_after
        whole = decode.decode_video
        monkeypatch.setattr(decode, "decode_video", lambda video, **options: self.decode(whole, video, **options))

    def decode(self, whole, video, **options):
        self.paths.append(Path(video.path).name)
        return whole(video, **options)

    def see(self, module, inputs) -> None:
        if inputs[0].is_meta:  # its cost is counted
            return
        if self.batches == self.stop_after:
            raise KeyboardInterrupt
        self.batches, self.clips = self.batches + 1, self.clips + len(inputs[0])


def build(folder: Path, videos: Path, watched: Watched | None = None, *, crops: int = 1, batch_size: int = BATCH):
    dataset = load_dataset(f"folder:{videos}", split="train")
    torch.manual_seed(0)
    classifier = make_classifier("tiny_r3d", num_classes=2)
    if crops == 10:  # its frames are the crop's own size, and ten crops need larger ones
        classifier.geometry = type(classifier.geometry)(**vars(classifier.geometry) | {"resize": (36, 36)})
    if watched is not None:
        classifier.register_forward_pre_hook(watched.see)
    spec = bank_spec(dataset, classifier, num_clips=NUM_CLIPS, skim=SKIM, crops=crops)
    return build_bank(
        folder, dataset, classifier, spec=spec, batch_size=batch_size, num_workers=1, progress=False
    )  # in one shard


def files(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.iterdir())
        if file.name != "build.lock"
    }


@pytest.fixture
def at_once(monkeypatch):
    """Every batch is written down."""
    monkeypatch.setattr(progress, "SAVE_EVERY_S", 0.0)


@pytest.fixture
def videos(tmp_path, video_folder) -> Path:
    """Eight videos, and one among them that cannot be read."""
    folder = Path(shutil.copytree(video_folder, tmp_path / "videos"))
    (folder / "train" / "left" / "2-bad.mp4").write_bytes(b"nothing")
    return folder


@pytest.mark.parametrize(
    ("crops", "stops"), [(1, (1, 2, 3, 1)), (1, (7,)), pytest.param(10, (9, 31), marks=pytest.mark.campaign)]
)
def test_who_is_stopped_goes_on_where_he_was_to_the_same_bytes(tmp_path, videos, monkeypatch, at_once, crops, stops):
    build(tmp_path / "whole", videos, crops=crops)
    classified = 0
    for stop_after in stops:
        watched = Watched(monkeypatch, stop_after=stop_after)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "bank", videos, watched, crops=crops)
        monkeypatch.undo()
        monkeypatch.setattr(progress, "SAVE_EVERY_S", 0.0)
        classified += watched.clips
        assert watched.clips == stop_after * BATCH
    last = Watched(monkeypatch)
    build(tmp_path / "bank", videos, last, crops=crops)
    assert classified + last.clips == NUM_VIDEOS * NUM_CLIPS * crops  # nothing that was said was asked again
    known = classified // (NUM_CLIPS * crops)
    assert len(last.paths) <= NUM_VIDEOS + 1 - known  # nor decoded, but for the video that a batch ended in
    assert files(tmp_path / "bank") == files(tmp_path / "whole")


@pytest.mark.parametrize("trouble", ["damaged", "missing", "another batch size"])
def test_what_does_not_fit_is_done_again(tmp_path, videos, monkeypatch, at_once, trouble):
    batch_size = 3 if trouble == "another batch size" else BATCH
    build(tmp_path / "whole", videos, batch_size=batch_size)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "bank", videos, Watched(monkeypatch, stop_after=5))
    pieces = sorted((tmp_path / "bank").glob("progress-*.safetensors"))
    assert len(pieces) == 5
    if trouble == "damaged":
        content = bytearray(pieces[2].read_bytes())
        content[-3] ^= 1
        pieces[2].write_bytes(content)
    elif trouble == "missing":
        pieces[0].unlink()
    last = Watched(monkeypatch)
    build(tmp_path / "bank", videos, last, batch_size=batch_size)
    assert last.clips == NUM_VIDEOS * NUM_CLIPS - (2 * BATCH if trouble == "damaged" else 0)
    assert files(tmp_path / "bank") == files(tmp_path / "whole")


def test_ctrl_c_loses_a_moment_of_classification(tmp_path, videos, monkeypatch):
    """All videos are one shard; a batch takes half a second here."""
    program = f"""
import signal, sys, time, torch
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
sys.path.insert(0, {str(Path(__file__).parent)!r})
torch.set_num_threads(1)
from pathlib import Path
import test_progress
test_progress.progress.SAVE_EVERY_S = 0.4
class Slow:
    def see(self, module, inputs):
        time.sleep(0 if inputs[0].is_meta else 0.5)
test_progress.build(Path({str(tmp_path / "bank")!r}), Path({str(videos)!r}), Slow())
"""
    process = subprocess.Popen([sys.executable, "-c", program], env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "bank").glob("progress-*.safetensors"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) != 0
    assert not list((tmp_path / "bank").glob("shard-*"))
    watched = Watched(monkeypatch)
    build(tmp_path / "whole", videos)
    build(tmp_path / "bank", videos, watched)
    assert watched.clips <= NUM_VIDEOS * NUM_CLIPS - 3 * BATCH
    assert files(tmp_path / "bank") == files(tmp_path / "whole")
