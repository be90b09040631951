"""The cost columns of DSN's Tables III and IV (the paper's FLOPs are multiply-adds)."""

from __future__ import annotations

import pytest
import torch

from vidselect_agents.scorers.candidates import R2D
from vidselect_classifiers import gmacs, make_classifier

PAPER = [  # classifier, clips classified, clips looked at, GMACs a video, tolerance
    ("r3d_18", 10, 0, 203.6, 0.002),
    ("r3d_18", 4, 12, 104.6, 0.002),
    ("r3d_18", 3, 9, 78.5, 0.002),
    ("r3d_18", 20, 0, 407.2, 0.002),
    ("r3d_18", 6, 18, 157.0, 0.002),
    ("r2plus1d_34", 10, 0, 1528.8, 0.006),
    ("r2plus1d_34", 4, 12, 631.2, 0.006),
]


@pytest.fixture(scope="module")
def clip_gmacs() -> dict[str, float]:
    frames = {"r3d_18": 8, "r2plus1d_34": 32}
    return {name: make_classifier(name, num_frames=count).gmacs_per_clip() for name, count in frames.items()}


@pytest.fixture(scope="module")
def look_gmacs() -> float:
    return gmacs(R2D(8), (1, 8, 3, 112, 112), dtype=torch.uint8)


@pytest.mark.parametrize(("name", "classified", "looked_at", "paper", "tolerance"), PAPER)
def test_cost_of_the_paper(clip_gmacs, look_gmacs, name, classified, looked_at, paper, tolerance):
    ours = classified * clip_gmacs[name] + looked_at * look_gmacs
    assert ours == pytest.approx(paper, rel=tolerance)


def test_narrow_network_of_the_default_problem_costs_little_beside_its_classifier():
    narrow = gmacs(R2D(8, width=12, blocks=(1, 1, 1), stem_kernel=3), (1, 8, 3, 32, 32), dtype=torch.uint8)
    assert narrow < 0.15 * make_classifier("tiny_r3d").gmacs_per_clip()
