"""A run is a folder: configuration with versions and commit, metrics, TensorBoard events, agent, report."""

from __future__ import annotations

import dataclasses
import json
import platform
import resource
import subprocess
import sys
from collections.abc import Collection
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.logger import CSVOutputFormat, Logger, TensorBoardOutputFormat

from vidselect_env.files import make_folder, naming, read_text, write_json

CONFIG, HEAD = "config.json", "head.safetensors"
WEIGHTS = "weights.safetensors"  # of a classifier that the run trained
RUN_FORMAT = 2  # raise it when a run's files change
_PACKAGES = ("vidselect-env", "torch", "torchvision", "gymnasium", "stable-baselines3", "av", "numpy")


def new_run_folder(parent: Path, name: str) -> Path:
    """An empty folder `parent/name-DATE-TIME`, numbered where that exists."""
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    for suffix in ["", *(f"-{number}" for number in range(2, 1000))]:
        folder = parent / f"{stem}{suffix}"
        try:
            make_folder(folder, exist_ok=False)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"too many runs called {stem!r} in {str(parent)!r}")


def write_config(folder: Path, **sections: Any) -> None:
    """Write dataclasses, or values, under their names, with versions and the commit of the working folder."""
    data: dict[str, Any] = {
        name: dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
        for name, value in sections.items()
    }
    data["format"] = RUN_FORMAT
    data["versions"] = {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}
    data["commit"] = _commit()
    write_json(folder / CONFIG, data, indent=2)


def claim_results(folder: Path, *, free: Collection[str], **section: Any) -> None:
    """Write a dataclass, under its name, into an empty folder of results, or check that theirs is the same.

    Args:
        free: fields that may differ.

    Raises:
        ValueError: the folder holds results of other settings; the message says which differ.
    """
    [(name, config)] = section.items()
    make_folder(folder)
    wanted = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    if (folder / CONFIG).exists():
        theirs, mine = (flat(each) for each in (read_config(folder).get(name, {}), wanted))
        differing = [key for key in mine if key not in free and mine[key] != theirs.get(key)]
        if differing:
            changes = ", ".join(f"{key} {theirs.get(key)!r}, not {mine[key]!r}" for key in differing)
            raise ValueError(f"{str(folder)!r} holds results with {changes}: choose another --out")
    else:
        write_config(folder, **section)


def flat(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration's values by the names of their fields, without the dataclasses that they are in."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        found |= flat(value) if isinstance(value, dict) else {name: value}
    return found


def read_config(folder: Path) -> dict[str, Any]:
    """What `write_config` wrote.

    Raises:
        ValueError: the folder is no run, or one of another version.
    """
    try:
        config = json.loads(read_text(folder / CONFIG))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"{str(folder)!r} is no run: it has no {CONFIG}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{str(folder / CONFIG)!r} is damaged: {error}") from error
    if not isinstance(config, dict) or config.get("format") != RUN_FORMAT:
        found = config.get("format", 1) if isinstance(config, dict) else "none"
        raise ValueError(
            f"{str(folder)!r} was saved in run format {found}, and this version reads {RUN_FORMAT}: train it again"
        )
    return config


def memory_used() -> str:
    """The most memory that this process has had, resident and on a GPU, in words."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    words = f"{most / 2**30:.2f} GiB resident at most"
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        words += f", {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB on the GPU"
    return words


class _RunLogger(Logger):
    """Names the run's folder where a disk is full."""

    def dump(self, step: int = 0) -> None:
        with naming(self.dir or "."):
            super().dump(step)

    def close(self) -> None:
        with naming(self.dir or "."):
            super().close()


def run_logger(folder: Path) -> Logger:
    """Writes `metrics.csv` and TensorBoard events into a run folder; an earlier `metrics.csv` is numbered."""
    metrics = folder / "metrics.csv"
    if metrics.exists():  # of a run that is resumed
        earlier = len(list(folder.glob("metrics-*.csv"))) + 1
        metrics.rename(folder / f"metrics-{earlier}.csv")
    with naming(folder):
        formats = [CSVOutputFormat(str(folder / "metrics.csv")), TensorBoardOutputFormat(str(folder))]
    return _RunLogger(str(folder), formats)


def _commit() -> str | None:
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
