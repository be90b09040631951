"""Small hand-written samples of datasets as their authors distribute them."""

from __future__ import annotations

from pathlib import Path

import pytest


def _plant(root: Path, files: dict[str, str]) -> Path:
    """Files by their paths under a folder, with their text; empty ones stand for videos, which are not read here."""
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def plant():
    return _plant


def _names(dataset) -> list[tuple[str, str]]:
    """The file name and the class names, joined by `+`, of every video."""
    return [
        (video.path.rpartition("/")[2], "+".join(dataset.class_names[label] for label in video.labels))
        for video in dataset.videos
    ]


@pytest.fixture(scope="session")
def names():
    return _names
