"""One new video that nobody has classified: what a selector may see of it, decoded when it is asked for.

Shapes: L candidates of the grid, K candidates of a context.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from vidselect_env.bank import BankSpec
from vidselect_env.bank.decode import read_with_fields
from vidselect_env.video.index import VideoIndex


class LookSource:
    """The looks of one file; there are no answers.

    The first question decodes every field of `spec` for all candidates that it names, in one pass through the file.

    Args:
        index: of the file.
        spec: the grid, and the fields to look at.
    """

    knows_all = False
    device = torch.device("cpu")

    def __init__(self, index: VideoIndex, *, spec: BankSpec) -> None:
        self.index, self.spec = index, spec
        self.frames = spec.grid.frame_indices(index.info.num_frames)
        self.num_candidates = torch.tensor([len(self.frames)])
        self.num_classes = len(spec.class_names)
        self.shapes: Mapping[str, tuple[int, ...]] = {field: spec.shape(field) for field in spec.fields}
        self.video_paths: tuple[str, ...] = (index.info.path,)
        self.segments_s: tuple[tuple[float | None, float | None], ...] = ()
        self._seen: dict[str, Tensor] = {}
        self._row_of = torch.full((len(self.frames),), -1)

    @property
    def targets(self) -> Tensor:
        raise ValueError(f"nobody has labelled {self.video_paths[0]!r}")

    def look(self, candidates: Tensor) -> None:
        """Decode all fields of candidates (K,) of the grid, each once."""
        looked_at = candidates.unique()
        _, self._seen = read_with_fields(
            self.video_paths[0], self.frames[looked_at], spec=self.spec, sizes=[], index=self.index
        )
        self._row_of[:] = -1
        self._row_of[looked_at] = torch.arange(len(looked_at))

    def observe(self, field: str, videos: Tensor, candidates: Tensor) -> Tensor:
        if (self._row_of[candidates] < 0).any():
            self.look(candidates)
        return self._seen[field][self._row_of[candidates]]

    def probabilities(self, videos: Tensor, candidates: Tensor) -> Tensor:
        raise ValueError(f"nothing of {self.video_paths[0]!r} has been classified yet")

    def clip_gmacs(self, videos: Tensor, candidates: Tensor) -> Tensor:
        return torch.full(candidates.shape, self.spec.classifier_gmacs)

    def first_alike(self, videos: Tensor, candidates: Tensor) -> Tensor:
        return self.spec.grid.first_alike(self.index.info.num_frames)[candidates]

    def truth(self, videos: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor] | None:
        return None

    def prefetch(
        self, videos: Tensor, *, fields: Sequence[str] = (), candidates: Callable[[], Tensor] | None = None
    ) -> None:
        """Nothing to do: there is one video."""
