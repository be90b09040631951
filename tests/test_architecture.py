"""Rules that hold for the whole tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def test_imports_go_one_way():
    command = [str(Path(sys.executable).parent / "lint-imports")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_registering_the_environments_imports_no_torch():
    program = "import sys, vidselect_env; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_help_of_training_an_agent_imports_no_torchvision():
    command = [sys.executable, "-X", "importtime", "scripts/train_agent.py", "--agent", "mgsampler", "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "torch" in imported
    assert "torchvision" not in imported


def test_files_stay_short():
    sources = [
        file
        for top in ("vidselect_env", "agents", "classifiers", "scripts")
        for file in (REPOSITORY / top).rglob("*.py")
    ]
    lengths = {str(file.relative_to(REPOSITORY)): len(file.read_text().splitlines()) for file in sources}
    assert {name: length for name, length in lengths.items() if length > 300} == {}
