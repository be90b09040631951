"""`docs/start.md`, from its first line to its last, as a new user follows it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "start.md"


class Block(NamedTuple):
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(*found) for found in re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)]


def play(block: Block, folder: Path, environment: dict[str, str]) -> str:
    """Write a block's file, or run its commands, as a user in `folder` would; what is printed."""
    if block.language == "python":
        name = re.match(r"# (\w+\.py)\n", block.text)
        assert name, f"a Python block without a file's name: {block.text[:40]!r}"
        (folder / name.group(1)).write_text(block.text)
        return ""
    assert block.language == "bash"
    done = subprocess.run(
        ["bash", "-e", "-u", "-o", "pipefail", "-c", block.text],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def usual(folder: Path, *, scripts: Path) -> dict[str, str]:
    """An environment in which `vidselect` is that of `scripts`, and nothing opens a window."""
    own = {"VIDSELECT_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", "BROWSER": "true", "PYTHONPATH": ""}
    return os.environ | own | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def place(tmp_path, make_video) -> Path:
    """A folder with the user's own twenty videos in it, and a long one."""
    for split, count in (("train", 6), ("test", 4)):
        for label, name in enumerate(("jump", "run")):
            for number in range(count):
                seed = number + 10 * label + 100 * (split == "test")
                make_video(tmp_path / "VIDEOS" / split / name / f"{number}.mp4", num_frames=40 + 5 * number, seed=seed)
    make_video(tmp_path / "LONG.mp4", num_frames=90)  # six seconds
    return tmp_path


@pytest.mark.campaign
@pytest.mark.slow
def test_every_command_of_the_page_works_in_the_order_it_stands_there(place):
    install, *others = blocks(PAGE)
    assert "pip install" in install.text  # which is the next test's
    environment = usual(place, scripts=Path(sys.executable).parent)
    said = "\n".join(play(block, place, environment) for block in others)
    for agent in ("dsn", "ranking", "my_agent:BestPlace"):
        assert re.search(rf"│ {agent} ", said), said
    assert "6 of 18 clips classified" in said
    assert (place / "timeline.csv").read_text().count("\n") == 6  # a heading and windows of 0 to 2, 1 to 3 ... seconds
    assert " --> " in (place / "LONG.srt").read_text()
    for agent in ("my_agent:BestPlace", "dsn", "uniform", "oracle"):
        assert f"\n| {agent} | " in (place / "runs" / "compared" / "table.md").read_text()
    made = {path.parent.parent.name for path in (place / "runs").rglob("report.html")}
    assert made == {"first", "mine", "two", "chosen"}


@pytest.mark.slow
def test_what_the_page_installs_is_whole(tmp_path):
    """From the wheel, and beside the dependencies that are here already: they are gigabytes."""
    if shutil.which("python3") is None:
        pytest.skip("there is no python3")
    checkout = tmp_path / "checkout"
    left_out = shutil.ignore_patterns(".*", "runs", "__pycache__", "docs", "tests")
    shutil.copytree(REPOSITORY, checkout, ignore=left_out)
    first, *rest = [line for line in blocks(PAGE)[0].text.splitlines() if line]
    environment = usual(tmp_path, scripts=Path(sys.executable).parent)
    play(Block("bash", first), checkout, environment)
    venv = checkout / ".venv"
    assert venv.is_dir()
    [packages] = venv.glob("lib/python*/site-packages")
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "dependencies.pth").write_text("\n".join(dependencies) + "\n")
    done = subprocess.run(
        ["bash", "-c", rest[0]], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    if "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("pip cannot fetch hatchling, which builds the wheel")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(checkout / "vidselect_env")  # what runs now is what was installed
    commands = "\n".join([*rest[1:], "vidselect train --agent uniform --num-videos 2"])
    said = play(Block("bash", commands), checkout, environment)
    assert f"{tmp_path / 'cache'} (VIDSELECT_CACHE)" in said
    [page] = checkout.glob("runs/uniform-*/report.html")
    assert page.stat().st_size > 10_000
