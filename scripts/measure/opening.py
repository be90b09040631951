"""Seconds to open a bank without `verify`, of this code and of another checkout of it, in turn.

    git worktree add /tmp/before 8e07807
    python scripts/measure/opening.py --other /tmp/before

Each has the same bank of random numbers, in its own format. 8e07807 is the last commit before shards had hashes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from vidselect_env.settings import check_settings

REPOSITORY = Path(__file__).resolve().parents[2]
# Makes the bank in either format, then opens it whenever a line comes in.
WORKER = """
import json, sys, time
from pathlib import Path
import torch
from safetensors.torch import save_file
from vidselect_env.bank import BankSpec, open_bank
from vidselect_env.video.clips import ClipGrid

folder, num_videos, shard_videos, num_clips = Path(sys.argv[1]), *map(int, sys.argv[2:])
folder.mkdir()
spec = BankSpec(
    dataset="noise", split="train", dataset_fingerprint="", class_names=tuple("abcdefgh"), classifier="none",
    weights_sha256="", classifier_gmacs=1.0, clip_resize=8, clip_crop=(8, 8), clip_mean=(0.0, 0.0, 0.0),
    clip_std=(1.0, 1.0, 1.0), grid=ClipGrid(num_clips=num_clips, num_frames=1), fields=("logits", "features"),
    skim=None,
)
try:
    from vidselect_env.bank import format
except ImportError:
    format = None
shards = []
for start in range(0, num_videos, shard_videos):
    numbers = range(start, min(start + shard_videos, num_videos))
    fields = {"logits": torch.randn(len(numbers) * num_clips, 8), "features": torch.randn(len(numbers) * num_clips, 64)}
    file = folder / f"shard-{len(shards):05d}.safetensors"
    about = [(f"videos/{number}.mp4", (number % 8,), 100, num_clips) for number in numbers]
    if format is not None:
        spans_s = torch.zeros(len(numbers) * num_clips, 2, dtype=torch.float64)
        videos = tuple(format.BankVideo(*each) for each in about)
        shards.append(format.Shard(spec.sha256(), videos, (), fields, spans_s))
        format.write_shard(file, shards[-1])
    else:
        videos = [dict(zip(("path", "labels", "num_frames", "num_clips"), each)) for each in about]
        header = {"spec_sha256": spec.sha256(), "videos": videos, "skipped": []}
        save_file(fields, file, metadata={"vidselect": json.dumps(header)})
        shards.append({"file": file.name, "size_bytes": file.stat().st_size, "sha256": ""})
if format is not None:
    format.write_manifest(folder, spec, shards)
else:
    manifest = {"spec": spec.to_json(), "versions": {}, "skipped": [], "shards": shards}
    (folder / "manifest.json").write_text(json.dumps(manifest))
print("ready", flush=True)
for _ in sys.stdin:
    started_s = time.perf_counter()
    bank = open_bank(folder, verify=False)
    print(time.perf_counter() - started_s, flush=True)
    assert bank.num_videos == num_videos
"""


@dataclass(frozen=True, kw_only=True)
class OpeningConfig:
    """What is opened.

    Args:
        other: the other checkout.
        num_videos: of the bank.
        shard_videos: of a shard.
        num_clips: candidates of a video.
        rounds: the two open it in turn so often.
    """

    other: Path
    num_videos: int = 2_000
    shard_videos: int = 64
    num_clips: int = 30
    rounds: int = 21

    def __post_init__(self) -> None:
        check_settings(self, at_least=dict.fromkeys(("num_videos", "shard_videos", "num_clips", "rounds"), 1))


def main() -> None:
    config = tyro.cli(OpeningConfig, description=__doc__)
    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = (
            begin(checkout, Path(folder) / name, config)
            for name, checkout in (("ours", REPOSITORY), ("theirs", config.other.resolve()))
        )
        times = [(seconds(ours), seconds(theirs)) for _ in range(config.rounds)]
        for process in (ours, theirs):
            process.kill()
            process.wait()
    mine, other = (1000 * statistics.median(each) for each in zip(*times, strict=True))
    ratio = statistics.median(one / two for one, two in times)
    console.print(f"{config.num_videos} videos in shards of {config.shard_videos}, {config.rounds} rounds; medians:")
    console.print(f"this code {mine:.1f} ms, {config.other} {other:.1f} ms, ratio {ratio:.2f}")


def begin(checkout: Path, folder: Path, config: OpeningConfig) -> subprocess.Popen[str]:
    """A process of a checkout that has its bank."""
    paths = [str(checkout), str(checkout / "agents"), str(checkout / "classifiers")]
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder)]
        + [str(number) for number in (config.num_videos, config.shard_videos, config.num_clips)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if line_of(process) != "ready":
        raise ValueError(f"{str(checkout)!r} cannot make its bank")
    return process


def seconds(process: subprocess.Popen[str]) -> float:
    """One opening."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return float(line_of(process))


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


if __name__ == "__main__":
    main()
