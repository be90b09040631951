"""The network of `search`: what is seen and what was said of each candidate, to the next one, the stop, and a value.

Shapes: B searches, K candidates each, C classes, W units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vidselect_agents.scorers.candidates import Neighbours
from vidselect_env.envs.search.state import SearchView


class LookNetwork(nn.Module):
    """Looks at each candidate, and guesses how sure of the label the classifier would be.

    Args:
        backbone: one candidate's observation to features; has `feature_dim`.
        neighbours: whether the guess is made from the neighbours' looks too, and from where in the video it is.
    """

    def __init__(self, backbone: nn.Module, *, neighbours: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        features = int(backbone.feature_dim)  # type: ignore[arg-type]
        self.guess = nn.Linear(features, 1)
        self.neighbours = Neighbours(features) if neighbours else None

    def forward(self, observations: Tensor, places: Tensor, valid: Tensor) -> Tensor:
        """(B, K, ...), places and valid (B, K) -> guesses (B, K) float32, larger for a better candidate."""
        features = self.backbone(observations.flatten(0, 1)).view(*observations.shape[:2], -1)
        guesses = self.guess(features).squeeze(-1)
        return guesses if self.neighbours is None else guesses + self.neighbours.around(features, places, valid)

    def gmacs(self, num_candidates: int) -> float:
        """Multiply-adds of what comes after the backbone, in units of 1e9."""
        own = num_candidates * self.guess.weight.numel() / 1e9
        return own + (0.0 if self.neighbours is None else self.neighbours.gmacs(num_candidates))


@dataclass(frozen=True)
class Decision:
    """logits: (B, K + 1), -inf for what does nothing. values: (B,) of the searches from here on."""

    logits: Tensor
    values: Tensor

    @property
    def policy(self) -> torch.distributions.Categorical:
        return torch.distributions.Categorical(logits=self.logits, validate_args=False)


class SearchNetwork(nn.Module):
    """Decides what to classify next, or to stop.

    All candidates share its weights, and learn of each other through the mean of them and through the largest.

    Args:
        num_classes: C. width: W.
    """

    def __init__(self, num_classes: int, *, width: int = 64) -> None:
        super().__init__()
        self.of_candidate = nn.Linear(num_classes + 6, width)
        self.of_search = nn.Linear(num_classes + 6, width, bias=False)
        self.pooled = nn.Linear(2 * width, width)
        self.own, self.shared = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.next = nn.Linear(width, 1)
        self.stop = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.value = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.trust = nn.Parameter(torch.ones(()))  # in the guess: at first it goes where the looks are best
        for parameter in [*self.next.parameters(), *self.stop[-1].parameters()]:  # every action is as likely at first
            nn.init.zeros_(parameter)

    def forward(self, guesses: Tensor, view: SearchView) -> Decision:
        """Guesses (B, K) of `LookNetwork`; those of candidates that are not seen count nothing."""
        valid = view.mask[:, :-1] | view.classified
        guesses = guesses * view.seen
        rows = torch.relu(self.of_candidate(_candidates(guesses, view)) + self.of_search(_search(view))[:, None])
        rows = rows * valid[..., None]
        mean = rows.sum(1) / valid.sum(1, keepdim=True)
        pooled = torch.relu(self.pooled(torch.cat([mean, rows.amax(1)], -1)))
        rows = torch.relu(self.own(rows) + self.shared(pooled)[:, None])
        going = self.next(rows).squeeze(-1) + self.trust * guesses
        logits = torch.cat([going, self.stop(pooled)], -1)
        return Decision(logits.masked_fill(~view.mask, -torch.inf), self.value(pooled).squeeze(-1))

    def gmacs(self, num_candidates: int) -> float:
        """Multiply-adds of one decision, in units of 1e9."""
        each = sum(layer.weight.numel() for layer in (self.of_candidate, self.own, self.next))
        once = [self.of_search, self.pooled, self.shared, *self.stop, *self.value]
        return (num_candidates * each + sum(part.weight.numel() for part in once if isinstance(part, nn.Linear))) / 1e9


def _candidates(guesses: Tensor, view: SearchView) -> Tensor:
    """What is known of each candidate: the guess, what was said of it, and how far it is from what was classified."""
    flags = [view.seen.float(), view.classified.float()]
    said = view.answers.amax(-1)
    agreement = (view.answers * view.fused[:, None]).sum(-1)
    places = view.looks.places.to(guesses)
    apart = (places[:, :, None] - places[:, None]).abs().masked_fill(~view.classified[:, None], 1.0).amin(-1)
    known = torch.stack([guesses, *flags, said, agreement, apart], -1)
    return torch.cat([view.answers, known], -1)


def _search(view: SearchView) -> Tensor:
    """What is known of a search as a whole: (B, C + 6). The fused prediction is sorted: which class it is of is not."""
    ranked = view.fused.sort(-1, descending=True).values
    classes = view.fused.shape[1]
    count = view.classified.sum(-1).float()
    numbers = [
        view.entropy / math.log(max(classes, 2)),
        ranked[:, 0] - ranked[:, min(1, classes - 1)],
        view.price.clamp(min=1e-4).log() / 3,
        view.left,
        count / view.classified.shape[1],
        1 / (1 + count),
    ]
    return torch.cat([ranked, torch.stack(numbers, -1)], -1)
