"""Similarity guided sampling, trained many times over: what makes it collapse, what it saves, and what is simpler.

    python scripts/measure/sgs.py --device cuda --jobs 6

Sets of runs (`--sets`), the first first:

- `kernels`: `tiny_r3d`, sampling after layer2: Eq. 1 or centred magnitudes, Z attached to the network before it or
  not, beside the Kronecker kernel, the authors' own settings, the mean of every two maps, and no sampling.
- `whole`: the modified 3DResNet-18 (or another), sampling after layer1, behind which most of its cost lies, with blocks
  and bins chosen, then the rate; against every other frame, half the frames, as many as cost the same, and attention.
- `tuned`: `tiny_r3d` again, with blocks and bins chosen, then the rate.

Every run trains on from its network's first training, one for each seed. Sets choose on `val`, with the first seed.
All share the clips that the device holds, and leave a row each in OUT/rows: the command again goes on after a kill.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console

from vidselect_classifiers import make_classifier, save_weights
from vidselect_env.evaluation.table import Column, cells
from vidselect_env.experiment.run import claim_results
from vidselect_env.files import write_json
from vidselect_env.fitting.held_clips import HeldSource, hold_clips, read_held, sources_of
from vidselect_env.fitting.held_training import CLIP_FALL, LAYER_FALL, fit_and_judge
from vidselect_env.fitting.training import FitConfig
from vidselect_env.shared_work import Piece, share_work

AFTER = {"tiny_r3d": "layer2", "resnet3d_18_modified": "layer1"}
BY_STEP = {"per_step": True, "network": "authors", "embedding_dim": 64}
SAMPLINGS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "kronecker": {"kernel": "kronecker"},
    "magnitude": {},
    "magnitude, detached": {"detach": True},
    "centred": {"distance": "centred"},
    "centred, detached": {"distance": "centred", "detach": True},
    "authors": {"distance": "centred", "epsilon": True, "network": "authors"},
    "mean of pairs": {"kernel": "kronecker", "order": "time", "block": 2, "num_bins": 1},  # merges all, chooses none
    "kronecker, time": {"kernel": "kronecker", "order": "time"},
    "centred, detached, time": {"distance": "centred", "detach": True, "order": "time"},
    "kronecker, time, fours": {"kernel": "kronecker", "order": "time", "block": 4},
    "kronecker, time, pairs": {"kernel": "kronecker", "order": "time", "block": 2},
    "kronecker, time, pairs by step": {"kernel": "kronecker", "order": "time", "block": 2, **BY_STEP},
}
ENOUGH = 42  # percent fewer multiply-adds after the layer on val: 40 are asked, and other seeds save less
# Of the table's columns, on `test` but for the first.
DIGITS = {"Top-1 on val": 1, "Top-1": 1, **dict.fromkeys(("maps kept", "still", "slow", "fast"), 2)}
DIGITS |= {"GMACs a clip": 4, LAYER_FALL: 1, CLIP_FALL: 1}
SPLITS = ("train", "val", "test")
Rows = dict[str, dict]  # what runs have left, by their names
PLANNED = ("sets", "samplings", "whole_network", "whole_after", "whole_bins", "seeds", "rates")  # which runs
FREE = (*PLANNED, "device", "jobs", "minutes", "out", "scratch")  # may differ where results are gone on with


@dataclass(frozen=True, kw_only=True)
class SGSConfig:
    """What is trained, for how long, and where.

    Args:
        sets: of kernels, whole, tuned.
        samplings: of the set kernels, in this order; without, all whose names say nothing of time.
        whole_network, whole_after, whole_bins: of the set whole; it is sampled after a stage, in one of these ways.
        seeds: of initial weights and of the order of clips.
        dataset: a synthetic one, or the name of one with the splits train, val and test.
        num_videos, num_tests: synthetic ones for training; for val, and for test.
        size, num_held, num_frames: of the frames, in pixels; of each video, its middle ones; of a clip.
        start: weights that each network's first training begins with, whose head goes; None for a new network.
        first_epochs, epochs: of each network's first training; of every run after it.
        optimizer, batch_size: sgd, adamw or adam; clips of a gradient step.
        learning_rate, rates: the largest, where none is chosen; what is chosen of, as multiples of it.
        device, jobs: cpu or cuda; runs at a time.
        minutes: from the start; no run begins that would end later if it took as long as the longest so far.
        out, scratch: the folders of rows and tables; of decoded clips and weights, which are large.
    """

    sets: tuple[str, ...] = ("kernels", "whole", "tuned")
    samplings: tuple[str, ...] = tuple(name for name in SAMPLINGS if "time" not in name)
    whole_network: str = "resnet3d_18_modified"
    whole_after: str = "layer1"
    whole_bins: tuple[str, ...] = ("fours 2", "fours 3")
    seeds: tuple[int, ...] = (0, 1, 2)
    dataset: str = "synthetic-speeds"
    num_videos: int = 24000
    num_tests: int = 3000
    size: int = 32
    num_held: int = 20
    num_frames: int = 16
    start: str | None = None
    first_epochs: int = 4
    epochs: int = 8
    optimizer: str = "sgd"
    batch_size: int = 64
    learning_rate: float = 0.1
    rates: tuple[float, ...] = (1.0, 2.0)
    device: str = "cpu"
    jobs: int = 1
    minutes: float | None = None
    out: Path = Path("runs/sgs")
    scratch: Path = Path("runs/sgs-scratch")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training: `sampling` of `SAMPLINGS`, first or attention; `after` a stage not of `AFTER`; `frames` offsets."""

    network: str
    sampling: str = "none"
    bins: int | None = None
    after: str | None = None
    frames: tuple[int, ...]
    learning_rate: float
    seed: int

    @property
    def variant(self) -> str:
        """All but the seed."""
        options = [f"after {self.after}"] * (self.after is not None) + [f"{self.bins} bins"] * (self.bins is not None)
        frames = f"{len(self.frames)} frames over {self.frames[-1] + 1}"
        return ", ".join([self.network, self.sampling, *options, frames, f"rate {self.learning_rate:g}"])

    @property
    def name(self) -> str:
        return f"{self.variant}, seed {self.seed}".replace(", ", "-").replace(" ", "_")


def main() -> None:
    config = tyro.cli(SGSConfig, description=__doc__)
    started_s = time.monotonic()
    try:
        for folder, inner in ((config.out, "rows"), (config.scratch, "weights")):
            claim_results(folder, free=FREE, sgs=config)
            (folder / inner).mkdir(exist_ok=True)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    of_videos = {"num_videos": config.num_videos, "num_tests": config.num_tests}
    source = HeldSource(dataset=config.dataset, split="train", num_frames=config.num_held, size=config.size)
    hold_clips({held_file(config, split): sources_of(source, split, **of_videos) for split in SPLITS})
    print(f"{time.monotonic() - started_s:.0f} s until the clips are decoded", flush=True)
    until_s = None if config.minutes is None else started_s + 60 * config.minutes
    failed = share_work(partial(ready, config), jobs=config.jobs, until_s=until_s)
    table = markdown(config)
    (config.out / "table.md").write_text(table + "\n")
    Console().print(table, highlight=False, soft_wrap=True)
    if failed:
        raise SystemExit(f"{len(failed)} runs failed: {', '.join(failed)}")


def ready(config: SGSConfig) -> Iterator[Piece]:
    """The planned runs that are not done, or in their place the first training that they need."""
    rows = read_rows(config)
    for run in plan(config, rows):
        first = of(config, run.network, sampling="first", seed=run.seed)
        needed = run if files_of(config, first)[0].exists() else first
        if run.name not in rows:
            yield Piece(name=needed.name, function=train, args=(config, needed))


def plan(config: SGSConfig, rows: Rows) -> Iterator[Run]:
    """The runs of all sets; those that follow from a choice as soon as it can be made."""
    for name in config.sets:
        yield from {"kernels": kernels, "whole": whole, "tuned": tuned}[name](config, rows)


def kernels(config: SGSConfig, rows: Rows) -> Iterator[Run]:
    yield from (of(config, "tiny_r3d", sampling=name, seed=seed) for seed in config.seeds for name in config.samplings)


def whole(config: SGSConfig, rows: Rows) -> Iterator[Run]:
    run, total = partial(of, config, config.whole_network, seed=config.seeds[0]), config.num_frames
    after = None if AFTER.get(config.whole_network) == config.whole_after else config.whole_after
    tried = [each.rsplit(maxsplit=1) for each in config.whole_bins]
    grid = [run(sampling=f"kronecker, time, {kind}", bins=int(bins), after=after) for kind, bins in tried]
    chosen, plain = yield from settle(config, rows, run(), grid)
    if not plain:
        return
    fewer = [tuple(range(0, total, 2)), tuple(range(total // 2))]
    if chosen:  # as many frames as cost what sampling does, over the same time and in a row
        count = max(round(total * (1 - rows[chosen.name]["val"][CLIP_FALL] / 100)), 2)
        fewer += [tuple(round(place * (total - 1) / (count - 1)) for place in range(count)), tuple(range(count))]
    for seed in config.seeds:
        yield from (dataclasses.replace(plain, frames=frames, seed=seed) for frames in fewer)
        yield dataclasses.replace(plain, sampling="attention", after=after, seed=seed)


def tuned(config: SGSConfig, rows: Rows) -> Iterator[Run]:
    run = partial(of, config, "tiny_r3d", seed=config.seeds[0])
    tried = [("kronecker, time, fours", 2), ("kronecker, time, fours", 3), ("kronecker, time", 6)]
    yield from settle(config, rows, run(), [run(sampling=name, bins=bins) for name, bins in tried])


def settle(config: SGSConfig, rows: Rows, plain: Run, grid: Sequence[Run]) -> Generator[Run, None, list[Run | None]]:
    """Ways to sample, then rates of the best and of `plain`, with the first seed; then the best of both, all seeds."""
    rates = [config.learning_rate * times for times in config.rates]
    unsampled = [dataclasses.replace(plain, learning_rate=rate) for rate in rates]
    yield from [*grid, *unsampled]
    way = choose(rows, grid)
    sampled = [dataclasses.replace(way, learning_rate=rate) for rate in rates] if way else []
    yield from sampled
    best = [choose(rows, sampled), choose(rows, unsampled)]
    yield from (dataclasses.replace(each, seed=seed) for seed in config.seeds for each in best if each)
    return best


def of(config: SGSConfig, network: str, *, frames: tuple[int, ...] = (), **settings: Any) -> Run:
    """A run with the configuration's rate, and all frames of a clip, where nothing else is said."""
    frames = frames or tuple(range(config.num_frames))
    return Run(network=network, frames=frames, **{"learning_rate": config.learning_rate, **settings})


def choose(rows: Rows, grid: Sequence[Run], *, least: float = ENOUGH) -> Run | None:
    """Of those that save enough after the layer on val, the one most often right there, or else what saves the most."""
    if not grid or any(run.name not in rows for run in grid):
        return None
    enough = [run for run in grid if run.sampling == "none" or rows[run.name]["val"][LAYER_FALL] >= least]
    return max(enough or grid, key=lambda run: rows[run.name]["val"]["Top-1" if enough else LAYER_FALL])


def held_file(config: SGSConfig, split: str) -> Path:
    return config.scratch / f"{split}.safetensors"


def files_of(config: SGSConfig, run: Run) -> tuple[Path, Path]:
    """Its weights and its row."""
    return config.scratch / "weights" / f"{run.name}.safetensors", config.out / "rows" / f"{run.name}.json"


def read_rows(config: SGSConfig) -> Rows:
    """What the runs that are done have left, by their names."""
    return {file.stem: json.loads(file.read_text()) for file in sorted((config.out / "rows").glob("*.json"))}


def train(config: SGSConfig, run: Run) -> str:
    """Train one network, and leave its weights and its row; its Top-1 and its maps kept, in words."""
    held = {split: read_held(held_file(config, split), config.device) for split in SPLITS}
    torch.set_num_threads(1)
    torch.manual_seed(run.seed)  # a new network, dropout
    size, num_classes = (config.size, config.size), len(held["train"].class_names)
    make = partial(make_classifier, run.network, num_classes=num_classes, resize=size, crop=size)
    plain_gmacs = make(num_frames=config.num_frames).gmacs_per_clip()
    first, is_first = of(config, run.network, sampling="first", seed=run.seed), run.sampling == "first"
    sampling, after = SAMPLINGS.get(run.sampling), run.after or AFTER.get(run.network)
    sgs = None if sampling is None else {"after": after, "num_bins": run.bins, **sampling}
    classifier = make(
        num_frames=len(run.frames),
        weights=config.start if is_first else files_of(config, first)[0],
        replace_head=is_first,
        sgs=sgs,
        attention=after if run.sampling == "attention" else None,
    ).to(config.device)
    kind: dict[str, Any] = {"optimizer": config.optimizer, "batch_size": config.batch_size, "label_smoothing": 0.1}
    fit = FitConfig(learning_rate=run.learning_rate, epochs=config.first_epochs if is_first else config.epochs, **kind)
    judge = partial(fit_and_judge, plain_gmacs=plain_gmacs, tell=partial(print, f"{run.name}:", flush=True))
    found = judge(classifier, held, offsets=run.frames, config=fit, seed=run.seed)
    row = {**dataclasses.asdict(run), "variant": run.variant, "sgs": sgs, **found}
    weights_file, row_file = files_of(config, run)
    save_weights(classifier, weights_file)
    write_json(row_file, row)
    return f"{row['test']['Top-1']:.1f} % right, {row['test'].get('maps kept', math.nan):.2f} maps"


def markdown(config: SGSConfig) -> str:
    """The table of all rows, in the order of the plan, as far as they are there."""
    rows = read_rows(config)
    variants: dict[str, list[dict]] = {}
    for run in plan(config, rows):
        if run.name in rows and rows[run.name] not in variants.setdefault(run.variant, []):
            variants[run.variant].append(rows[run.name])
    columns = [Column(name, partial(value, name=name), digits) for name, digits in DIGITS.items()]
    lines = [" | ".join(["| run | seeds", *DIGITS, "maps on val by epoch |"]), "|---|" + "---:|" * (len(DIGITS) + 2)]
    for name, found in variants.items():
        epochs = zip(*([each.get("maps on val", math.nan) for each in row["epochs"]] for row in found), strict=True)
        by_epoch = " ".join(f"{sum(maps) / len(maps):.1f}" for maps in epochs).replace("nan", "")
        lines.append(" | ".join([f"| {name} | {len(found)}", *cells(found, columns), by_epoch.strip()]) + " |")
    return "\n".join(lines)


def value(row: dict[str, Any], *, name: str) -> float:
    """A column's value; nan for what a network without sampling has not."""
    maps = [each for kind, each in row["test"].get("maps of", {}).items() if kind.split()[0] == name]
    if maps:  # of all classes of that speed
        return sum(maps) / len(maps)
    return row["val"]["Top-1"] if name == "Top-1 on val" else row["test"].get(name, math.nan)


if __name__ == "__main__":
    main()
