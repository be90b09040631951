"""DSN's Table I on the default problem: joint training over several seeds, each video decoded once for all of them.

    python scripts/measure/joint.py --data-seed 1 --draw-candidates --seeds 5
    python scripts/measure/joint.py --data-seed 1 --draw-candidates --seeds 5 --beside runs/benchmark

What `vidselect train --agent dsn --joint` does with each seed: it starts with the same classifier, learns on `fit`, and
the best epoch on `val` is tested. Beside it, of the same classifier, what random, uniform and dense clips and the
oracle are worth: joint training changes those too. `--beside` names the folder of a `benchmark` of the same videos with
the classifier as it was, whose rows are put into the table. Each seed writes its results as soon as it is done; run the
command again to go on after a kill.
"""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import tyro
from torch import Tensor

from vidselect_agents.base import FILE_NAME
from vidselect_agents.commands.benchmark_jobs import TimedResult
from vidselect_agents.commands.checkpoint import Checkpoints
from vidselect_agents.commands.joint import Epochs
from vidselect_agents.commands.report import references
from vidselect_agents.dsn import DSN, DSNConfig
from vidselect_agents.registry import make_agent
from vidselect_env.envs.memory import keep_freed_batches
from vidselect_env.envs.sources import BankSource, LiveSource
from vidselect_env.envs.wrappers import RecordRollouts
from vidselect_env.evaluation.evaluate import evaluate
from vidselect_env.evaluation.metrics import paired_bootstrap
from vidselect_env.evaluation.table import grouped, markdown_table
from vidselect_env.experiment.banks import make_experiment
from vidselect_env.experiment.config import ExperimentConfig
from vidselect_env.experiment.live import live_source, load_split, starting_classifier
from vidselect_env.experiment.problems import batched, make_problem, steps_of
from vidselect_env.experiment.run import claim_results, run_logger
from vidselect_env.files import make_folder, write_aside, write_json

JOINT = "dsn, joint"


@dataclass(frozen=True, kw_only=True)
class TableConfig(ExperimentConfig):
    """What is trained.

    Args:
        agent: settings of DSN.
        seeds: how many, from 0.
        total_timesteps: videos seen in training.
        num_envs: videos a step.
        start: the folder of a benchmark, with whose `dsn` of the same seed a scorer begins; None for fresh ones.
        beside: folders of benchmarks whose rows are shown too.
        out: the folder of results.
    """

    agent: DSNConfig = field(default_factory=lambda: DSNConfig(joint=True, classifier_rate=0.01))
    seeds: int = 5
    total_timesteps: int = 6_400
    num_envs: int = 64
    start: Path | None = None
    beside: tuple[Path, ...] = ()
    out: Path = Path("runs/joint")


def main() -> None:
    config = tyro.cli(TableConfig, description=__doc__, config=(tyro.conf.OmitArgPrefixes,))
    claim_results(config.out, free=("seeds", "beside", "out", "num_workers"), joint=config)
    todo = [seed for seed in range(config.seeds) if not (folder_of(config, seed) / "dsn.json").exists()]
    if todo:
        train(config, todo)
    results = [TimedResult.read(file) for file in sorted(config.out.glob("seed-*/*.json"))]
    for folder in config.beside:
        results += [TimedResult.read(file) for file in sorted(folder.glob("*/result.json"))]
    text = f"{markdown_table(results)}\n\n{ahead(results)}\n"
    write_aside(config.out / "table.md", lambda aside: aside.write_text(text))
    print(text)


def train(config: TableConfig, seeds: list[int]) -> None:
    """Train with each seed, and write what its agent, and the references, are worth with its classifier."""
    experiment = make_experiment(config, only_test=True, progress=False)
    sets = [load_split(config, split) for split in ("fit", "val", config.data.test_split)]
    classifier = starting_classifier(config, sets[0])
    start = copy.deepcopy(classifier.state_dict())
    fit, val, test = (live_source(config, each, classifier, keep_videos=len(each)) for each in sets)
    if test.video_paths != experiment.test.video_paths:
        raise ValueError("the bank of the test split is not of the videos that are there now")
    for seed in seeds:
        classifier.load_state_dict(start)
        started_s = time.perf_counter()
        agent, facts = learned(config, fit, val, seed=seed)
        print(f"seed {seed}: best on val {facts['best on val']}, {time.perf_counter() - started_s:.0f} s", flush=True)
        answered = BankSource(experiment.test.bank.with_logits(said_of(test)))
        problem = make_problem(config.problem, answered, DSN.made_for)
        rows = {name: (f"{name} clips, {JOINT}", each) for name, each in references(problem, seed=seed).items()}
        rows["dsn"] = (JOINT, agent)  # last: it says that all is done
        for name, (title, selector) in rows.items():
            result = TimedResult(**vars(evaluate(selector, problem, name=title)))
            write_json(folder_of(config, seed) / f"{name}.json", vars(result))


def learned(config: TableConfig, fit: LiveSource, val: LiveSource, *, seed: int) -> tuple[DSN, dict[str, str]]:
    """The agent of the best epoch on `val`, whose classifier is that of the sources then; and which epoch it was."""
    folder = folder_of(config, seed)
    make_folder(folder)
    logger = run_logger(folder)
    problem = make_problem(config.problem, fit, DSN.made_for, training=True)
    env = RecordRollouts(batched(problem, num_envs=config.num_envs), logger)
    keep_freed_batches(env)
    agent = make_agent("dsn", env, seed=seed, device=config.classifier.torch_device, **asdict(config.agent))
    agent.set_logger(logger)
    if config.start is not None:
        frozen = DSN.load(config.start / f"dsn-{seed}" / FILE_NAME)
        agent.modules().load_state_dict(frozen.modules().state_dict())
    epochs = Epochs(
        agent,
        fit,
        make_problem(config.problem, val, DSN.made_for),
        env,
        Checkpoints(folder, env, logger, every=0),
        every=steps_of(problem, len(fit.video_paths)),
    )
    epochs.judge()
    agent.learn(env, steps_of(problem, config.total_timesteps), callback=epochs, progress_bar=True)
    epochs.judge()
    facts = epochs.take_best()
    logger.close()
    return agent, facts


@torch.no_grad()
def said_of(source: LiveSource) -> Tensor:
    """What the classifier, as it is now, says of every candidate of every video: (R, C) logits."""
    source.classifier.eval()
    candidates = torch.arange(int(source.num_candidates[0]))
    videos = torch.arange(len(source.video_paths)).split(8)
    rows = [source.observe("logits", each, candidates.expand(len(each), -1)).flatten(0, 1) for each in videos]
    return torch.cat(rows).cpu()


def folder_of(config: TableConfig, seed: int) -> Path:
    return config.out / f"seed-{seed}"


def ahead(results: list[TimedResult]) -> str:
    """By how many points of Top-1 joint training is ahead of every other row, by a paired bootstrap over videos."""
    rights = {
        name: torch.tensor([each.right for each in rows]).float().mean(0) for name, rows in grouped(results).items()
    }
    own, lines = rights[JOINT], []
    for name, other in rights.items():
        if name != JOINT:
            mean, low, high = (100 * value for value in paired_bootstrap(own, other))
            lines.append(f"{JOINT} is ahead of {name} by {mean:+.1f} [{low:+.1f}, {high:+.1f}]")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
