"""Files that a walk enters: functions of how many of our files run for one video, one batch, one recognition.

python scripts/measure/walk.py
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from vidselect_agents import make_agent
from vidselect_classifiers import make_classifier
from vidselect_env.bank import bank_spec, build_bank
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.experiment.banks import looks_spec
from vidselect_env.experiment.config import ExperimentConfig, ProblemConfig
from vidselect_env.experiment.recognise import recognise

PACKAGES = ("vidselect_env", "vidselect_agents", "vidselect_classifiers")


def main() -> None:
    dataset = load_dataset("synthetic", split="train", num_videos=2)
    classifier = make_classifier("tiny_r3d", weights="default")
    spec = bank_spec(dataset, classifier)
    with tempfile.TemporaryDirectory() as folder:
        show("a video path to its bank", lambda: build_bank(folder, dataset, classifier, spec=spec, progress=False))
        bank = build_bank(folder, dataset, classifier, spec=spec, progress=False)
        env = SelectVectorEnv(ClipSelectProblem(BankSource(bank)), num_envs=4)
        agent = make_agent("dsn", env)
        agent.learn(env, 4)
        show("a batch through dsn.learn", lambda: agent.learn(env, 4))
        looks = looks_spec(ExperimentConfig(), classifier, agent.needs.fields)
        path, problem = dataset.videos[0].path, ProblemConfig()
        show("a new video", lambda: recognise(path, agent, classifier=classifier, spec=looks, problem=problem))


def show(name: str, walk: Callable[[], Any]) -> None:
    """Print the files of our packages in which functions run."""
    entered = files_entered(walk)
    Console(soft_wrap=True).print(f"{name}: {len(entered)} files: {', '.join(entered)}", highlight=False)


def files_entered(walk: Callable[[], Any]) -> list[str]:
    """Files of our packages in which functions run, in any thread, in order of their names."""
    found: set[str] = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_name not in ("<module>", "__init__", "__post_init__"):
            found.add(frame.f_code.co_filename)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        walk()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    ours = [Path(file) for file in found if any(f"/{package}/" in file for package in PACKAGES)]
    return sorted("/".join(file.parts[-2:]) for file in ours)


if __name__ == "__main__":
    main()
