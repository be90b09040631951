"""Where a bank's build by many actors is held up, simulated from measured service times; and what a bank of a whole
dataset takes.

python scripts/measure/scale.py --classify-clips-per-s 400 --decode-cpu-s 1.2 --video-mb 1.5
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import tyro
from rich.console import Console

# Videos and mean seconds of each, by their papers: Kay et al. 2017, Caba Heilbron et al. 2015, Karpathy et al. 2014.
DATASETS = {"Kinetics-400": (306_245, 10.0), "ActivityNet 1.3": (19_994, 117.0), "Sports1M": (1_133_158, 336.0)}
CLIP_BYTES = 4 * (400 + 512) + 8 * 3 * 32 * 32  # logits, features and skim of a candidate, as defaults have them


@dataclass(frozen=True, kw_only=True)
class ScaleConfig:
    """Service times, measured on one machine.

    Args:
        classify_clips_per_s: of one classifier that is never kept waiting.
        decode_cpu_s: CPU seconds that decoding a video takes.
        video_mb: bytes of a video, in units of 1e6.
        clips: candidates a video.
        cpus_per_actor: cores that decode for one classifier.
        storage_mb_s: what the shared storage gives and takes, all machines together, in units of 1e6 bytes.
        driver_ms: of the process that builds, for each shard.
        actors: numbers of classifiers that are compared.
        shards: that each simulated classifier makes.
        shard_videos: videos a shard.
    """

    classify_clips_per_s: float
    decode_cpu_s: float
    video_mb: float = 1.5
    clips: int = 30
    cpus_per_actor: int = 8
    storage_mb_s: float = 1000.0
    driver_ms: float = 20.0
    actors: tuple[int, ...] = (1, 8, 64, 512)
    shards: int = 20
    shard_videos: int = 64


def main() -> None:
    config, console = tyro.cli(ScaleConfig, description=__doc__), Console(highlight=False, soft_wrap=True)
    console.print(
        "| actors | clips/s | of as many alone | classifier busy | decoders busy | storage busy | driver busy |"
    )
    console.print("|---:|---:|---:|---:|---:|---:|---:|")
    alone = simulated(config, num_actors=1)["clips_per_s"]
    for num_actors in config.actors:
        found = simulated(config, num_actors=num_actors)
        share = found["clips_per_s"] / (num_actors * alone)
        busy = " | ".join(f"{100 * found[name]:.0f} %" for name in ("classifier", "decoders", "storage", "driver"))
        console.print(f"| {num_actors} | {found['clips_per_s']:.0f} | {100 * share:.0f} % | {busy} |")
    console.print("\n| dataset | clips | bank | hours of one actor | video read |\n|---|---:|---:|---:|---:|")
    for name, (num_videos, seconds) in DATASETS.items():
        num_clips = num_videos * config.clips
        tera = num_clips * CLIP_BYTES / 1e12
        read = num_videos * config.video_mb * seconds / 10 / 1e6
        hours = num_clips / alone / 3600
        console.print(f"| {name} | {num_clips / 1e6:.1f} M | {tera:.2f} TB | {hours:.0f} | {read:.1f} TB |")


def simulated(config: ScaleConfig, *, num_actors: int) -> dict[str, float]:
    """Clips a second of so many actors, and the share of the time that each station is busy.

    Shards go one after the other through the storage (read), the decoders and the classifier of their actor (at
    once: the slower counts), the storage again (written) and the driver. Storage and driver serve one at a time, the
    first that comes first; an actor begins its next shard when it has written the last.
    """
    num_clips = config.shard_videos * config.clips
    read_s = config.shard_videos * config.video_mb / config.storage_mb_s
    write_s = num_clips * CLIP_BYTES / 1e6 / config.storage_mb_s
    decode_s = config.shard_videos * config.decode_cpu_s / config.cpus_per_actor
    classify_s = num_clips / config.classify_clips_per_s
    storage_free = driver_free = 0.0
    events = [(0.0, number, 0, "read") for number in range(num_actors)]  # when, who, shards done, what is next
    while events:
        now, who, done, step = heapq.heappop(events)
        if step == "read":
            storage_free = max(storage_free, now) + read_s
            heapq.heappush(events, (storage_free + max(decode_s, classify_s), who, done, "write"))
            continue
        storage_free = max(storage_free, now) + write_s
        driver_free = max(driver_free, storage_free) + config.driver_ms / 1e3
        if done + 1 < config.shards:
            heapq.heappush(events, (storage_free, who, done + 1, "read"))
    ended_s, total = max(storage_free, driver_free), num_actors * config.shards
    return {
        "clips_per_s": total * num_clips / ended_s,
        "classifier": config.shards * classify_s / ended_s,
        "decoders": config.shards * decode_s / ended_s,
        "storage": total * (read_s + write_s) / ended_s,
        "driver": total * config.driver_ms / 1e3 / ended_s,
    }


if __name__ == "__main__":
    main()
