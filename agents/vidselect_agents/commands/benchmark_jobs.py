"""The jobs of a benchmark: one agent with one seed each, in processes that share banks."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_type_hints

import torch
from tqdm import tqdm

from vidselect_agents.base import FILE_NAME
from vidselect_agents.commands.benchmark_ray import work_on_ray
from vidselect_agents.registry import UNTRAINED, make_agent, needs_of, settings_of
from vidselect_agents.settings import NoSettings, with_settings
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.memory import keep_freed_batches
from vidselect_env.envs.wrappers import RecordRollouts
from vidselect_env.evaluation.evaluate import Result, evaluate
from vidselect_env.evaluation.references import REFERENCES
from vidselect_env.experiment.banks import Experiment, make_experiment
from vidselect_env.experiment.config import ExperimentConfig, changed
from vidselect_env.experiment.problems import batched, fields_of, make_problem, steps_of
from vidselect_env.experiment.run import run_logger
from vidselect_env.files import clear_leftovers, make_folder, read_text, write_json
from vidselect_env.settings import typed


@dataclass(frozen=True, kw_only=True)
class TimedResult(Result):
    """A result with what its training took.

    train_seconds: of `learn`, and steps_per_second in it, both nan where nothing is trained.
    """

    train_seconds: float = float("nan")
    steps_per_second: float = float("nan")

    @classmethod
    def read(cls, file: Path) -> TimedResult:
        """What a job wrote.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            saved, hints = json.loads(read_text(file)), get_type_hints(cls)
            unknown = {name for name, value in saved.items() if hints[name] is float and value != value}  # nan
            return cls(
                **{
                    name: value if name in unknown else typed(value, hints[name], name=name)
                    for name, value in saved.items()
                }
            )
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"result {str(file)!r} is damaged ({error}): delete it, and it is made again") from error


def run_jobs(
    config: ExperimentConfig,
    wanted: Sequence[tuple[str, int]],
    *,
    out: Path,
    total_timesteps: int,
    num_envs: int,
    also_kept: tuple[int, ...] = (),
    jobs: int,
    engine: str = "local",
    address: str | None = None,
) -> dict[str, str]:
    """Do every (agent, seed) whose result is not there yet; the reasons of those that failed, by agent.

    Args:
        jobs: that run side by side.
        engine: local, processes of this machine; or ray, workers on the cluster at `address`.
    """
    failures: dict[str, str] = {}
    signals: set[str] = set()  # what all agents look at, so that one bank serves them
    for agent in dict.fromkeys(agent for agent, _ in wanted):
        try:
            signals |= set(fields_of(config.problem, needs_with_settings(agent)[0]))
        except ValueError:  # a name or setting that is not known: the command is wrong, and nothing is begun
            raise
        except Exception as error:
            failures[agent] = f"{type(error).__name__}: {error}"
    todo = [job for job in wanted if job[0] not in failures and not result_file(out, *job).exists()]
    options: dict[str, Any] = {
        "out": out,
        "total_timesteps": total_timesteps,
        "num_envs": num_envs,
        "also_kept": also_kept,
    }
    experiment = make_experiment(config, signals=signals)  # here, so that no two processes build the banks
    if engine == "ray" and todo:
        enter = partial(_enter, config, signals, 1)
        device = config.classifier.device
        ended = work_on_ray(todo, enter=enter, work=_work, options=options, jobs=jobs, address=address, device=device)
        with closing(ended), tqdm(total=len(todo), unit="run", desc="benchmark") as bar:
            for (agent, _), reason in ended:
                _note(failures, agent, reason)
                bar.update()
        return failures
    if jobs == 1:
        for job in todo:
            _note(failures, job[0], _attempt(experiment, *job, **options, shown=True))
        return failures
    threads = max((os.cpu_count() or 1) // jobs, 1)
    pool = ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_enter, initargs=(config, signals, threads)
    )
    with pool, tqdm(total=len(todo), unit="run", desc="benchmark") as bar:
        waiting = {pool.submit(_work, *job, options): job for job in todo}
        for done in as_completed(waiting):
            _note(failures, waiting[done][0], done.result())
            bar.update()
    return failures


def one(
    experiment: Experiment,
    agent: str,
    seed: int,
    *,
    out: Path,
    total_timesteps: int,
    num_envs: int,
    also_kept: tuple[int, ...] = (),
    shown: bool = True,
) -> None:
    """Train and evaluate one agent with one seed, and write its result."""
    file = result_file(out, agent, seed)
    make_folder(file.parent)
    clear_leftovers(file.parent)
    needs, environment = needs_with_settings(agent)
    config = experiment.config if environment is None else changed(experiment.config, environment=environment)
    selector, timing = _trained(
        experiment, config, agent, seed, needs=needs, folder=file.parent, options=(total_timesteps, num_envs, shown)
    )
    for kept in (*also_kept, None):  # the result that says that all is done comes last
        wanted = config.problem if kept is None else changed(config.problem, kept=kept, sections=kept)
        sections = wanted.test_sections if kept is None else kept
        test = make_problem(wanted, experiment.test, needs, num_sections=sections)
        result = evaluate(selector, test, name=agent if kept is None else f"{agent} @ {kept}")
        write_json(result_file(out, agent, seed, kept=kept), vars(result) | timing)


def _trained(
    experiment: Experiment,
    config: ExperimentConfig,
    agent: str,
    seed: int,
    *,
    needs: Needs,
    folder: Path,
    options: tuple[int, int, bool],
) -> tuple[Any, dict[str, float]]:
    """The selector called `agent`, trained if it learns, and what that took."""
    name, settings = parse_agent(agent)
    settings.pop("environment", None)
    if name in REFERENCES:
        return REFERENCES[name](), {}
    total_timesteps, num_envs, shown = options
    assert experiment.train is not None
    logger = run_logger(folder)
    problem = make_problem(config.problem, experiment.train, needs)
    env = RecordRollouts(batched(problem, num_envs=num_envs), logger)
    keep_freed_batches(env)
    learner = make_agent(name, env, seed=seed, device=config.classifier.torch_device, **settings)
    timing = {}
    if name not in UNTRAINED:
        started_s = time.perf_counter()
        learner.learn(env, steps_of(env.problem, total_timesteps), progress_bar=shown)
        train_seconds = time.perf_counter() - started_s
        timing = {"train_seconds": train_seconds, "steps_per_second": env.num_steps / train_seconds}
        env.dump()
        learner.save(folder / FILE_NAME)
    logger.close()
    return learner, timing


def needs_with_settings(agent: str) -> tuple[Needs, str | None]:
    """What an agent with these settings needs, and the environment that it is to be in, if it says so."""
    name, given = parse_agent(agent)
    environment = given.pop("environment", None)
    if name in REFERENCES:
        return REFERENCES[name].needs, environment
    settings = settings_of(name)
    known = {key: value for key, value in given.items() if key in type(settings).__dataclass_fields__}
    return needs_of(name, with_settings(name, settings, known)), environment


def parse_agent(text: str) -> tuple[str, dict[str, Any]]:
    """`dsn,gradient=all_arms,samples_per_context=1` -> `dsn` and its settings; `+` stands between several values."""
    name, *settings = text.split(",")
    if wrong := [setting for setting in settings if "=" not in setting]:
        raise ValueError(f"setting {wrong[0]!r} of agent {text!r} must be NAME=VALUE")
    pairs = dict(setting.split("=", 1) for setting in settings)
    own = NoSettings() if name in REFERENCES else settings_of(name)
    hints = get_type_hints(type(own))
    given: dict[str, Any] = {}
    for key, value in pairs.items():
        given[key] = tuple(value.split("+")) if isinstance(getattr(own, key, None), tuple) else _value(value)
        if key in hints:
            given[key] = typed(given[key], hints[key], name=key)
        elif hints and key != "environment":
            raise ValueError(f"agent {name!r} has no setting {key!r}: it has {', '.join(hints)}")
    return name, given


def result_file(out: Path, agent: str, seed: int, *, kept: int | None = None) -> Path:
    """Where the result of one agent with one seed is, of another number of kept candidates than it was trained with."""
    name = "result.json" if kept is None else f"result-{kept}.json"
    return out / f"{agent.replace(':', '.').replace('/', '_')}-{seed}" / name


def _value(text: str) -> Any:
    """A number, true, false or none in any spelling, or the text itself."""
    if text.lower() in ("true", "false", "none", "null"):
        return {"true": True, "false": False}.get(text.lower())
    try:
        return json.loads(text)
    except ValueError:
        return text


def _note(failures: dict[str, str], agent: str, reason: str | None) -> None:
    if reason is not None:
        failures[agent] = reason


def _attempt(experiment: Experiment, agent: str, seed: int, **options: Any) -> str | None:
    """Do one job; the reason, if it failed."""
    try:
        one(experiment, agent, seed, **options)
    except Exception as error:
        if not isinstance(error, (ValueError, OSError, ImportError)):  # those are a user's, and one line
            traceback.print_exc()
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return None


_EXPERIMENT: Experiment | None = None  # of a worker process


def _enter(config: ExperimentConfig, signals: set[str], threads: int) -> None:
    """Open the banks in a worker process."""
    global _EXPERIMENT
    torch.set_num_threads(threads)
    _EXPERIMENT = make_experiment(config, signals=signals, progress=False)


def _work(agent: str, seed: int, options: dict[str, Any]) -> str | None:
    assert _EXPERIMENT is not None
    return _attempt(_EXPERIMENT, agent, seed, **options, shown=False)
