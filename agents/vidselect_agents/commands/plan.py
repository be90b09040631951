"""What a recipe would take: counted from lists and shapes, timed on a few videos and clips, and what is not there.

Times are of this machine, as it is now; they leave out what an agent itself costs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import torch

from vidselect_agents.commands.options.recipe import RecipeConfig
from vidselect_agents.commands.recipes import Recipe, Stream, classifier_config, train_config
from vidselect_agents.registry import needs_of
from vidselect_classifiers import ClipClassifier, make_classifier
from vidselect_classifiers.weights import CHECKPOINTS, PUBLISHED
from vidselect_env.bank.build import bank_spec
from vidselect_env.bank.decode import decode_video
from vidselect_env.bank.dtypes import dtype_of
from vidselect_env.bank.spec import OUTPUTS, BankSpec
from vidselect_env.datasets import VideoDataset, load_dataset
from vidselect_env.datasets.flow import flow_file
from vidselect_env.experiment.banks import learning_split, signal_spec, signals_of, skim_spec
from vidselect_env.experiment.candidates import settled
from vidselect_env.experiment.config import ExperimentConfig
from vidselect_env.experiment.problems import fields_of
from vidselect_env.fitting.fit_config import FitConfig
from vidselect_env.fitting.options import ClassifierOptions
from vidselect_env.video.errors import VideoError
from vidselect_env.video.flow import FlowSpec, write_flow

NUM_TIMED = 3  # videos that are decoded to tell how long all take


@dataclass
class Plan:
    """What one stream of one split takes.

    num_videos: by split. num_clips: candidates of all. bank_bytes: of what the banks keep of them.
    classifier_gmacs: of all clips that are classified for the banks; training_gmacs: of training the classifier, three
    passes a clip. hours: by what is done. memory_bytes: of the banks' fields and what is decoded ahead.
    missing: what is not on the disk.
    """

    title: str
    num_videos: dict[str, int] = field(default_factory=dict)
    num_clips: int = 0
    bank_bytes: int = 0
    classifier_gmacs: float = 0.0
    training_gmacs: float = 0.0
    hours: dict[str, float] = field(default_factory=dict)
    memory_bytes: int = 0
    missing: list[str] = field(default_factory=list)


def plan_of(recipe: Recipe, config: RecipeConfig) -> list[Plan]:
    """Of every split and stream."""
    plans = []
    for dataset in recipe.datasets(config.root):
        for stream in recipe.streams:
            plan = Plan(f"{stream.name} on {stream.dataset(dataset)}")
            _fill(plan, stream, dataset, config)
            plans.append(plan)
    return plans


def _fill(plan: Plan, stream: Stream, base: str, config: RecipeConfig) -> None:
    trained = None if stream.classifier is None else classifier_config(stream, base, device=config.device)
    chosen = None if stream.train is None else train_config(stream, base, device=config.device)
    options: ClassifierOptions = trained or chosen[0].classifier  # type: ignore[index]
    train_split = learning_split(chosen[0].data) if chosen else trained.train_split  # type: ignore[union-attr]
    test_split = chosen[0].data.test_split if chosen else trained.test_split  # type: ignore[union-attr]
    sets = [found for split in (train_split, test_split) if (found := _read(plan, base, split)) is not None]
    _check_weights(plan, options)
    if len(sets) < 2:
        return
    num_classes = len(sets[0].class_names)
    classifier = make_classifier(options.classifier, num_classes=num_classes, **options.changes())
    classifier = classifier.to(options.torch_device)
    second_s = _seconds_a_clip(classifier, options.torch_device)
    if stream.flow is not None:
        _plan_flow(plan, stream, sets)
    if trained is not None:
        _plan_training(plan, trained.fit, len(sets[0]), classifier.gmacs_per_clip(), second_s)
    if chosen is not None:
        _plan_banks(plan, *chosen, sets=sets, classifier=classifier, second_s=second_s)


def _read(plan: Plan, base: str, split: str) -> VideoDataset | None:
    """The videos of a split, of colours; what the reader misses is noted."""
    said = io.StringIO()
    found = None
    with contextlib.redirect_stdout(said), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            found = load_dataset(base, split=split)
        except ValueError as error:
            plan.missing.append(" ".join(str(error).split()))
    notes = [line.strip() for line in said.getvalue().splitlines() if line.startswith("  ")]
    plan.missing += [f"{split}: {line}" for line in (*notes, *(str(each.message) for each in warned))]
    if found is not None:
        plan.num_videos[split] = len(found)
    return found


def _check_weights(plan: Plan, options: ClassifierOptions) -> None:
    if options.weights is None:
        return
    published = PUBLISHED.get(options.classifier, {}).get(options.weights)
    if published is None:
        if not Path(options.weights).is_file():
            plan.missing.append(f"weights {options.weights} of {options.classifier}")
    elif published.endswith(".safetensors"):
        if not (CHECKPOINTS / published).is_file():
            plan.missing.append(f"weights {published} of the package")
    else:
        from torchvision.models import get_weight

        url = get_weight(published).url
        if not (Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name).is_file():
            plan.missing.append(f"weights {options.weights} of {options.classifier}: {url} will be fetched")


def _plan_flow(plan: Plan, stream: Stream, sets: Sequence[VideoDataset]) -> None:
    assert stream.flow is not None
    method, _, side = stream.flow.partition("@")
    spec = FlowSpec(method=method, short_side=int(side) if side else None)
    paths = list(dict.fromkeys(video.path for dataset in sets for video in dataset.videos))
    todo = [path for path in paths if not flow_file(path, spec).exists()]
    if todo:
        plan.missing.append(f"flow ({spec}) of {len(todo)} of {len(paths)} videos, which is computed first")
    try:
        video_s = _mean_seconds(todo, lambda path: _time_flow(path, spec))
    except ImportError as error:
        plan.missing.append(str(error))
        return
    plan.hours["flow"] = video_s * len(todo) / 3600


def _time_flow(path: str, spec: FlowSpec) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_flow(path, Path(folder) / "flow.mp4", spec)


def _plan_training(plan: Plan, fit: FitConfig, num_videos: int, gmacs: float, second_s: float) -> None:
    num_clips = fit.epochs * num_videos * fit.segments
    plan.training_gmacs = 3 * gmacs * num_clips
    plan.hours["training the classifier"] = 3 * second_s * num_clips / 3600


def _plan_banks(
    plan: Plan,
    config: ExperimentConfig,
    settings: object,
    *,
    sets: Sequence[VideoDataset],
    classifier: ClipClassifier,
    second_s: float,
) -> None:
    """Of the banks of both splits: what a few videos give and take, for all of them."""
    needs = needs_of(config.agent, settings)  # type: ignore[attr-defined]
    grid = settled(config, sets[-1], classifier.geometry, needs=needs).grid
    signals = signals_of(grid, fields_of(config.problem, needs))
    spec = bank_spec(
        _shown(sets[0], classifier),
        classifier,
        num_clips=grid.num_clips,
        fields=("logits", "features", "skim", *signals),
        skim=skim_spec(grid),
        signals=signal_spec(grid) if signals else None,
        crops=grid.crops,
    )
    counts: list[int] = []
    paths = [video for dataset in sets for video in dataset.videos]

    def decode(place: int) -> None:
        counts.append(decode_video(paths[place], spec=spec).num_clips)

    video_s = _mean_seconds(range(len(paths)), decode)
    clips_a_video = sum(counts) / len(counts) if counts else grid.num_clips or 1
    plan.num_clips = round(clips_a_video * len(paths))
    plan.bank_bytes = plan.num_clips * bytes_a_candidate(spec, classifier)
    plan.classifier_gmacs = plan.num_clips * grid.crops * classifier.gmacs_per_clip()
    plan.hours["decoding for the banks"] = video_s * len(paths) / grid.num_workers / 3600
    plan.hours["classifying for the banks"] = second_s * plan.num_clips * grid.crops / 3600
    ahead = (2 * grid.num_workers + 2) * clips_a_video * grid.crops * prod(classifier.input_shape)
    plan.memory_bytes = plan.bank_bytes + round(ahead)


def _shown(dataset: VideoDataset, classifier: ClipClassifier) -> VideoDataset:
    """The dataset under the name of what the classifier sees: flow takes as long to decode as colours."""
    if classifier.geometry.modality == "rgb":
        return dataset
    return dataclasses.replace(dataset, name=f"flow:dis:{dataset.name}")


def bytes_a_candidate(spec: BankSpec, classifier: ClipClassifier) -> int:
    """What a bank keeps of one candidate."""
    sizes = {"logits": classifier.num_classes, "num_bins": 1}
    if classifier.has_features:
        sizes["features"] = classifier.feature_dim
    found = 0
    for name in spec.fields:
        count = sizes[name] * spec.crops if name in OUTPUTS else prod(spec.shape(name))
        found += count * dtype_of(name, spec).itemsize
    return found


def _seconds_a_clip(classifier: ClipClassifier, device: str) -> float:
    """Of one of two clips at once; the first time does not count."""
    clips = torch.zeros((2, *classifier.input_shape), dtype=torch.uint8, device=device)
    with torch.inference_mode():
        classifier(clips)
        started_s = time.perf_counter()
        classifier(clips).logits.cpu()
    return (time.perf_counter() - started_s) / 2


def _mean_seconds(items: Sequence, work: Callable) -> float:
    """Of the work on a few items, evenly taken; those that cannot be read take nothing."""
    taken = [items[number * len(items) // NUM_TIMED] for number in range(min(NUM_TIMED, len(items)))]
    spent = []
    for item in taken:
        started_s = time.perf_counter()
        with contextlib.suppress(VideoError):
            work(item)
            spent.append(time.perf_counter() - started_s)
    return sum(spent) / len(spent) if spent else 0.0


def told(recipe: Recipe, plans: Sequence[Plan]) -> str:
    """The plan in words."""
    lines = [recipe.name, f"  for        {recipe.table}", f"  reported   {recipe.reports}"]
    lines += [f"  differs    {line}" for line in recipe.differs]
    for plan in plans:
        videos = ", ".join(f"{count} {split}" for split, count in plan.num_videos.items())
        hours = ", ".join(f"{name} {value:.2g}" for name, value in plan.hours.items())
        lines += ["", plan.title, f"  videos     {videos or 'none'}"]
        if plan.num_clips:
            lines.append(f"  clips      {plan.num_clips}, {plan.bank_bytes / 1e9:.3g} GB of banks")
        if plan.hours:
            lines += [
                f"  GMACs      {plan.classifier_gmacs:.3g} for the banks, {plan.training_gmacs:.3g} to train",
                f"  hours      {sum(plan.hours.values()):.2g} on this machine, less the agent's: {hours}",
                f"  memory     {plan.memory_bytes / 1e9:.3g} GB of banks and decoded clips",
            ]
        lines += [f"  missing    {line}" for line in plan.missing] or ["  missing    nothing"]
    return "\n".join(lines)
