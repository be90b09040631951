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
    layers = convolutions[0], nn.ReLU(inplace=True), convolutions[1]
    if num_steps is None:
        return nn.Sequential(*layers, nn.BatchNorm1d(embedding_dim))
    return StepNetwork(*layers, nn.BatchNorm1d(embedding_dim * num_steps), num_steps=num_steps)


class StepNetwork(nn.Sequential):
    """Layers whose last, a batch norm, has statistics, scale and shift of each step (Cooijmans et al., ICLR 2017).

    What all clips have in common at a step, as the zeros that convolutions put before the first and after the last
    frame, is then no difference between two maps of a clip. A batch of one clip, whose own statistics would leave
    nothing of it, is normalised by the running ones in training too. The norm is a plain one of L * T features, and
    so is shared among processes as any other.
    """

    def __init__(self, *layers: nn.Module, num_steps: int) -> None:
        super().__init__(*layers)
        self.num_steps = num_steps

    def forward(self, means: Tensor) -> Tensor:
        """(B, C, T) -> (B, L, T).

        Raises:
            ValueError: clips of another T.
        """
        if means.shape[2] != self.num_steps:
            raise ValueError(
                f"sampling with statistics of each step in time takes the {self.num_steps} maps that it was made for,"
                f" and not {means.shape[2]}"
            )
        *layers, norm = self
        for layer in layers:
            means = layer(means)
        flat = means.flatten(1)
        if self.training and len(flat) == 1 and isinstance(norm, nn.BatchNorm1d):  # and no other process has clips
            running = norm.running_mean, norm.running_var
            flat = nn.functional.batch_norm(flat, *running, norm.weight, norm.bias, training=False, eps=norm.eps)
        else:
            flat = norm(flat)
        return flat.unflatten(1, means.shape[1:])
