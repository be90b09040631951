"""A small folder of videos, a classifier for it and a run, made by the scripts themselves."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import pytest
from warm import WarmScripts

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def workroom(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("workroom")


@pytest.fixture(scope="session")
def run_script(warm, workroom):
    return partial(_run, warm, workroom, REPOSITORY / "scripts")


@pytest.fixture(scope="session")
def run_command(warm, workroom):
    """`vidselect COMMAND ...`, as an installed package has it."""
    return partial(_run, warm, workroom, Path(sys.executable).parent, "vidselect")


def _run(
    warm: WarmScripts,
    workroom: Path,
    folder: Path,
    name: str,
    *arguments: str,
    ok: bool = True,
    place: Path | None = None,
) -> str:
    environment = {"VIDSELECT_CACHE": str(workroom / "cache"), "PYTHONPATH": str(workroom)}
    ended = warm.run(folder / name, *arguments, folder=place or workroom, environment=environment)
    assert (ended.status == 0) == ok, ended.output
    return ended.output


@pytest.fixture(scope="session")
def classifier_run(run_script, workroom, video_folder) -> Path:
    """A `tiny_r3d` for the two classes of the small folder, hardly trained."""
    run_script("train_classifier.py", "--dataset", f"folder:{video_folder}", "--epochs", "1", "--batch-size", "4")
    [folder] = (workroom / "runs").glob("classifier-*")
    return folder


@pytest.fixture(scope="session")
def common(video_folder, classifier_run, workroom) -> list[str]:
    """Paths are as somebody types them, relative to where the commands run."""
    weights = os.path.relpath(classifier_run / "weights.safetensors", workroom)
    options = ["--candidates", "6", "--num-envs", "4", "--sections", "2"]
    return ["--dataset", f"folder:{os.path.relpath(video_folder, workroom)}", "--weights", weights, *options]


@pytest.fixture(scope="session")
def common_frames(common) -> list[str]:
    """The same for agents that keep some of all candidates: they have no sections."""
    return [*common[:-2], "--frames", "6", "--kept", "2"]


@pytest.fixture(scope="session")
def agent_run(run_script, workroom, common) -> Path:
    output = run_script(
        "train_agent.py", "--agent", "dsn", "--total-timesteps", "32", "--samples-per-context", "2", *common
    )
    assert "uniform" in output
    [folder] = (workroom / "runs").glob("dsn-*")
    return folder
