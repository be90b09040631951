"""Recognise the action of video files with a trained selector: only what it chooses is decoded and classified.

vidselect recognise --run runs/dsn-... VIDEO.mp4 OTHER.mkv

vidselect recognise --run runs/dsn-... LONG.mp4 --window 10 --every 5 --csv timeline.csv --srt LONG.srt

vidselect recognise --run runs/dsn-... rtsp://CAMERA --window 10 --every 5: a stream, as it comes; - is standard input
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from vidselect_agents.commands.options import read
from vidselect_env.settings import check_settings


@dataclass(frozen=True)
class RecogniseConfig:
    """Which videos, by which run. What is written is a file; of several videos a folder with a file each.

    Args:
        videos: files; or one stream: - (standard input), a URL such as rtsp://..., or a camera such as /dev/video0.
        run: folder of a run of an agent that chooses from skims or signals.
        top: classes shown of each video.
        sections: M, where another than in training.
        kept: K, where another.
        candidates: clips laid on the video, or on each window, where another number.
        window: seconds of the windows that a long file is cut into, a decision each; None for one decision of a file.
        every: seconds from the start of a window to that of the next; None for as long as a window is.
        jobs: files that are recognised side by side.
        json: a file to write every decision to.
        csv: the same as a table.
        srt: a file of subtitles, of what is seen when.
        picture: a file with a picture of what is seen when.
        save_clips: a folder to write the chosen clips to, each a file.
        compare: dense also decodes and classifies every candidate, and tells what choosing saves on this machine.
        drop: windows of a stream rather than fall behind it; without, everything is recognised, however late.
        trust: import an agent or classifier that the run names as package.module:Name.
    """

    videos: tyro.conf.Positional[tuple[str, ...]]
    run: Path
    top: int = 3
    sections: int | None = None
    kept: int | None = None
    candidates: int | None = None
    window: float | None = None
    every: float | None = None
    jobs: int = 1
    json: Path | None = None
    csv: Path | None = None
    srt: Path | None = None
    picture: Path | None = None
    save_clips: Path | None = None
    compare: Literal["dense"] | None = None
    drop: bool = True
    trust: bool = False

    def __post_init__(self) -> None:
        counts = ("sections", "kept", "candidates", "jobs", "top")
        check_settings(self, at_least=dict.fromkeys(counts, 1), above={"window": 0, "every": 0})
        if self.every is not None and self.window is None:
            raise ValueError(f"every ({self.every}) is of windows: say how long they are with --window")


def parse(arguments: Sequence[str]) -> RecogniseConfig:
    config = read(RecogniseConfig, arguments, prog="vidselect recognise", description=__doc__)
    if not config.videos:
        raise ValueError("no video is given: name at least one file")
    return config
