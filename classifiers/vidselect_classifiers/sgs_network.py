"""The similarity network of similarity guided sampling (ATFR, section 4.1)."""

from __future__ import annotations

from torch import nn

NETWORKS = ("paper", "authors")
LINEAR_STD = 0.01  # of the authors' initial weights


def similarity_network(channels: int, embedding_dim: int, *, kind: str) -> nn.Sequential:
    """The two convolutions of section 4.1, (B, C, T) -> (B, L, T), as `paper` or `authors` has them."""
    hidden = channels if kind == "paper" else max(channels // 2, 1)
    convolutions = nn.Conv1d(channels, hidden, 1), nn.Conv1d(hidden, embedding_dim, 1)
    if kind == "authors":
        for convolution in convolutions:
            nn.init.normal_(convolution.weight, std=LINEAR_STD)
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
    return nn.Sequential(convolutions[0], nn.ReLU(inplace=True), convolutions[1], nn.BatchNorm1d(embedding_dim))
