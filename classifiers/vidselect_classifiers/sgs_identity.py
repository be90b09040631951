"""What decides the result of similarity guided sampling beside its parameters, as saved weights say it."""

from __future__ import annotations

from dataclasses import dataclass

from vidselect_classifiers.weights import WeightsError

# In saved weights these are numbers: what is new goes last.
KERNELS = ("linear", "kronecker")
SIMILARITIES = ("magnitude", "angular", "spherical")
DISTANCES = ("magnitude", "centred")
EPSILONS = (False, True)
ORDERS = ("bins", "time")


@dataclass(frozen=True, kw_only=True)
class SamplingIdentity:
    """After which stage sampling stands, and how it was made; the arguments are `SimilarityGuidedSampling`'s.

    Weights from before there was a distance hold their similarity's number where the variant's is now: they read
    as those of Eq. 1, without epsilon, in the order of the bins, which is what they are.

    block is how many maps in a row are sampled together; 0 for all of them.

    Raises:
        ValueError: an unknown name, or blocks of one map.
    """

    stage: int = -1
    kernel: str = "linear"
    similarity: str = "magnitude"
    distance: str = "magnitude"
    epsilon: bool = False
    order: str = "bins"
    block: int = 0

    def __post_init__(self) -> None:
        for name, known in {"kernel": KERNELS, **_VARIANT}.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} ({getattr(self, name)!r}) must be one of {', '.join(map(str, known))}")
        if self.block < 0 or self.block == 1:
            raise ValueError(f"block ({self.block}) must be at least 2 maps, or 0 for all")

    def numbers(self) -> list[int]:
        """Stage, kernel, and one number for similarity, distance, epsilon, order and block, the first fastest."""
        variant = self.block
        for name, known in reversed(_VARIANT.items()):
            variant = variant * len(known) + known.index(getattr(self, name))
        return [self.stage, KERNELS.index(self.kernel), variant]

    @classmethod
    def of_numbers(cls, stage: int, kernel: int, variant: int) -> SamplingIdentity:
        """What `numbers` gave.

        Raises:
            WeightsError: numbers that mean nothing here.
        """
        found = {}
        rest = variant
        for name, known in _VARIANT.items():
            rest, number = divmod(rest, len(known))
            found[name] = known[number]
        if rest < 0 or rest == 1 or kernel not in range(len(KERNELS)):
            raise WeightsError(f"the weights' sampling ({stage}, {kernel}, {variant}) is none that this version knows")
        return cls(stage=stage, kernel=KERNELS[kernel], block=rest, **found)

    def __str__(self) -> str:
        """`after stage 2, linear kernel, magnitude, centred, with epsilon`; Eq. 1 goes without saying."""
        parts = [f"after stage {self.stage}", f"{self.kernel} kernel", self.similarity]
        parts += ["centred"] * (self.distance == "centred") + ["with epsilon"] * self.epsilon
        parts += ["in time's order"] * (self.order == "time") + [f"in blocks of {self.block}"] * (self.block > 0)
        return ", ".join(parts)


_VARIANT: dict[str, tuple] = {
    "similarity": SIMILARITIES,
    "distance": DISTANCES,
    "epsilon": EPSILONS,
    "order": ORDERS,
}
