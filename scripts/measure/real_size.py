"""Memory and speed of training `dsn` on a bank of a real dataset's size, beside a small one of the same shape.

    python scripts/measure/real_size.py --share 0.1 --folder BIG   # a tenth of UCF101: 12 GB of 112-pixel skims
    python scripts/measure/real_size.py --share 0.1 --folder BIG   # again: the bank is there, and the disk warm

The banks are made without a classifier, of noise: 13 320 videos of 30 candidates and 101 classes, times the share.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from vidselect_agents import make_agent
from vidselect_env.bank import BankSpec, SkimSpec, open_bank
from vidselect_env.bank import format as bank_format
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.experiment.run import memory_used
from vidselect_env.video.clips import ClipGrid

NUM_VIDEOS, NUM_CLIPS, NUM_CLASSES, SHARD_VIDEOS, SMALL = 13_320, 30, 101, 64, 128


@dataclass(frozen=True, kw_only=True)
class SizeConfig:
    """What is made and measured.

    Args:
        folder: where the banks are made, and left.
        share: of UCF101's videos.
        size: height and width of skims.
        num_envs: videos a step.
        steps: timed ones.
        device: where the agent runs.
    """

    folder: Path
    share: float = 0.1
    size: int = 112
    num_envs: int = 16
    steps: int = 20
    device: str = "cpu"


def main() -> None:
    config = tyro.cli(SizeConfig, description=__doc__)
    rates = {}
    for name, num_videos in (("small", SMALL), ("large", max(round(config.share * NUM_VIDEOS), SMALL))):
        folder = config.folder / name
        if not (folder / bank_format.MANIFEST).exists():
            make_bank(folder, num_videos, size=config.size)
        rates[name] = steps_per_s(folder, config)
        size_gb = sum(file.stat().st_size for file in folder.iterdir()) / 1e9
        print(f"{name}: {num_videos} videos, {size_gb:.1f} GB, {rates[name]:.2f} videos/s, {memory_used()}")
    print(json.dumps({"large over small": round(rates["large"] / rates["small"], 3)}))


def steps_per_s(folder: Path, config: SizeConfig) -> float:
    """Videos a second of training, after two updates that are not timed."""
    source = BankSource(open_bank(folder), device=config.device)
    env = SelectVectorEnv(
        ClipSelectProblem(source, num_sections=1, num_clips=3, draw_candidates=True), num_envs=config.num_envs
    )
    agent = make_agent("dsn", env, device=config.device, scorer="r2d", samples_per_context=1)
    started_s = 0.0

    def after_update(agent) -> bool:  # type: ignore[no-untyped-def]
        nonlocal started_s
        if agent.num_timesteps == 2 * env.num_envs:
            started_s = time.perf_counter()
        return True

    agent.learn(env, (2 + config.steps) * env.num_envs, callback=after_update)
    return config.steps * env.num_envs / (time.perf_counter() - started_s)


def make_bank(folder: Path, num_videos: int, *, size: int) -> None:
    """A bank of noise, shard by shard, so that one of any size is made in little memory."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    skim = SkimSpec(num_frames=8, resize=(size, size), crop=(size, size))
    spec = BankSpec(
        dataset="noise",
        split="train",
        dataset_fingerprint="",
        class_names=tuple(str(label) for label in range(NUM_CLASSES)),
        classifier="noise",
        weights_sha256="",
        classifier_gmacs=1.0,
        clip_resize=size,
        clip_crop=(size, size),
        clip_mean=(0.0, 0.0, 0.0),
        clip_std=(1.0, 1.0, 1.0),
        grid=ClipGrid(num_clips=NUM_CLIPS, num_frames=16),
        fields=("logits", "features", "skim"),
        skim=skim,
    )
    bank_format.write_spec(folder, spec)
    generator = torch.Generator().manual_seed(0)
    shards = []
    for number, first in enumerate(range(0, num_videos, SHARD_VIDEOS)):
        count = min(SHARD_VIDEOS, num_videos - first)
        labels = torch.randint(NUM_CLASSES, (count,), generator=generator).tolist()
        videos = tuple(
            bank_format.BankVideo(f"video {first + place}", (label,), 200, NUM_CLIPS, (None, None), ())
            for place, label in enumerate(labels)
        )
        rows = count * NUM_CLIPS
        pixels = torch.randint(256, (rows, 1, 3, size, size), generator=generator, dtype=torch.uint8)
        fields = {
            "logits": torch.randn(rows, NUM_CLASSES, generator=generator),
            "features": torch.randn(rows, 512, generator=generator),
            "skim": pixels.expand(-1, 8, -1, -1, -1).contiguous(),
        }
        starts_s = torch.arange(NUM_CLIPS, dtype=torch.float64).repeat(count)
        shard = bank_format.Shard(spec.sha256(), videos, (), fields, torch.stack([starts_s, starts_s + 0.6], dim=1))
        file = bank_format.shard_file(folder, number)
        bank_format.write_shard(file, shard)
        shards.append(bank_format.read_shard(file, spec))
    bank_format.write_manifest(folder, spec, shards)


if __name__ == "__main__":
    main()
