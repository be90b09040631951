"""A run is a folder: configuration with versions and commit, metrics, TensorBoard events, agent, report."""

from __future__ import annotations

import dataclasses
import json
import platform
import subprocess
from collections.abc import Collection
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import CSVOutputFormat, Logger, TensorBoardOutputFormat

CONFIG, HEAD = "config.json", "head.safetensors"
_PACKAGES = ("vidselect-env", "torch", "torchvision", "gymnasium", "stable-baselines3", "av", "numpy")


def new_run_folder(parent: Path, name: str) -> Path:
    """An empty folder `parent/name-DATE-TIME`, numbered where that exists."""
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    for suffix in ["", *(f"-{number}" for number in range(2, 1000))]:
        folder = parent / f"{stem}{suffix}"
        try:
            folder.mkdir(parents=True)
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
    data["versions"] = {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}
    data["commit"] = _commit()
    (folder / CONFIG).write_text(json.dumps(data, indent=2, default=str) + "\n")


def claim_results(folder: Path, *, free: Collection[str], **section: Any) -> None:
    """Write a dataclass, under its name, into an empty folder of results, or check that theirs is the same.

    Args:
        free: fields that may differ.

    Raises:
        ValueError: the folder holds results of other settings; the message says which differ.
    """
    [(name, config)] = section.items()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    if (folder / CONFIG).exists():
        found = read_config(folder).get(name, {})
        differing = [key for key in wanted if key not in free and wanted[key] != found.get(key)]
        if differing:
            changes = ", ".join(f"{key} {found.get(key)!r}, not {wanted[key]!r}" for key in differing)
            raise ValueError(f"{str(folder)!r} holds results with {changes}: choose another --out")
    else:
        write_config(folder, **section)


def read_config(folder: Path) -> dict[str, Any]:
    """What `write_config` wrote.

    Raises:
        ValueError: the folder is no run.
    """
    try:
        return json.loads((folder / CONFIG).read_text())
    except FileNotFoundError as error:
        raise ValueError(f"{str(folder)!r} is no run: it has no {CONFIG}") from error


def run_logger(folder: Path) -> Logger:
    """Writes `metrics.csv` and TensorBoard events into a run folder; an earlier `metrics.csv` is numbered."""
    metrics = folder / "metrics.csv"
    if metrics.exists():  # of a run that is resumed
        earlier = len(list(folder.glob("metrics-*.csv"))) + 1
        metrics.rename(folder / f"metrics-{earlier}.csv")
    return Logger(str(folder), [CSVOutputFormat(str(folder / "metrics.csv")), TensorBoardOutputFormat(str(folder))])


def _commit() -> str | None:
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
