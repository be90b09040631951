"""Shell completion: what the printed scripts complete, asked of the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from vidselect_agents.commands import COMMANDS, main
from vidselect_agents.registry import AGENTS


def printed(shell: str, capsys) -> str:
    main(["completion", shell])
    return capsys.readouterr().out


@pytest.fixture
def bash(tmp_path, capsys) -> Path:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    script = tmp_path / "completion.bash"
    script.write_text(printed("bash", capsys))
    return script


def completed(script: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    array = " ".join(f"'{word}'" for word in words)
    program = f'. {script}; COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; _vidselect; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "--norc", "-c", program], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.split()


def test_bash_completes_commands_options_and_names(bash):
    assert completed(bash, "vidselect", "") == [*COMMANDS, "--help"]
    assert completed(bash, "vidselect", "tr") == ["train"]
    assert completed(bash, "vidselect", "train", "--total") == ["--total-timesteps"]
    assert completed(bash, "vidselect", "train", "--agent", "") == list(AGENTS)
    assert completed(bash, "vidselect", "train", "--agent", "scs") == ["scsampler"]
    assert completed(bash, "vidselect", "train", "--head", "") == ["auto", "fit", "keep"]
    assert {"build", "show"} <= set(completed(bash, "vidselect", "bank", ""))
    assert completed(bash, "vidselect", "bank", "show", "--ver") == ["--verify"]
    assert completed(bash, "vidselect", "cache", "prune", "--dry") == ["--dry-run"]
    assert completed(bash, "vidselect", "completion", "z") == ["zsh"]


def test_what_is_not_known_is_left_to_files(bash):
    assert completed(bash, "vidselect", "recognise", "some-vid") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_theirs(shell, tmp_path, capsys):
    script = tmp_path / "completion"
    script.write_text(printed(shell, capsys))
    assert "total-timesteps" in script.read_text()
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} to read it")
    subprocess.run([shell, "-n" if shell == "zsh" else "--no-execute", str(script)], check=True)
