"""Where a bank's build by many actors is held up, simulated from measured service times; and what a bank of a whole
dataset takes.

python scripts/measure/scale.py --classify-clips-per-s 400 --decode-cpu-s 1.2 --video-mb 1.5

python scripts/measure/scale.py --measure-decoding 10 117
    CPU seconds of one thread that decodes 30 clips of 16 frames of films as long, 320 x 240, of r3d_18's size
"""

from __future__ import annotations

import heapq
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import tyro
from rich.console import Console

from vidselect_env.video.clips import ClipGrid
from vidselect_env.video.decode import FrameSize, read_clips
from vidselect_env.video.index import index_video

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
        decode_cpu_s_minute: CPU seconds more for each minute that a video lasts longer than ten seconds.
        measure_decoding: seconds of films that are made and decoded; nothing is simulated then.
    """

    classify_clips_per_s: float = 400.0
    decode_cpu_s: float = 1.0
    decode_cpu_s_minute: float = 0.0
    measure_decoding: tuple[int, ...] = ()
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
    if config.measure_decoding:
        for length_s in config.measure_decoding:
            console.print(f"{length_s} s: {decoding_cpu_s(length_s, clips=config.clips):.2f} CPU seconds")
        return
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
    console.print(
        "\n| dataset | clips | bank | video read | actor hours | CPU hours of decoding | actors for a day |"
        "\n|---|---:|---:|---:|---:|---:|---:|"
    )
    for name, (num_videos, seconds) in DATASETS.items():
        num_clips = num_videos * config.clips
        tera = num_clips * CLIP_BYTES / 1e12
        read = num_videos * config.video_mb * seconds / 10 / 1e6
        decode_s = config.decode_cpu_s + config.decode_cpu_s_minute * (seconds - 10) / 60
        cpu_hours = num_videos * decode_s / 3600
        hours = max(num_clips / config.classify_clips_per_s / 3600, cpu_hours / config.cpus_per_actor)
        console.print(
            f"| {name} | {num_clips / 1e6:.1f} M | {tera:.2f} TB | {read:.1f} TB | {hours:.0f} | {cpu_hours:.0f} "
            f"| {math.ceil(hours / 24)} |"
        )


def decoding_cpu_s(seconds: int, *, clips: int) -> float:
    """CPU seconds of one thread for the clips of a film of a texture that drifts."""
    grid = ClipGrid(num_clips=clips, num_frames=16, frame_stride=1)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "film.mp4")
        with av.open(file, "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            texture = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            for number in range(25 * seconds):
                top, left = (int(200 * (1 + np.sin(number / period))) for period in (97, 61))
                picture = np.ascontiguousarray(texture[top : top + 240, left : left + 320])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        started_s = time.process_time()
        index = index_video(file, keep_packets=True)
        frames = grid.frame_indices(index.info.num_frames)
        read_clips(file, frames, sizes=[FrameSize((128, 171), (112, 112))], index=index)
        return time.process_time() - started_s


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
