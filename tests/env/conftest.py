"""A problem of colours: films of one colour after another, and who tells them apart."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from vidselect_classifiers import ClipGeometry, ClipOutput
from vidselect_env.bank import BankSpec, SkimSpec
from vidselect_env.envs.contract import Needs
from vidselect_env.experiment.config import ProblemConfig
from vidselect_env.video.clips import ClipGrid


class Colour(torch.nn.Module):
    """Knows a clip's class by its strongest channel."""

    geometry = ClipGeometry(num_frames=2, resize=16, crop=(16, 16))

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(10.0))

    def forward(self, clips):
        logits = self.scale * clips.float().div(255).mean((1, 3, 4))  # (B, T, 3, H, W) -> (B, 3)
        return ClipOutput(logits, logits)


class FirstOfEach:
    """Takes the first clip of each section, in so many seconds; `seen`: candidates that it was shown."""

    needs = Needs(fields=("skim",), environment="VideoClipSelect-v0", observation="skim")

    def __init__(self, *, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.seen: list[int] = []

    def select(self, looks):
        time.sleep(self.seconds)
        self.seen.append(looks.field("skim").shape[1])
        return looks.best(-looks.places)

    def cost_gmacs(self, shapes):
        return 0.5


class Colours:
    """Two of four clips of a film, each red, green or blue."""

    names = ("red", "green", "blue")
    shades = ((230, 20, 20), (20, 230, 20), (20, 20, 230))
    selector = FirstOfEach
    spec = BankSpec(
        dataset="",
        split="",
        dataset_fingerprint="",
        class_names=names,
        classifier="colour",
        weights_sha256="",
        classifier_gmacs=2.0,
        clip_resize=16,
        clip_crop=(16, 16),
        clip_mean=(0.0, 0.0, 0.0),
        clip_std=(1.0, 1.0, 1.0),
        grid=ClipGrid(num_clips=4, num_frames=2),
        fields=("skim",),
        skim=SkimSpec(num_frames=1, resize=(8, 8), crop=(8, 8)),
    )
    problem = ProblemConfig(environment="VideoClipSelect-v0", sections=2, clips=2)

    def of_problem(self) -> dict[str, Any]:
        """Arguments of who recognises."""
        return {"classifier": Colour(), "spec": self.spec, "problem": self.problem}


@pytest.fixture(scope="session")
def colours() -> Colours:
    return Colours()
