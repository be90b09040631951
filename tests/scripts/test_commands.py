"""The commands' own behaviour: help at once, options by their own names, nothing taken for another's."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vidselect_agents import AGENTS, UNTRAINED
from vidselect_agents.commands import COMMANDS, main
from vidselect_agents.commands.options.benchmark import BenchmarkConfig
from vidselect_agents.commands.options.recognise import RecogniseConfig
from vidselect_agents.commands.options.train import TrainConfig, parse
from vidselect_agents.commands.recognise import Seen, table_of
from vidselect_agents.mgsampler import MGSamplerConfig
from vidselect_env.evaluation.references import REFERENCES
from vidselect_env.evaluation.table import print_unfolded
from vidselect_env.experiment.recognise import Recognition
from vidselect_env.experiment.windows import Decision

HEAVY = ("torch", "torchvision", "torchmetrics", "stable_baselines3", "scipy", "matplotlib", "av", "pandas")


class Learner:
    """A third party's agent whose setting has the name of an option."""

    def __init__(self, env, *, seed=0, alpha=0.5, depth=2):
        self.alpha, self.depth = alpha, depth

    def predict(self, observation, deterministic=False):
        return observation, None


@pytest.mark.parametrize("command", COMMANDS)
def test_help_comes_without_importing_what_does_the_work(command):
    program = f"""
import sys
from vidselect_agents.commands import main
try:
    main([{command!r}, "--help"])
except SystemExit as end:
    assert not end.code
heavy = set({HEAVY!r}) & set(sys.modules)
assert not heavy, heavy
"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | {"COLUMNS": "100"}
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5  # of the processor, not the clock
    assert f"usage: vidselect {command}" in done.stdout
    assert "0 options" not in done.stdout
    assert "1 options" not in done.stdout


def test_an_agents_own_settings_are_in_the_help_that_names_it(capsys):
    for arguments, listed in (([], False), (["--agent", "mgsampler"], True)):
        with pytest.raises(SystemExit):
            parse([*arguments, "--help"])
        assert ("--difference" in capsys.readouterr().out) == listed


def test_settings_of_a_run_and_of_its_agent_are_read_apart():
    config, settings = parse(["--agent", "mgsampler", "--mu", "0.3", "--kept", "4"])
    assert (config.agent, config.problem.kept) == ("mgsampler", 4)
    assert settings == MGSamplerConfig(mu=0.3)


def test_a_third_partys_setting_is_not_taken_by_an_option_of_that_name():
    AGENTS["learner"] = Learner
    try:
        config, settings = parse(["--agent", "learner", "--agent-alpha", "0.1", "--depth", "3"])
        assert (config.problem.alpha, settings.alpha, settings.depth) == (0.0, 0.1, 3)
        config, settings = parse(["--agent", "learner", "--alpha", "0.2"])
        assert (config.problem.alpha, settings.alpha) == (0.2, 0.5)
    finally:
        del AGENTS["learner"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--agent", "mgsampler", "--sections", "2"], "--sections 2 is no option of VideoFrameSelect-v0"),
        (["train", "--agent", "dsn", "--alpha", "0.1"], "--alpha 0.1 is no option of VideoClipSelect-v0"),
        (["train", "--agent", "oracle"], "agent 'oracle'"),
        (["recognise", "--run", "none", "a.mp4", "--every", "5"], "every (5.0) is of windows"),
        (["recognise", "--run", "none", "a.mp4"], "'none' is no run"),
        (["recognise", "--run", "none", "-"], "'-' is a stream: it is recognised by itself, with --window"),
        (["recognise", "--run", "none", "rtsp://x", "a.mp4", "--window", "5"], "'rtsp://x' is a stream"),
        (["fly"], "unknown command 'fly'"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_benchmark_has_every_reference_by_default():
    assert {*UNTRAINED, *REFERENCES} <= set(BenchmarkConfig().agents)
    assert TrainConfig().agent in AGENTS


def test_what_is_recognised_is_piped_as_wide_as_it_is(capsys):
    """A console that is no terminal has 80 columns."""
    names = ("a class with a name of " + "very " * 20 + "many words", "other")
    seen = _seen(torch.tensor([0.9, 0.1]))
    print_unfolded(table_of(seen, RecogniseConfig(videos=("a.mp4",), run=Path("run")), names))
    assert names[0] in capsys.readouterr().out


def _seen(probabilities):
    found = Recognition(probabilities, torch.zeros(1), torch.zeros(1), torch.zeros(1, 2), 4)
    return Seen(None, [Decision(0.0, 1.0, found)], {}, 1.0)
