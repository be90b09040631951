"""The options that name a classifier, the same in every script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from vidselect_env.settings import check_settings

if TYPE_CHECKING:  # options are read without what they name
    from vidselect_classifiers import ClipClassifier


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions:
    """Which classifier, and where it runs.

    Args:
        classifier: a name of vidselect_classifiers.
        weights: a path, or a published name; None for a fresh network.
        clip_frames: frames the classifier takes at once, where not its own number.
        clip_stride: frames from one of these to the next, where not its own.
        short_side: pixels that the short side of a frame is resized to, where not the classifier's own resizing.
        crop_size: pixels of the square that it sees, where not its own: another in testing than in training.
        modality: what it sees: rgb, or flow, of a dataset `flow:METHOD:...`; weights of colours are averaged.
        sgs: the classifier's stage after which similarity guided sampling stands, if it is to have it. Weights
            without it are converted.
        sgs_bins: its number of bins, or of each coordinate; None for what the weights say, or the number of maps.
            It may be another than in training.
        sgs_kernel: linear or kronecker.
        sgs_similarity: what its bins divide: magnitude, angular or spherical coordinates.
        sgs_distance: of what: magnitude (Eq. 1 of the paper), or centred (its authors' code).
        sgs_embedding_dim: dimensions of its similarity space, where not 8 or what the coordinates need.
        sgs_epsilon: keep the map of largest magnitude, as its authors' code does.
        sgs_detach: let the network before it learn nothing from the bins.
        sgs_network: the similarity network of the paper, or of its authors.
        sgs_per_step: compare maps with what is usual at their places in time; all clips then have as many.
        sgs_order: of the maps that are kept: of their bins, or in time.
        sgs_block: maps in a row that are sampled together, of slowfast one number for each pathway; None for all.
        attention: the stage after which temporal attention stands, in place of sampling.
        device: cpu, cuda, or auto.
    """

    classifier: str = "tiny_r3d"
    weights: str | None = "default"
    clip_frames: int | None = None
    clip_stride: int | None = None
    short_side: int | None = None
    crop_size: int | None = None
    modality: Literal["rgb", "flow"] = "rgb"
    sgs: str | None = None
    sgs_bins: int | tuple[int, ...] | None = None
    sgs_kernel: str = "linear"
    sgs_similarity: str = "magnitude"
    sgs_distance: str = "magnitude"
    sgs_embedding_dim: int | None = None
    sgs_epsilon: bool = False
    sgs_detach: bool = False
    sgs_network: str = "paper"
    sgs_per_step: bool = False
    sgs_order: str = "bins"
    sgs_block: int | tuple[int, ...] | None = None
    attention: str | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        counts = ("clip_frames", "clip_stride", "short_side", "crop_size", "sgs_embedding_dim")
        check_settings(self, at_least=dict.fromkeys(counts, 1))
        if self.device != "auto":
            check_device(self.device)

    @property
    def torch_device(self) -> str:
        if self.device != "auto":
            return self.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def make_classifier(self, *, seed: int = 0) -> ClipClassifier:
        """The classifier that the options name, with its weights; what they leave open follows from the seed.

        Raises:
            ValueError: a name that is not known, or weights that do not fit.
        """
        from vidselect_classifiers import make_classifier
        from vidselect_env.seeding import seeded

        with seeded(seed):
            return make_classifier(
                self.classifier,
                weights=self.weights,
                **self.changes(),
            )

    def changes(self) -> dict[str, Any]:
        """What `make_classifier` is to change of a classifier: its clips, and what is put inside it."""
        return {
            "num_frames": self.clip_frames,
            "frame_stride": self.clip_stride,
            "resize": self.short_side,
            "crop": None if self.crop_size is None else (self.crop_size, self.crop_size),
            "modality": None if self.modality == "rgb" else self.modality,
            "sgs": self._sampling(),
            "attention": self.attention,
        }

    def _sampling(self) -> dict[str, Any] | None:
        """Arguments of `with_sgs`."""
        if self.sgs is None:
            return None
        return {
            "after": self.sgs,
            "num_bins": self.sgs_bins,
            "kernel": self.sgs_kernel,
            "similarity": self.sgs_similarity,
            "distance": self.sgs_distance,
            "embedding_dim": self.sgs_embedding_dim,
            "epsilon": self.sgs_epsilon,
            "detach": self.sgs_detach,
            "network": self.sgs_network,
            "per_step": self.sgs_per_step,
            "order": self.sgs_order,
            "block": self.sgs_block,
        }


def check_device(name: str) -> None:
    """See that a device is there.

    Raises:
        ValueError: it is not, or there is no such kind.
    """
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(f"device ({name!r}) must be cpu, cuda or auto, and there: {reason}") from error
