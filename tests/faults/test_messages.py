"""What users are told: names as they are, one line for an error, a traceback where asked for; and no nonsense saved."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vidselect_agents import commands, make_agent
from vidselect_agents.commands import bank as bank_command
from vidselect_agents.commands import recognise as recognise_command
from vidselect_agents.commands.options.recognise import RecogniseConfig
from vidselect_env.bank import ClipBank
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.experiment.recognise import Recognition
from vidselect_env.seeding import deterministic

NAMES = ("clip [red].mp4", "[/b]", "[bold]x[/bold]", "[link=x]y[/link]", ":smile:", "\\[red]")


@pytest.mark.parametrize("name", NAMES)
def test_a_video_and_a_class_are_named_as_they_are(capsys, name):
    first = torch.tensor([0])
    found = Recognition(torch.tensor([0.25, 0.75]), first, first.float(), torch.tensor([[0, 1]]), 3)
    decisions = [SimpleNamespace(found=found)]
    index = SimpleNamespace(info=SimpleNamespace(duration_s=2.0))
    seen: Any = SimpleNamespace(index=index, decisions=decisions, milliseconds={"index": 1.0}, seconds=1.0, dense=None)
    recognise_command.show(name, seen, RecogniseConfig((name,), Path("x")), (name, "other"))
    said = capsys.readouterr().out
    assert said.splitlines()[0] == name
    assert said.count(name) == 2


@pytest.mark.parametrize("name", NAMES)
def test_a_bank_is_shown_with_the_names_that_are_in_it(capsys, monkeypatch, name):
    shown = ClipBank.from_tensors(torch.randn(1, 2, 2), [0])
    object.__setattr__(shown, "skipped", ((name, "it is no video"),))
    monkeypatch.setattr(bank_command, "open_bank", lambda *_, **__: shown)
    commands.main(["bank", "show", "x"])
    assert f"{name}: it is no video" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_an_error_names_what_is_wrong_as_it_is(capsys, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        commands.main(["view", f"./{name}"])
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.count("\n") == 1
    assert repr(name)[1:-1] in said


def test_debug_shows_the_traceback(capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        commands.main(["view", str(tmp_path), "--debug"])
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("name", ["dsn", "max_response", "ranking"])
def test_a_loss_that_is_not_finite_stops_training_and_leaves_what_was_saved(tmp_path, make_bank, name):
    bank = make_bank()
    env = SelectVectorEnv(ClipSelectProblem(BankSource(bank), observation="features"), num_envs=4)
    agent = make_agent(name, env, learning_rate=1e30)
    agent.save(tmp_path / "agent.safetensors")
    before = (tmp_path / "agent.safetensors").read_bytes()

    def learn_and_save() -> None:
        agent.learn(env, 400)
        agent.save(tmp_path / "agent.safetensors")

    with pytest.raises(ValueError, match=r"must be finite|not finite"):
        learn_and_save()
    assert (tmp_path / "agent.safetensors").read_bytes() == before


def learned(bank, *, threads: int) -> torch.Tensor:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with deterministic(True):
            assert torch.get_num_threads() == 1
            assert torch.are_deterministic_algorithms_enabled()
            env = SelectVectorEnv(ClipSelectProblem(BankSource(bank), observation="features"), num_envs=8)
            agent = make_agent("dsn", env, samples_per_context=2)
            agent.learn(env, 80)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    return torch.cat([value.flatten() for value in agent.modules().parameters()])


def test_deterministic_training_does_not_depend_on_the_number_of_threads(make_bank):
    bank = make_bank()
    assert torch.equal(learned(bank, threads=1), learned(bank, threads=2))
    assert not torch.are_deterministic_algorithms_enabled()
