"""What a stranger may send: pickles that leave a mark, modules, pipes; and how a run of theirs is opened."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from vidselect_agents import make_agent
from vidselect_agents.base import FILE_NAME
from vidselect_agents.commands.options.train import TrainConfig
from vidselect_agents.commands.saved import open_run
from vidselect_agents.registry import settings_of
from vidselect_env.bank import ClipBank
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.experiment.run import write_config
from vidselect_env.fitting.head import save_head

MARK = "executed"


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """What takes longer is interrupted: it hangs."""

    def interrupt(*_: object) -> None:
        raise TimeoutError(f"it takes longer than {seconds} s")

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def open_all(folder: Path, *, trust: bool = False, classifier: bool = False) -> None:
    """What evaluating and recognising do with a run's files; with its `classifier` too, which takes longer."""
    saved = open_run(folder, trust=trust)
    saved.load_head()
    saved.load_agent()
    if classifier:
        saved.config.classifier.make_classifier()


def change(folder: Path, path: tuple, value: Any) -> None:
    """Write a value of a run's `config.json`."""
    config = json.loads((folder / "config.json").read_text())
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (folder / "config.json").write_text(json.dumps(config))


def write_run(folder: Path, bank: ClipBank) -> Path:
    """A run of DSN with a head, as `train` leaves it."""
    folder.mkdir()
    env = SelectVectorEnv(ClipSelectProblem(BankSource(bank), observation="features"), num_envs=4)
    classes = ("north", "east", "south", "west")
    settings = settings_of("dsn")
    write_config(
        folder, experiment=TrainConfig(), agent_settings=settings, class_names=classes, shapes=env.shapes.to_json()
    )
    save_head(torch.nn.Linear(5, 4), folder / "head.safetensors")
    make_agent("dsn", env).save(folder / FILE_NAME)
    return folder


class Payload:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


def module_with_a_mark(file: Path, mark: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f"import os\nos.mkdir({str(mark)!r})\ndef Evil(*a, **k): os.mkdir({str(mark)!r})\nEvil.load = Evil\n"
    )


def pickled(name: str) -> Callable[[Path, Path], None]:
    def attack(folder: Path, mark: Path) -> None:
        (folder / name).write_bytes(pickle.dumps(Payload(mark)))

    return attack


def zipped(name: str) -> Callable[[Path, Path], None]:
    """As `torch.save` and Stable-Baselines3 pack what they write."""

    def attack(folder: Path, mark: Path) -> None:
        with zipfile.ZipFile(folder / name, "w") as archive:
            for inside in ("archive/data.pkl", "data", "data.pkl", "policy.pth"):
                archive.writestr(inside, pickle.dumps(Payload(mark)))
            archive.writestr("archive/version", "3")

    return attack
