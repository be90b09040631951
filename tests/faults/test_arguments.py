"""Wrong arguments of every command: exit status 2 and one line, which names the option, its value and the rule.

Most are made from the options themselves: what cannot be a number, is no finite one, or is none of the names allowed.
Nothing is begun meanwhile: the work behind the commands is taken away.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vidselect_agents import commands
from vidselect_agents.commands.options.bank import BuildConfig, ImportConfig
from vidselect_agents.commands.options.benchmark import BenchmarkConfig
from vidselect_agents.commands.options.classifier import ClassifierConfig
from vidselect_agents.commands.options.evaluate import EvaluateConfig
from vidselect_agents.commands.options.recognise import RecogniseConfig
from vidselect_agents.commands.options.train import TrainConfig
from vidselect_agents.registry import settings_of

AGENTS = ("dsn", "as", "max_response", "ranking", "mgsampler", "scsampler", "search", "ppo", "dqn")
NO_INTEGER = ("many", "1.5", "nan", "", "-1")
NO_FLOAT = ("many", "nan", "inf", "-inf", "")
MAY_BE_NEGATIVE = {"time_jitter", "sde_sample_freq", "gradient_steps"}  # the last two: -1 of Stable-Baselines3's


class Begun(BaseException):
    """The work behind a command was begun."""


def leaves(cls: type) -> Iterator[tuple[str, Any]]:
    """Names and types of the options of a command, in dataclasses or not."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from leaves(hints[field.name])
        else:
            yield field.name, hints[field.name]


def wrong_values(name: str, hint: Any) -> tuple[str, ...]:
    """Texts that an option cannot take."""
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if any(typing.get_origin(kind) is typing.Literal for kind in kinds):
        return ("anything_else",)
    if str in kinds or Path in kinds or any(typing.get_origin(kind) is tuple for kind in kinds):
        return ()
    if float in kinds:
        return NO_FLOAT
    if int in kinds:
        return tuple(value for value in NO_INTEGER if value != "-1" or name not in MAY_BE_NEGATIVE)
    return ("perhaps",) if bool in kinds else ()


def generated() -> Iterator[list[str]]:
    """The arguments of each trial."""
    for command, config in {
        ("train",): TrainConfig,
        ("bank", "build", "--out", "x"): BuildConfig,
        ("bank", "import", "--arrays", "x", "--out", "x", "--dataset", "csv:x"): ImportConfig,
        ("classifier",): ClassifierConfig,
        ("benchmark",): BenchmarkConfig,
        ("evaluate", "x"): EvaluateConfig,
        ("recognise", "--run", "x", "y.mp4"): RecogniseConfig,
    }.items():
        for name, hint in leaves(config):
            for value in wrong_values(name, hint):
                yield [*command, f"--{name.replace('_', '-')}", value]
    taken = {name for name, _ in leaves(TrainConfig)}
    for agent in AGENTS:
        for name, hint in leaves(type(settings_of(agent))):
            for value in wrong_values(name, hint):
                option = f"agent_{name}" if name in taken else name
                yield ["train", "--agent", agent, f"--{option.replace('_', '-')}", value]


# Arguments, and words that the line must have.
BY_HAND: list[tuple[list[str], tuple[str, ...]]] = [
    (["tarin"], ("tarin", "train")),
    (["--version-of-what"], ("--version-of-what",)),
    (["train", "--agent", "dns"], ("dns", "dsn")),
    (["train", "--agent", "oracle"], ("oracle",)),
    (["train", "--agent", "no_such_module:Agent"], ("no_such_module",)),
    (["train", "--agent", "json:NoSuch"], ("NoSuch",)),
    (["train", "--agent", ""], ("agent",)),
    (["train", "--lerning-rate", "0.1"], ("--lerning-rate",)),
    (["train", "--seed"], ("--seed",)),
    (["train", "--seed", "4294967296"], ("seed", "4294967296", "at most")),
    (["train", "--agent", "dsn", "--learning-rate", "0"], ("learning_rate", "0", "above")),
    (["train", "--agent", "dsn", "--learning-rate", "-0.1"], ("learning_rate", "-0.1", "above")),
    (["train", "--agent", "ppo", "--checkpoint-every", "8"], ("ppo", "cannot be resumed")),
    (["train", "--agent", "search", "--checkpoint-every", "8"], ("search", "cannot be resumed")),
    (["train", "--resume", "MISSING"], ("MISSING", "is no run")),
    (["train", "--resume", "EMPTY"], ("EMPTY", "is no run")),
    (["train", "--resume", "MISSING", "--agent", "dsn"], ("--agent",)),
    (["train", "--alpha", "2"], ("alpha", "2", "at most")),
    (["train", "--penalty", "-1"], ("penalty", "-1", "at least")),
    (["train", "--omega", "-1"], ("omega", "-1", "at least")),
    (["train", "--environment", "VideoClipSelect-v9"], ("VideoClipSelect-v9", "VideoClipSelect-v0")),
    (["train", "--dataset", "nothing"], ("nothing",)),
    (["train", "--dataset", "folder:MISSING"], ("MISSING",)),
    (["train", "--dataset", "folder:EMPTY"], ("EMPTY",)),
    (["train", "--dataset", "csv:MISSING"], ("MISSING",)),
    (["train", "--dataset", "csv:EMPTY"], ("EMPTY",)),
    (["train", "--dataset", "folder:VIDEOS", "--test-split", "nights"], ("nights",)),
    (["train", "--dataset", "folder:VIDEOS", "--train-split", "nights"], ("nights",)),
    (["train", "--dataset", "folder:VIDEOS", "--runs", "FILE"], ("FILE",)),
    (["train", "--classifier", "r3d_81"], ("r3d_81", "r3d_18")),
    (["train", "--weights", "MISSING"], ("MISSING",)),
    (["train", "--weights", "FILE"], ("FILE",)),
    (["train", "--device", "toaster"], ("toaster",)),
    (["train", "--device", "cuda:99"], ("cuda:99",)),
    (["train", "--signals", "smell"], ("smell",)),
    (["train", "--sgs", "no_stage"], ("no_stage",)),
    (["bank"], ("build", "show")),
    (["bank", "mend"], ("mend",)),
    (["bank", "build"], ("--out",)),
    (["bank", "build", "--out", "x", "--fields", "smell", "--dataset", "folder:VIDEOS"], ("smell", "logits")),
    (["bank", "build", "--out", "x", "--fields", "--dataset", "folder:VIDEOS"], ("fields",)),
    (["bank", "build", "--out", "x", "--dataset", "folder:VIDEOS", "--split", "nights"], ("nights",)),
    (["bank", "build", "--out", "x", "--dataset", "folder:VIDEOS", "--num-videos", "0"], ("num_videos", "0")),
    (["bank", "build", "--out", "x", "--dataset", "folder:VIDEOS", "--batch-size", "0"], ("batch_size", "0")),
    (["bank", "show", "MISSING"], ("MISSING", "is no bank")),
    (["bank", "show", "EMPTY"], ("EMPTY", "is no bank")),
    (["bank", "show", "FILE"], ("FILE", "is no bank")),
    (["bank", "show"], ("its folder", "required")),
    (["classifier", "--learning-rate", "0"], ("learning_rate", "0")),
    (["classifier", "--epochs", "0"], ("epochs", "0")),
    (["classifier", "--optimizer", "adma"], ("optimizer", "adma", "adamw")),
    (["classifier", "--schedule", "wave"], ("schedule", "wave", "cosine")),
    (["classifier", "--sampler", "dice"], ("sampler", "dice", "segment")),
    (["classifier", "--label-smoothing", "2"], ("label_smoothing", "2")),
    (["classifier", "--mixup", "-1"], ("mixup", "-1")),
    (["classifier", "--momentum", "1"], ("--momentum",)),
    (["classifier", "--l2", "-1"], ("l2", "-1")),
    (["classifier", "--scale-jitter", "1", "nan"], ("scale_jitter", "nan")),
    (["classifier", "--scale-jitter", "2", "1"], ("scale_jitter", "2")),
    (["classifier", "--resume", "MISSING"], ("MISSING", "is no run")),
    (["classifier", "--dataset", "folder:MISSING"], ("MISSING",)),
    (["classifier", "--classifier", "r3d_81"], ("r3d_81",)),
    (["evaluate"], ("PATH", "required")),
    (["evaluate", "MISSING"], ("MISSING", "is no run")),
    (["evaluate", "FILE"], ("FILE", "is no run")),
    (["evaluate", "EMPTY", "--sections", "2"], ("EMPTY", "is no run")),
    (["recognise"], ("run",)),
    (["recognise", "--run", "EMPTY"], ("video",)),
    (["recognise", "--run", "MISSING", "x.mp4"], ("MISSING", "is no run")),
    (["recognise", "--run", "EMPTY", "x.mp4", "--top", "0"], ("top", "0")),
    (["view"], ("PATH", "required")),
    (["view", "MISSING"], ("MISSING", "is no run")),
    (["view", "EMPTY"], ("EMPTY", "is no run")),
    (["mean"], ("no run is given",)),
    (["mean", "MISSING"], ("MISSING",)),
    (["mean", "EMPTY", "EMPTY"], ("EMPTY",)),
    (["benchmark", "--agents", "dns"], ("dns", "dsn")),
    (["benchmark", "--agents", "dsn,learning_rate"], ("learning_rate", "NAME=VALUE")),
    (["benchmark", "--agents", "dsn,no_such=1"], ("no_such",)),
    (["benchmark", "--agents", "dsn,learning_rate=nan"], ("learning_rate", "nan")),
    (["benchmark", "--crops", "10"], ("crops", "10")),
    (["benchmark", "--also-kept", "0"], ("also_kept", "0")),
    (["benchmark", "--agents"], ("agents",)),
    (["benchmark", "--out", "FILE"], ("FILE",)),
]
QUICK = 8  # of those made from options, in the suite itself


@pytest.fixture
def trial(tmp_path, monkeypatch, capsys, video_folder):
    """What the commands say of arguments: exit status, and what is on stderr."""
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "FILE").write_text("no such thing\n")
    (tmp_path / "VIDEOS").symlink_to(video_folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIDSELECT_CACHE", str(tmp_path / "cache"))

    def begun(*_: Any, **__: Any) -> None:
        raise Begun

    for place in (
        "vidselect_agents.commands.bank.build_bank",
        "vidselect_env.bank.cached.build_bank",
        "vidselect_agents.commands.classifier.fit",
        "vidselect_env.datasets.synthetic.making.writable_folder",
    ):
        monkeypatch.setattr(place, begun)

    def run(arguments: list[str]) -> tuple[Any, str]:
        capsys.readouterr()
        try:
            commands.main(arguments)
            status: Any = 0
        except SystemExit as end:
            status = end.code
        except Begun:
            status = "begun"
        except BaseException as error:
            status = f"{type(error).__name__}: {error}"
        return status, capsys.readouterr().err

    return run


def judge(status: Any, said: str, words: tuple[str, ...]) -> None:
    assert status == 2, (status, said)
    assert "Traceback" not in said, said
    lines = said.strip().splitlines()
    assert len(lines) == 1, said
    assert lines[0].startswith("error: "), said
    plain = lines[0].replace("-", "_")
    for word in words:
        assert word.replace("-", "_") in plain, (word, said)


def words_of(arguments: list[str]) -> tuple[str, ...]:
    if arguments[-1] == "perhaps":  # a switch takes no value: what is wrong is the word behind it
        return ("perhaps",)
    return tuple(word for word in (arguments[-2].lstrip("-"), arguments[-1]) if word)


def attempt(trial, count_trial, arguments: list[str], words: tuple[str, ...]) -> None:
    outcome = "broken"
    try:
        judge(*trial(arguments), words)
        outcome = "one line, status 2"
    finally:
        count_trial("wrong arguments", outcome)


@pytest.mark.parametrize(("arguments", "words"), BY_HAND, ids=[" ".join(arguments) for arguments, _ in BY_HAND])
def test_wrong_arguments_are_one_line_that_names_what_is_wrong(trial, count_trial, arguments, words):
    attempt(trial, count_trial, arguments, words)


MADE = list(generated())


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(arguments, marks=[] if number % (len(MADE) // QUICK) == 0 else pytest.mark.slow)
        for number, arguments in enumerate(MADE)
    ],
    ids=" ".join,
)
def test_values_that_an_option_cannot_have_are_one_line_that_names_it(trial, count_trial, arguments):
    attempt(trial, count_trial, arguments, words_of(arguments))
