"""Banks made by hand, of videos whose signals tell where the action is."""

from __future__ import annotations

import pytest
import torch

from vidselect_env.bank import ClipBank
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.sources import BankSource


def _signal_bank(num_videos: int = 60, num_clips: int = 8, *, silent: tuple[int, ...] = (), seed: int = 0) -> ClipBank:
    """Two of eight clips show the class, and only there vectors point its way and its tone is heard."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (num_videos,), generator=generator)
    good = torch.rand(num_videos, num_clips, generator=generator).argsort(-1) < 2
    logits = torch.randn(num_videos, num_clips, 3, generator=generator)
    logits += 5 * good[..., None] * torch.nn.functional.one_hot(labels, 3)[:, None]
    logits[~good] += 4 * torch.nn.functional.one_hot(torch.tensor(0), 3)  # idle clips are taken for class 0
    directions = torch.tensor([[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0]])[labels]
    vectors = 0.3 * torch.randn(num_videos, num_clips, 2, 2, 4, 5, generator=generator)
    vectors += (good[..., None] * directions[:, None])[:, :, None, :, None, None]
    mel = -10 + torch.randn(num_videos, num_clips, 40, 200, generator=generator)
    for video, label in enumerate(labels.tolist()):
        mel[video, good[video], 10 * label + 5] += 6
    mel[list(silent)] = torch.nan
    skim = torch.randint(100, 156, (num_videos, num_clips, 1, 3, 8, 8), generator=generator).repeat(1, 1, 3, 1, 1, 1)
    skim[good] += torch.randint(-90, 90, (int(good.sum()), 3, 3, 8, 8), generator=generator)
    return ClipBank.from_tensors(
        logits,
        labels.tolist(),
        skim=skim.clamp(0, 255).to(torch.uint8),
        signals={"vectors": vectors.half(), "mel": mel.half()},
    )


def _frames_env(bank: ClipBank, **options) -> SelectVectorEnv:
    problem = FrameSelectProblem(
        BankSource(bank), **({"num_candidates": 8, "num_kept": 2, "observation": "predictions"} | options)
    )
    return SelectVectorEnv(problem, num_envs=20)


@pytest.fixture(scope="session")
def signal_bank():
    return _signal_bank


@pytest.fixture(scope="session")
def frames_env():
    """A `VideoFrameSelect-v0` of eight candidates, of which two are kept, on a bank."""
    return _frames_env
