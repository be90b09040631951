"""The settings that docs/datasets.md re-encodes videos with, for their motion vectors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vidselect_env.video.compressed import read_compressed
from vidselect_env.video.errors import VideoError

RECIPE = Path(__file__).resolve().parents[3] / "docs" / "datasets.md"
X264_NAMES = {"g": "keyint", "bf": "bframes", "refs": "ref", "crf": "crf"}


def test_a_recoded_pan_has_its_vectors_and_vp9_has_none(tmp_path, write_frames, pan):
    text = RECIPE.read_text()
    commands = re.findall(r"ffmpeg -nostdin.*?\n```|ffmpeg -nostdin.*?\ndone", text, re.DOTALL)
    assert len(commands) == 2
    pictures = list(pan((2, 1), 36))
    for command in commands:
        options = {x264: re.search(rf" -{name} (\d+) ", command) for name, x264 in X264_NAMES.items()}
        x264 = ":".join(f"{name}={found[1]}" for name, found in options.items() if found)
        assert x264 == "keyint=12:bframes=0:ref=1:crf=18"
        path = write_frames(tmp_path / "recoded.mp4", pictures, x264=x264, preset="medium")
        between = [number for number in range(36) if number % 12]
        displacement = read_compressed(path, between).displacement.mean((0, 2, 3))
        assert displacement.tolist() == pytest.approx([2, 1], rel=0.15)
    vp9 = write_frames(tmp_path / "v.webm", pictures, codec="libvpx-vp9")
    with pytest.raises(VideoError, match=r"codec 'vp9' exports no motion vectors: re-encode as H.264"):
        read_compressed(vp9, [1])
