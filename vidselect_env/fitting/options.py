"""The options that name a classifier, the same in every script."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vidselect_classifiers import ClipClassifier, make_classifier
from vidselect_env.seeding import seeded


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions:
    """Which classifier, and where it runs.

    Args:
        classifier: a name of vidselect_classifiers.
        weights: a path, or a published name; None for a fresh network.
        clip_frames: frames the classifier takes at once, where not its own number.
        clip_stride: frames from one of these to the next, where not its own.
        sgs: the classifier's stage after which similarity guided sampling stands, if it is to have it. Weights
            without it are converted.
        sgs_bins: its number of bins, where not the number of maps.
        sgs_kernel: linear or kronecker.
        device: cpu, cuda, or auto.
    """

    classifier: str = "tiny_r3d"
    weights: str | None = "default"
    clip_frames: int | None = None
    clip_stride: int | None = None
    sgs: str | None = None
    sgs_bins: int | None = None
    sgs_kernel: str = "linear"
    device: str = "auto"

    @property
    def torch_device(self) -> str:
        if self.device != "auto":
            return self.device
        return "cuda" if torch.cuda.is_available() else "cpu"

    def make_classifier(self, *, seed: int = 0) -> ClipClassifier:
        """The classifier that the options name, with its weights; what they leave open follows from the seed.

        Raises:
            ValueError: a name that is not known, or weights that do not fit.
        """
        sgs = {"after": self.sgs, "num_bins": self.sgs_bins, "kernel": self.sgs_kernel}
        with seeded(seed):
            return make_classifier(
                self.classifier,
                weights=self.weights,
                num_frames=self.clip_frames,
                frame_stride=self.clip_stride,
                sgs=None if self.sgs is None else sgs,
            )
