"""Similarity guided sampling on a GPU, against the CPU."""

from __future__ import annotations

import pytest
import torch

from vidselect_classifiers import make_classifier
from vidselect_classifiers.sgs import with_sgs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("options", [{"num_bins": 100}, {"distance": "centred", "epsilon": True}])
def test_clips_keep_the_same_maps_and_say_the_same(options):
    torch.manual_seed(0)
    classifier = with_sgs(make_classifier("tiny_r3d"), **options).eval()
    clips = torch.randint(0, 256, (6, *classifier.input_shape), dtype=torch.uint8)
    with torch.inference_mode():
        here, there = classifier(clips), classifier.cuda()(clips.cuda())
    assert torch.equal(here.num_bins, there.num_bins.cpu())
    torch.testing.assert_close(here.logits, there.logits.cpu(), atol=1e-3, rtol=1e-3)


def test_training_there_reaches_every_parameter():
    classifier = with_sgs(make_classifier("tiny_r3d")).cuda().train()
    clips = torch.randint(0, 256, (4, *classifier.input_shape), dtype=torch.uint8, device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        loss = classifier(clips).logits.square().sum()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in classifier.parameters())
