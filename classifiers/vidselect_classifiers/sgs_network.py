"""The similarity network of similarity guided sampling (ATFR, section 4.1)."""

from __future__ import annotations

from torch import Tensor, nn

NETWORKS = ("paper", "authors")
LINEAR_STD = 0.01  # of the authors' initial weights


def similarity_network(channels: int, embedding_dim: int, *, kind: str, num_steps: int | None = None) -> nn.Sequential:
    """The two convolutions of section 4.1, (B, C, T) -> (B, L, T), as `paper` or `authors` has them.

    Its batch norm is over all maps of a batch, or of each of `num_steps` steps in time.
    """
    hidden = channels if kind == "paper" else max(channels // 2, 1)
    convolutions = nn.Conv1d(channels, hidden, 1), nn.Conv1d(hidden, embedding_dim, 1)
    if kind == "authors":
        for convolution in convolutions:
            nn.init.normal_(convolution.weight, std=LINEAR_STD)
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
    norm = nn.BatchNorm1d(embedding_dim) if num_steps is None else StepNorm(embedding_dim, num_steps)
    return nn.Sequential(convolutions[0], nn.ReLU(inplace=True), convolutions[1], norm)


class StepNorm(nn.BatchNorm1d):
    """Batch norm of (B, L, T) with statistics, scale and shift of each of T steps (Cooijmans et al., ICLR 2017).

    What all clips have in common at a step, as the zeros that convolutions put before the first and after the last
    frame, is then no difference between two maps of a clip. A batch of one clip, whose own statistics would leave
    nothing of it, is normalised by the running ones in training too.
    """

    def __init__(self, num_features: int, num_steps: int) -> None:
        super().__init__(num_features * num_steps)
        self.num_steps = num_steps

    def forward(self, embedding: Tensor) -> Tensor:
        """(B, L, T) -> (B, L, T).

        Raises:
            ValueError: clips of another T.
        """
        if embedding.shape[2] != self.num_steps:
            raise ValueError(
                f"sampling with statistics of each step in time takes the {self.num_steps} maps that it was made for,"
                f" and not {embedding.shape[2]}"
            )
        flat = embedding.flatten(1)
        if len(flat) > 1:
            return super().forward(flat).unflatten(1, embedding.shape[1:])
        normed = nn.functional.batch_norm(
            flat, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )
        return normed.unflatten(1, embedding.shape[1:])
