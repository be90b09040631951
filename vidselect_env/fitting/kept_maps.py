"""How many maps clips keep in a classifier with similarity guided sampling, counted over an epoch."""

from __future__ import annotations

import torch
from stable_baselines3.common.logger import Logger
from torch import Tensor

from vidselect_env.fitting.processes import Processes


class KeptMaps:
    """Counts of maps kept, clip by clip; of a classifier without such sampling there are none.

    `mean` and `histogram` are of all clips so far.
    """

    def __init__(self) -> None:
        self._seen: list[Tensor] = []

    def add(self, num_bins: Tensor | None) -> None:
        """The clips of a batch, (B,) int64, or None: a classifier's `ClipOutput.num_bins`."""
        if num_bins is not None:
            self._seen.append(num_bins.detach())

    def of_all(self, processes: Processes) -> KeptMaps:
        """Those of all processes together."""
        everything = KeptMaps()
        everything._seen = [counts for counts in processes.gathered(self.counts) if len(counts)]
        return everything

    def __len__(self) -> int:
        return sum(len(counts) for counts in self._seen)

    @property
    def counts(self) -> Tensor:
        """(clips,) int64, on the CPU."""
        return torch.cat(self._seen).cpu() if self._seen else torch.empty(0, dtype=torch.long)

    @property
    def mean(self) -> float:
        """Maps a clip; nan without any clip."""
        return self.counts.float().mean().item()

    @property
    def histogram(self) -> list[int]:
        """Clips that keep 1, 2, ... maps. Example: clips with 3, 1 and 3 maps -> [1, 0, 2]."""
        return torch.bincount(self.counts)[1:].tolist()

    def postfix(self) -> dict[str, str]:
        """What a progress line says of the last batch."""
        return {"maps": f"{self._seen[-1].float().mean():.2f}"} if self._seen else {}

    def record(self, logger: Logger, prefix: str) -> None:
        """Log the mean as `PREFIX/num_bins`; for TensorBoard alone, all counts as `PREFIX/num_bins_histogram`."""
        if self._seen:
            logger.record(f"{prefix}/num_bins", self.mean)
            logger.record(f"{prefix}/num_bins_histogram", self.counts, exclude=("stdout", "log", "json", "csv"))
