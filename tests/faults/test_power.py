"""Power that is lost after any call that writes: all that was not synced by then is dropped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from failing_disks import TRAIN, Disk, bank_files, check_run, read_log, run, write_files

from vidselect_env.bank import BankError, open_bank

NAMES = pytest.mark.parametrize("names_kept", [False, True], ids=["names-dropped", "names-kept"])


def every_prefix(
    watched, program: str, base: Path, *, names_kept: bool, judge: Callable[[Path], str]
) -> tuple[list[str], list[str]]:
    """How what every prefix of the calls leaves was judged, and what was broken. Equal files are judged once."""
    root, log = base / "whole", base / "log"
    ended = run(watched, program, root, folder=str(root / "out"), log=str(log))
    assert ended["status"] == 0, ended["stderr"]
    disk, judged, outcomes, broken = Disk(str(root / "out")), {}, [], []
    for number, done in enumerate(read_log(log), 1):
        disk.do(done)
        files = disk.left(names_kept=names_kept)
        key = tuple(files.items())
        if key not in judged:
            folder = base / f"after-{number}"
            write_files(files, folder / "out")
            try:
                judged[key] = judge(folder)
            except Exception as error:
                judged[key] = "broken"
                broken.append(f"after call {number} ({done[:3]}): {type(error).__name__}: {str(error)[-600:]}")
        outcomes.append(judged[key])
    return outcomes, broken


def count_and_check(count_trial, suite: str, outcomes: list[str], broken: list[str], *, at_the_end: str) -> None:
    for outcome in outcomes:
        count_trial(suite, outcome)
    assert not broken, "\n".join(broken[:20])
    assert outcomes[-1] == at_the_end  # what was said to be done stays
    assert len(outcomes) >= 30
    assert len(set(outcomes)) > 1


@pytest.mark.slow
@NAMES
def test_a_bank_after_a_loss_of_power_is_whole_or_refused_and_built_again_to_the_same_bytes(
    world, watched, tmp_path, count_trial, names_kept
):
    bank = Path("out/banks/bank")
    program = world.build(bank)

    def judge(folder: Path) -> str:
        outcome = "whole"
        try:
            open_bank(folder / bank, verify=True)
        except BankError:
            outcome = "refused, and built again"
        ended = run(watched, program, folder)
        assert ended["status"] == 0, ended["stderr"]
        assert bank_files(folder / bank) == bank_files(tmp_path / "whole" / bank)
        return outcome

    outcomes, broken = every_prefix(watched, program, tmp_path, names_kept=names_kept, judge=judge)
    count_and_check(count_trial, "loss of power, building a bank", outcomes, broken, at_the_end="whole")


@pytest.mark.slow
@NAMES
def test_a_run_after_a_loss_of_power_is_unfinished_and_goes_on_to_the_same_agent(
    world, warmed, tmp_path, count_trial, names_kept
):
    def judge(folder: Path) -> str:
        return check_run(warmed, folder, tmp_path / "whole") or "no run yet"

    outcomes, broken = every_prefix(warmed, world.command(*TRAIN), tmp_path, names_kept=names_kept, judge=judge)
    count_and_check(count_trial, "loss of power, training a run", outcomes, broken, at_the_end="the same agent")
