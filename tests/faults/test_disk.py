"""A disk that is full or refuses, at every call that writes.

Each call of building a bank, saving an agent, training a run and a benchmark that opens a file to write, writes, syncs,
renames or makes a folder is made to fail, one trial each: with ENOSPC from then on, or once with EACCES. What is found
afterwards is whole or known to be unfinished, and doing it again gives the bytes of what never failed.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from failing_disks import (
    BENCHMARK,
    FAULTS,
    TRAIN,
    bank_files,
    benchmark_content,
    check_message,
    check_run,
    check_unfinished_bank,
    count_all,
    every_call,
    run,
    state_of,
)

from vidselect_agents.dsn import DSN
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_bank_whose_building_fails_at_any_call_is_built_again_to_the_same_bytes(
    world, watched, tmp_path, count_trial, fault
):
    program = world.build(Path("out/bank"))

    def judge(folder: Path, ended: dict) -> None:
        wanted = bank_files(tmp_path / "whole" / "out" / "bank")
        if ended["status"] == 0:
            assert bank_files(folder / "out" / "bank") == wanted
            return
        check_message(ended)
        check_unfinished_bank(folder / "out" / "bank")
        again = run(watched, program, folder)
        assert again["status"] == 0, again["stderr"]
        assert bank_files(folder / "out" / "bank") == wanted

    trials, broken = every_call(watched, program, tmp_path, fault, judge)
    count_all(count_trial, f"{fault}, building a bank", trials, broken)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_an_agent_whose_saving_fails_at_any_call_is_still_the_one_before(
    make_bank, watched, tmp_path, count_trial, fault
):
    agent_of(make_bank, seed=0).save(tmp_path / "first.safetensors")
    agent_of(make_bank, seed=1).save(tmp_path / "second.safetensors")
    first, second = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("first", "second"))
    program = f"""
from vidselect_agents.dsn import DSN
agent = DSN.load({str(tmp_path / "second.safetensors")!r})
GUARDED(lambda: agent.save("out/agent.safetensors"))
"""
    number, stays = FAULTS[fault]
    broken, nth, trials = [], 0, 1
    while nth <= trials:  # the 0th does not fail, and says how many calls there are
        folder = tmp_path / f"call-{nth}"
        (folder / "out").mkdir(parents=True)
        file = folder / "out" / "agent.safetensors"
        file.write_bytes(first)
        ended = run(watched, program, folder, folder=str(folder / "out"), nth=nth, number=number, stays=stays)
        try:
            assert list((folder / "out").iterdir()) == [file]
            if ended["status"] == 0:
                assert file.read_bytes() == second
            else:
                check_message(ended)
                assert file.read_bytes() in (first, second)
        except AssertionError as error:
            broken.append(f"call {nth}: {str(error)[-600:]}")
        if not nth:
            assert ended["status"] == 0, ended["stderr"]
            trials = ended["count"]
        nth += 1
    assert trials >= 5  # opened, written, synced, renamed, synced
    count_all(count_trial, f"{fault}, saving an agent", trials, broken)


def agent_of(make_bank, *, seed: int) -> DSN:
    return DSN(ClipSelectProblem(BankSource(make_bank()), observation="features").shapes, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_whose_training_fails_at_any_call_is_unfinished_and_goes_on_to_the_same_agent(
    world, warmed, tmp_path, count_trial, fault
):
    judged: dict[tuple, str | None] = {}  # what leaves the same goes on in the same way

    def judge(folder: Path, ended: dict) -> None:
        if ended["status"] != 0:
            check_message(ended)
        state = state_of(folder)
        if state not in judged:
            judged[state] = check_run(warmed, folder, tmp_path / "whole")
        if judged[state] is None:
            assert ended["status"] != 0

    trials, broken = every_call(warmed, world.command(*TRAIN), tmp_path, fault, judge)
    count_all(count_trial, f"{fault}, training a run", trials, broken)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_benchmark_that_fails_at_any_call_says_so_and_goes_on_to_the_same_results(
    world, warmed, tmp_path, count_trial, fault
):
    program = world.command(*BENCHMARK)

    judged: set[tuple] = set()  # what leaves the same goes on in the same way

    def judge(folder: Path, ended: dict) -> None:
        out = Path("out/benchmark")
        if ended["status"] != 0:
            check_message(ended)
            state = state_of(folder)
            if state in judged:
                return
            again = run(warmed, program, folder)
            assert again["status"] == 0, again["stderr"]
            judged.add(state)
        assert benchmark_content(folder / out) == benchmark_content(tmp_path / "whole" / out)

    trials, broken = every_call(warmed, program, tmp_path, fault, judge)
    count_all(count_trial, f"{fault}, a benchmark", trials, broken)
