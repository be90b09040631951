"""Recognise the action of video files with a trained selector: only what it chooses is decoded and classified.

python scripts/recognise.py --run runs/dsn-... VIDEO.mp4 OTHER.mkv
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table

from vidselect_agents import load_agent, loadable_class, restored_settings, signals_wanted
from vidselect_classifiers import ClipClassifier
from vidselect_env.bank import BankSpec
from vidselect_env.bank.build import clips_of
from vidselect_env.bank.head import load_head
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import looks_at, selection_of
from vidselect_env.experiment import (
    ExperimentConfig,
    make_problem,
    signal_spec,
    signals_of,
    skim_spec,
)
from vidselect_env.recognition import Recognition, one_video_bank, recognise
from vidselect_env.run import HEAD, read_config
from vidselect_env.video.errors import VideoError


@dataclass(frozen=True)
class RecogniseConfig:
    """Which videos, by which run.

    Args:
        videos: files.
        run: folder of a run of an agent that chooses from skims or signals.
        top: classes shown of each video.
    """

    videos: tyro.conf.Positional[tuple[Path, ...]]
    run: Path
    top: int = 3


def main() -> None:
    config = tyro.cli(RecogniseConfig, description=__doc__)
    run = read_config(config.run)
    if "class_names" not in run:
        raise SystemExit(f"{config.run} is no run of training an agent: it does not name its classes")
    saved, class_names = run["experiment"], tuple(run["class_names"])
    known = ExperimentConfig.__dataclass_fields__
    experiment_config = ExperimentConfig(**{name: value for name, value in saved.items() if name in known})
    classifier = with_saved_head(experiment_config.make_classifier(), config.run, class_names)
    cls = loadable_class(saved["agent"])

    def problem_on(source: BankSource) -> SelectionProblem:
        return make_problem(experiment_config, source, cls, experiment_config.sections)

    settings = restored_settings(saved["agent"], run.get("agent_settings", {}))
    signals = signals_of(experiment_config, signals_wanted(saved["agent"], settings))
    spec = looks_spec(experiment_config, classifier, ("skim", *signals), class_names)
    # The agent asks its environment for shapes alone: one video of nothing has them.
    nothing = one_video_bank(
        spec, experiment_config.candidates or 30, feature_dim=classifier.feature_dim if classifier.has_features else 0
    )
    env = SelectVectorEnv(problem_on(BankSource(nothing)), num_envs=1)
    agent = load_agent(cls, config.run, env, device=experiment_config.torch_device)
    looked_at = looks_at(agent, env.problem)
    if not looked_at:
        raise SystemExit(f"the agent of {config.run} looks at nothing: there is nothing to choose by")
    if not set(looked_at) <= set(spec.fields):
        raise SystemExit(f"the agent of {config.run} looks at {', '.join(looked_at)}: it needs the classifier first")
    options: dict[str, Any] = {
        "classifier": classifier.to(experiment_config.torch_device),
        "spec": looks_spec(experiment_config, classifier, looked_at, class_names),
        "make_problem": problem_on,
        "select": lambda problem, contexts: selection_of(agent, problem, contexts),
    }
    for video in config.videos:
        try:
            show(video, recognise(str(video), **options), class_names, top=config.top)
        except VideoError as error:
            Console().print(str(error), style="red")


def looks_spec(
    config: ExperimentConfig, classifier: ClipClassifier, fields: tuple[str, ...], class_names: tuple[str, ...]
) -> BankSpec:
    """The grid of a configuration and some of its decoded fields."""
    return BankSpec(
        dataset="",
        split="",
        dataset_fingerprint="",
        class_names=class_names,
        weights_sha256="",
        **clips_of(classifier, num_clips=config.candidates),
        fields=fields,
        skim=skim_spec(config) if "skim" in fields else None,
        signals=signal_spec(config) if set(fields) - {"skim"} else None,
    )


def with_saved_head(classifier: ClipClassifier, run: Path, class_names: tuple[str, ...]) -> ClipClassifier:
    """The classifier with the head that the run fitted, if it fitted one."""
    file = run / HEAD
    if file.exists():
        classifier.put_head(load_head(file), class_names)
    return classifier.eval()


def show(video: Path, found: Recognition, class_names: tuple[str, ...], *, top: int) -> None:
    """The most probable classes, where they were seen, and the time that each part took."""
    console = Console()
    console.print(str(video), soft_wrap=True, highlight=False)
    table = Table()
    table.add_column("class")
    table.add_column("probability", justify="right")
    best = found.probabilities.topk(min(top, len(class_names)))
    for value, label in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        table.add_row(class_names[label], f"{value:.3f}")
    console.print(table)
    times = ", ".join(f"{start:.1f} s" for start in found.start_s.tolist())
    console.print(f"{len(found.classified)} of {found.num_candidates} clips classified, at {times}")
    spent = ", ".join(f"{name} {value:.0f}" for name, value in found.milliseconds.items())
    console.print(f"milliseconds: {spent}; {sum(found.milliseconds.values()):.0f} in all\n")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
