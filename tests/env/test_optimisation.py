"""Optimizers, learning rates and gradient steps of a classifier's training, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from stable_baselines3.common.logger import Logger
from torch import nn

from vidselect_classifiers import ClipOutput, make_classifier
from vidselect_env.datasets import load_dataset
from vidselect_env.fitting.optimisation import make_optimizer, warmup_cosine, warmup_steps
from vidselect_env.fitting.training import FitConfig, evaluate_clips, fit


def small_network() -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, 2, 1), nn.BatchNorm3d(2), nn.Flatten(), nn.Linear(2, 3))


def test_everything_decays_unless_norms_and_biases_are_left_out():
    network = small_network()
    options = {"kind": "sgd", "learning_rate": 0.1, "weight_decay": 0.01}
    [group] = make_optimizer(network, **options).param_groups
    assert (len(group["params"]), group["weight_decay"], group["momentum"]) == (6, 0.01, 0.9)
    kept, free = make_optimizer(network, **options, decay_norms=False).param_groups
    assert [tuple(value.shape) for value in kept["params"]] == [(2, 1, 1, 1, 1), (3, 2)]
    assert [value.ndim for value in free["params"]] == [1, 1, 1, 1]
    assert (kept["weight_decay"], free["weight_decay"]) == (0.01, 0.0)


def test_adamw_takes_away_its_share_of_a_weight_without_gradient():
    weight = nn.Parameter(torch.tensor([[2.0]]))
    layer = nn.Module()
    layer.register_parameter("weight", weight)
    optimizer = make_optimizer(layer, kind="adamw", learning_rate=0.1, weight_decay=0.5)
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    assert weight.item() == pytest.approx(2 * (1 - 0.1 * 0.5))


def test_learning_rates_by_hand():
    assert [warmup_cosine(step, warmup=1, total=5) for step in (0, 1, 3, 5)] == pytest.approx([0.5, 1, 0.5, 0])
    steps = [warmup_steps(step, warmup=1, milestones=[20, 30], factor=0.1) for step in (0, 1, 19, 20, 29, 30)]
    assert steps == pytest.approx([0.5, 1, 1, 0.1, 0.1, 0.01])


def test_the_schedule_counts_in_epochs():
    config = FitConfig(epochs=4, warmup_epochs=1, schedule="steps", milestones=(2, 3))
    shares = [config.learning_rate_share(epoch * 10, steps_per_epoch=10) for epoch in range(4)]
    assert shares == pytest.approx([1 / 11, 1, 0.1, 0.01])
    cosine = FitConfig(epochs=3, warmup_epochs=1).learning_rate_share(20, steps_per_epoch=10)
    assert cosine == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "lamb"}, r"optimizer \('lamb'\) must be one of sgd, adamw"),
        ({"schedule": "linear"}, r"schedule \('linear'\) must be one of cosine, steps"),
        ({"schedule": "steps"}, "schedule steps has milestones"),
        ({"milestones": (10,)}, "schedule steps has milestones"),
        ({"accumulate": 0}, r"accumulate \(0\) must be at least 1"),
        ({"mixup": -1.0}, r"mixup \(-1.0\) must be at least 0"),
        ({"sampler": "segment", "context": True}, "context and time_jitter are of sampler clip, not of segment"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FitConfig(**options)


def test_a_recipe_read_from_a_runs_configuration_is_the_same():
    config = FitConfig(schedule="steps", milestones=(2, 3), scale_jitter=(0.9, 1.1))
    assert FitConfig(**{**vars(config), "milestones": [2, 3], "scale_jitter": [0.9, 1.1]}) == config
    assert not FitConfig(scale_jitter=[1.0, 1.0]).jitter().takes_whole_frames  # type: ignore[arg-type]


def trained(video_folder, folder, **options) -> dict[str, torch.Tensor]:
    folder.mkdir()
    torch.manual_seed(0)
    classifier = make_classifier("tiny_r3d", num_classes=2)
    for module in classifier.modules():  # of the batch, which accumulation divides
        if isinstance(module, nn.BatchNorm3d):
            module.eval()
            module.train = lambda mode=True, module=module: module  # type: ignore[method-assign]
    sets = [load_dataset(f"folder:{video_folder}", split=split) for split in ("train", "test")]
    config = FitConfig(epochs=2, learning_rate=0.01, **options)
    fit(classifier, *sets, config=config, folder=folder, logger=Logger(None, []))
    return {name: value.detach() for name, value in classifier.named_parameters()}


def test_two_halves_of_a_batch_accumulated_are_the_batch(video_folder, tmp_path):
    whole = trained(video_folder, tmp_path / "whole", batch_size=4)
    halves = trained(video_folder, tmp_path / "halves", batch_size=2, accumulate=2)
    single = trained(video_folder, tmp_path / "single", batch_size=2)
    for name, value in whole.items():
        torch.testing.assert_close(halves[name], value, atol=1e-5, rtol=1e-4)
    assert any(not torch.allclose(single[name], value, atol=1e-4) for name, value in whole.items())


def test_the_whole_recipe_trains_and_repeats_with_and_without_a_cache(video_folder, tmp_path):
    options = {
        "batch_size": 3,
        "accumulate": 2,
        "optimizer": "adamw",
        "decay_norms": False,
        "mixup": 0.2,
        "flip": True,
        "scale_jitter": (1.0, 1.3),
        "random_crop": True,
        "brightness": 0.2,
        "colour": 0.1,
        "time_jitter": 2,
        "context": True,
    }
    first, again = (
        trained(video_folder, tmp_path / name, **options, cache=cache)
        for name, cache in (("decoded", False), ("cached", True))
    )
    for name, value in first.items():
        assert torch.equal(again[name], value)
        assert value.isfinite().all()


class Fixed(nn.Module):
    """Says the same of every clip."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits, self.num_classes = nn.Parameter(torch.tensor(logits)), len(logits)

    def forward(self, clips: torch.Tensor) -> ClipOutput:
        logits = self.logits.expand(len(clips), -1)
        return ClipOutput(logits, logits)


def test_top_5_is_told_of_more_than_five_classes():
    def measured(logits, labels):
        batch = torch.zeros(len(labels), 1, 3, 4, 4, dtype=torch.uint8), torch.eye(len(logits))[labels]
        return evaluate_clips(Fixed(logits), [batch])  # type: ignore[arg-type]

    # From the most probable: 3, 2, 1, 0, 4, 7, 6, 5.
    logits = [5.0, 6.0, 7.0, 8.0, 4.0, 0.0, 1.0, 3.0]
    assert measured(logits, [3, 4, 7, 5]) == {"clip_top1": 0.25, "clip_top5": 0.5}
    assert measured(logits[:5], [3, 4]) == {"clip_top1": 0.5}
