"""Whether the multiply-adds that similarity guided sampling saves are saved in time too.

    python scripts/measure/sgs_speed.py --dataset csv:../shared/data/surv_fight/split.csv
    python scripts/measure/sgs_speed.py --dataset csv:../shared/data/grid_s1/words.csv --classifiers lip_tcn \
        --num-bins 10 --distance centred --order time --weights runs/classifier-lip_tcn-.../weights.safetensors
    python scripts/measure/sgs_speed.py --trained runs/sgs --scratch runs/sgs-scratch --num-clips 64

Frames a second of a classifier with and without sampling, in turn, on clips of real videos and on stills (the
first frame of each clip, repeated). The similarity network is untrained, but for its batch norm, which is fitted
to the clips: what is measured is how fast what is left is done, and `num_bins` decides how much is left. With
`--weights` it is trained.

With `--trained` the networks are those that `sgs.py` has trained, on its test clips.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from torch import Tensor
from tqdm import tqdm

from vidselect_classifiers import ClipClassifier, make_classifier
from vidselect_classifiers.sgs import gmacs_by_bins, with_sgs
from vidselect_env.datasets import load_dataset
from vidselect_env.fitting.held_clips import read_held
from vidselect_env.fitting.loader import ClipLoader

AFTER = {"x3d_s": "blocks.0", "r3d_18": "stem", "lip_tcn": "locate"}


@dataclass(frozen=True, kw_only=True)
class SpeedConfig:
    """On which clips, and how often.

    Args:
        dataset: folder:PATH, csv:PATH or synthetic.
        split: train, test, or what the dataset has.
        classifiers: of x3d_s and r3d_18, with sampling after their first convolution, and lip_tcn, where it has found
            the mouth.
        num_bins: of the sampling, a row each.
        distance, kernel, order, block: of the sampling.
        weights: of the one classifier that is named, trained with this sampling.
        num_clips: one of each video.
        rounds: of each network in turn.
        num_threads: of torch.
        channels_last: both networks in the memory format of training and of recognition (`convolve_fast`).
        trained: the folder of sgs.py's rows; then what is above `num_clips` does not matter.
        scratch: its folder of weights and clips.
        network: of these, which.
        device: cpu or cuda.
    """

    dataset: str = "synthetic"
    split: str = "test"
    classifiers: tuple[str, ...] = ("x3d_s", "r3d_18")
    num_bins: tuple[int, ...] = (16, 64, 256)
    distance: str = "magnitude"
    kernel: str = "linear"
    order: str = "bins"
    block: int | None = None
    weights: Path | None = None
    num_clips: int = 8
    rounds: int = 5
    num_threads: int = 2
    channels_last: bool = False
    trained: Path | None = None
    scratch: Path = Path("runs/sgs-scratch")
    network: str = "resnet3d_18_modified"
    device: str = "cpu"


def main() -> None:
    config = tyro.cli(SpeedConfig, description=__doc__)
    torch.set_num_threads(config.num_threads)
    lines = [
        "| network | bins | clips | maps kept | GMACs without | with | ratio "
        "| frames/s without | with | ratio | of the GMACs' |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, plain, adaptive, clips in untrained(config) if config.trained is None else trained(config):
        device = config.device
        lines.append(row(config, name, plain.to(device), adaptive.to(device), clips.to(device)))
    Console().print("\n".join(lines), highlight=False, soft_wrap=True)


Pair = tuple[str, ClipClassifier, ClipClassifier, Tensor]  # its name, without and with sampling, the clips


def untrained(config: SpeedConfig) -> Iterator[Pair]:
    """Fresh networks on real clips and on stills."""
    dataset = load_dataset(config.dataset, split=config.split, num_videos=config.num_clips)
    for name in config.classifiers:
        torch.manual_seed(0)
        plain = make_classifier(name)
        loader = ClipLoader(
            dataset, plain.geometry, batch_size=config.num_clips, training=False, generator=torch.Generator()
        )
        clips = next(iter(loader))[0]
        stills = clips[:, :1].expand_as(clips).contiguous()
        for num_bins in config.num_bins:
            sgs: dict[str, Any] = {"after": AFTER[name], "num_bins": num_bins}
            sgs |= {name: getattr(config, name) for name in ("distance", "kernel", "order", "block")}
            if config.weights is None:
                adaptive = with_sgs(plain, **sgs)
                fit_norm(adaptive, clips)
            else:
                adaptive = make_classifier(name, weights=config.weights, sgs=sgs)
            for seen, batch in (("real", clips), ("stills", stills)):
                yield f"{name} | {num_bins} | {seen}", plain, adaptive, batch


def trained(config: SpeedConfig) -> Iterator[Pair]:
    """Trained networks with sampling, each beside the plain one of its seed, on test clips."""
    assert config.trained is not None
    rows = {file.stem: json.loads(file.read_text()) for file in sorted((config.trained / "rows").glob("*.json"))}
    rows = {name: row for name, row in rows.items() if row["network"] == config.network}
    held = read_held(config.scratch / "test.safetensors")
    size = (held.frames.shape[-1],) * 2
    for name, row in rows.items():
        if row["sgs"] is None:
            continue
        [of_plain] = [
            other
            for other, each in rows.items()
            if each["sampling"] == "none"
            and [each[key] for key in ("seed", "frames", "learning_rate")]
            == [row[key] for key in ("seed", "frames", "learning_rate")]
        ]
        pair = [
            make_classifier(
                config.network,
                weights=config.scratch / "weights" / f"{weights}.safetensors",
                num_frames=len(row["frames"]),
                resize=size,
                crop=size,
                sgs=sgs,
            )
            for weights, sgs in ((of_plain, None), (name, row["sgs"]))
        ]
        clips, _ = next(held.batches(row["frames"], batch_size=config.num_clips))
        most = row["sgs"]["num_bins"] or len(row["frames"])
        name = f"{config.network}, {row['sampling']}, after {row['sgs']['after']}, seed {row['seed']}"
        yield f"{name} | {most} | test", pair[0], pair[1], clips


@torch.no_grad()
def fit_norm(classifier: ClipClassifier, clips: Tensor) -> None:
    """Give the similarity network's batch norm the statistics of these clips."""
    sampling = classifier.network.get_submodule("sgs")
    norm = sampling.get_submodule("embed.3")
    norm.momentum = None  # type: ignore[assignment]  # the mean over all batches: of one, that batch's
    sampling.train()
    classifier(clips)
    sampling.eval()


@torch.inference_mode()
def row(config: SpeedConfig, name: str, plain: ClipClassifier, adaptive: ClipClassifier, clips: Tensor) -> str:
    """Both networks on the same clips in turn: medians."""
    networks = {"without": plain, "with": adaptive}
    for network in networks.values():
        if config.channels_last:
            network.convolve_fast()
        network(clips)
    kept = adaptive(clips).num_bins
    assert kept is not None
    kept = kept.cpu()
    times: dict[str, list[float]] = {label: [] for label in networks}
    for _ in tqdm(range(config.rounds), desc=name, leave=False):
        for label, network in networks.items():
            started_s = now_s(clips)
            network(clips)
            times[label].append(now_s(clips) - started_s)
    frames = clips.shape[0] * clips.shape[1]
    rates = {label: frames / statistics.median(each) for label, each in times.items()}
    costs = {
        "without": plain.gmacs_per_clip(),
        "with": torch.tensor(gmacs_by_bins(adaptive))[kept - 1].mean().item(),
    }
    saved, faster = costs["without"] / costs["with"], rates["with"] / rates["without"]
    return (
        f"| {name} | {kept.float().mean():.2f} | {costs['without']:.3f} | {costs['with']:.3f} | {saved:.2f} "
        f"| {rates['without']:.1f} | {rates['with']:.1f} | {faster:.2f} | {faster / saved:.2f} |"
    )


def now_s(clips: Tensor) -> float:
    """The time at which all that was asked of the clips' device is done."""
    if clips.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
