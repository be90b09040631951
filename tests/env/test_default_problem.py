"""The classifiers that come with the package, on videos of the problems that they were made for."""

from __future__ import annotations

import pytest
import torch

from vidselect_classifiers import make_classifier
from vidselect_env.bank import bank_spec, build_bank
from vidselect_env.datasets.synthetic import MOTIONS, SyntheticConfig, synthetic_dataset, truth_spans


@pytest.mark.parametrize(("kind", "weights"), [("untrimmed", "default"), ("v1", "synthetic-v1")])
def test_tiny_r3d_knows_actions_and_nothing_of_idleness(tmp_path, kind, weights):
    dataset = synthetic_dataset(kind=kind, split="val", num_val=16, cache_dir=tmp_path, progress=False)
    classifier = make_classifier("tiny_r3d", weights=weights)
    assert classifier.class_names == MOTIONS == dataset.class_names
    spec = bank_spec(dataset, classifier, fields=("logits",))
    bank = build_bank(tmp_path / "bank", dataset, classifier, spec=spec, progress=False)
    right = bank.field("logits").joined().argmax(-1) == bank.targets.int().argmax(-1).repeat_interleave(30)
    frames = spec.grid.frame_indices(SyntheticConfig(kind=kind).num_frames)
    in_action = torch.zeros(16, 30, dtype=torch.bool)
    touches = torch.zeros(16, 30, dtype=torch.bool)
    for number, path in enumerate(bank.video_paths):
        for span in truth_spans(path).action:
            inside = (frames >= span.first_frame) & (frames <= span.last_frame)
            in_action[number] |= inside.all(-1)
            touches[number] |= inside.any(-1)
    right = right.view(16, 30)
    assert right[in_action].float().mean() > 0.7
    assert right[~touches].float().mean() < 0.35
