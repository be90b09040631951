"""Clips held on the device, what is drawn of them, and training on them."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from vidselect_classifiers import ClipGeometry, make_classifier
from vidselect_classifiers.sgs import gmacs_before_sgs, gmacs_by_bins
from vidselect_env.datasets import load_dataset
from vidselect_env.fitting.held_clips import (
    HeldClips,
    HeldSource,
    hold_clips,
    read_held,
    sources_of,
    synthetic_pieces,
)
from vidselect_env.fitting.held_training import CLIP_FALL, LAYER_FALL, ClipCosts, fit_and_judge, fit_held, judged
from vidselect_env.fitting.loader import ClipLoader
from vidselect_env.fitting.training import FitConfig


def numbered(num_videos: int = 5, num_frames: int = 10) -> HeldClips:
    """Frame f of video v is of the value 10 v + f."""
    values = 10 * torch.arange(num_videos)[:, None] + torch.arange(num_frames)
    frames = values.to(torch.uint8)[:, :, None, None, None].expand(-1, -1, 3, 2, 2).contiguous()
    return HeldClips(frames, torch.arange(num_videos) % 2, ("even", "odd"))


def test_without_a_generator_the_middle_clip_of_every_video_comes_in_order():
    [(first, labels), (second, _)] = numbered().batches((0, 2, 5), batch_size=3)
    # The clip spans 6 of 10 frames: 0 to 4 are left to begin at, and 2 is in the middle.
    assert first[:, :, 0, 0, 0].tolist() == [[2, 4, 7], [12, 14, 17], [22, 24, 27]]
    assert second[:, :, 0, 0, 0].tolist() == [[32, 34, 37], [42, 44, 47]]
    assert labels.tolist() == [0, 1, 0]


def test_in_training_each_video_gives_a_clip_anywhere_that_it_fits():
    clips, generator = numbered(num_videos=25), torch.Generator().manual_seed(0)
    starts, orders = [], []
    for _ in range(40):
        epoch = torch.cat(
            [batch[:, :, 0, 0, 0].long() for batch, _ in clips.batches((0, 3), batch_size=5, generator=generator)]
        )
        videos = epoch[:, 0] // 10
        assert sorted(videos.tolist()) == list(range(25))
        assert torch.equal(epoch[:, 1], epoch[:, 0] + 3)
        starts += (epoch[:, 0] % 10).tolist()
        orders.append(tuple(videos.tolist()))
    assert set(starts) == set(range(7))
    assert len(set(orders)) == 40
    again = [batch for batch, _ in clips.batches((0, 3), batch_size=5, generator=torch.Generator().manual_seed(0))]
    other = [batch for batch, _ in clips.batches((0, 3), batch_size=5, generator=torch.Generator().manual_seed(0))]
    assert all(torch.equal(one, two) for one, two in zip(again, other, strict=True))


def test_a_smaller_last_batch_is_for_testing_only():
    clips = numbered(num_videos=5)
    assert [len(batch) for batch, _ in clips.batches((0,), batch_size=2)] == [2, 2, 1]
    training = clips.batches((0,), batch_size=2, generator=torch.Generator())
    assert [len(batch) for batch, _ in training] == [2, 2]
    assert [len(batch) for batch, _ in clips.batches((0,), batch_size=9, generator=torch.Generator())] == [5]


def test_a_clip_longer_than_what_is_held_is_refused():
    with pytest.raises(ValueError, match=r"offsets \(0, 10\) must lie within the 10 frames held"):
        next(numbered().batches((0, 10), batch_size=2))
    with pytest.raises(ValueError, match=r"frames \(torch.uint8, \(4, .* of the 5 labels"):
        HeldClips(numbered(num_videos=4).frames, torch.arange(5), ("even", "odd"))


def test_what_is_held_is_what_the_loader_decodes(tmp_path, video_folder):
    dataset, file = f"folder:{video_folder}", tmp_path / "held" / "train.safetensors"
    source = HeldSource(dataset=dataset, split="train", num_frames=24, size=32)
    hold_clips({file: [source]}, num_processes=1)
    held = read_held(file)
    geometry = ClipGeometry(num_frames=24, resize=(32, 32), crop=(32, 32))
    loader = ClipLoader(
        load_dataset(dataset, split="train"), geometry, batch_size=8, training=False, generator=torch.Generator()
    )
    [(clips, targets)] = loader
    assert torch.equal(held.frames, clips)
    assert torch.equal(held.labels, targets.argmax(-1))
    assert held.class_names == ("left", "right")
    written = file.stat().st_mtime_ns
    hold_clips({file: [source]}, num_processes=1)  # it is there already
    assert file.stat().st_mtime_ns == written


def test_synthetic_videos_are_made_in_pieces_of_a_seed_each():
    training = synthetic_pieces(HeldSource(dataset="synthetic-speeds", split="train", num_videos=600))
    assert [(piece.seed, piece.num_videos) for piece in training] == [(0, 250), (1, 250), (2, 100)]
    test = HeldSource(dataset="synthetic-speeds", split="test", num_videos=300)
    assert [(piece.seed, piece.num_videos) for piece in synthetic_pieces(test)] == [(0, 500), (1, 100)]  # half are made
    seeds = {piece.seed for piece in synthetic_pieces(test, val=True)}
    assert not seeds & {piece.seed for piece in synthetic_pieces(test)}


def bright_and_dark(num_videos: int = 60, *, seed: int = 0) -> HeldClips:
    """Noise about 60 and about 190: a class each."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_videos) % 2
    noise = torch.randint(-50, 51, (num_videos, 6, 3, 32, 32), generator=generator)
    frames = (noise + 60 + 130 * labels.view(-1, 1, 1, 1, 1)).to(torch.uint8)
    return HeldClips(frames, labels, ("dark", "bright one"))


def test_val_is_of_other_videos_than_test_and_a_dataset_has_its_own_splits():
    source = HeldSource(dataset="synthetic-speeds", split="train", size=16)
    counts = {"num_videos": 500, "num_tests": 300}
    of = {split: sources_of(source, split, **counts) for split in ("train", "val", "test")}
    assert [(each.split, each.num_videos) for each in of["train"]] == [("train", 250), ("train", 250)]
    assert [(each.split, each.num_videos) for each in of["test"]] == [("test", 500), ("test", 100)]  # halves are made
    assert not {each.seed for each in of["val"]} & {each.seed for each in of["test"]}
    own = dataclasses.replace(source, dataset="csv:list.csv")
    assert sources_of(own, "val", **counts) == [dataclasses.replace(own, split="val")]


def test_training_on_held_clips_learns_what_there_is_to_learn():
    torch.manual_seed(0)
    classifier = make_classifier(
        "tiny_r3d", num_classes=2, num_frames=4, sgs={"after": "layer1", "kernel": "kronecker"}
    )
    config = FitConfig(epochs=3, batch_size=10, learning_rate=0.05)
    held = {split: bright_and_dark(seed=seed) for seed, split in enumerate(("train", "val", "test"))}
    plain = make_classifier("tiny_r3d", num_classes=2, num_frames=4).gmacs_per_clip()
    told: list[str] = []
    row = fit_and_judge(classifier, held, offsets=range(4), config=config, plain_gmacs=plain, tell=told.append)
    assert [line.split(",")[0] for line in told] == ["epoch 1", "epoch 2", "epoch 3"]
    assert row["test"]["Top-1"] == 100
    assert row["epochs"][0]["loss"] > row["epochs"][-1]["loss"]
    assert [epoch["epoch"] for epoch in row["epochs"]] == [1, 2, 3]
    assert row["epochs"][-1]["maps on val"] == row["val"]["maps kept"]
    assert set(row["test"]["maps of"]) == {"dark", "bright one"}
    assert sum(row["test"]["histogram"]) == 60
    assert row["steps_per_s"] == pytest.approx(3 * 6 / row["train_s"])
    assert 0 < row["draw_share"] < 1


def test_the_same_seed_trains_the_same_network():
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(0)
        classifier = make_classifier("tiny_r3d", num_classes=2, num_frames=4)
        fit_held(classifier, bright_and_dark(), offsets=range(4), config=FitConfig(epochs=1, batch_size=10), seed=seed)
        return classifier.head.weight.detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_held_clips_are_trained_on_with_the_optimizer_that_is_asked_for():
    classifier = make_classifier("tiny_r3d", num_classes=2, num_frames=4)
    before = classifier.head.weight.detach().clone()
    config = FitConfig(epochs=1, batch_size=60, optimizer="adam", learning_rate=1e-3, warmup_epochs=0, weight_decay=0)
    fit_held(classifier, bright_and_dark(), offsets=range(4), config=config)
    moved = (classifier.head.weight.detach() - before).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 1e-3), rtol=1e-2, atol=0)  # Adam's first step is the rate


def test_every_clip_is_charged_for_the_maps_it_keeps():
    classifier = make_classifier("tiny_r3d", num_classes=2, num_frames=4, sgs={"after": "layer1"})
    nn.init.zeros_(classifier.network.sgs.embed[2].weight)  # all maps in one place: every clip keeps one
    plain = make_classifier("tiny_r3d", num_classes=2, num_frames=4)
    costs = ClipCosts.of(classifier, plain_gmacs=plain.gmacs_per_clip())
    found = judged(classifier, bright_and_dark(), offsets=range(4), costs=costs)
    of_one, before = gmacs_by_bins(classifier)[0], gmacs_before_sgs(classifier)
    assert found["histogram"] == [60]
    assert found["maps of"] == {"dark": 1, "bright one": 1}
    assert found["GMACs a clip"] == pytest.approx(of_one)
    assert found[CLIP_FALL] == pytest.approx(100 * (1 - of_one / costs.plain))
    assert found[LAYER_FALL] == pytest.approx(100 * (1 - (of_one - before) / (costs.plain - before)))
    assert found[LAYER_FALL] > found[CLIP_FALL] > 0
    of_plain = judged(plain, bright_and_dark(), offsets=range(4), costs=ClipCosts.of(plain, plain_gmacs=costs.plain))
    assert (of_plain[CLIP_FALL], LAYER_FALL in of_plain, "maps kept" in of_plain) == (0, False, False)
    half = make_classifier("tiny_r3d", num_classes=2, num_frames=2)
    of_half = judged(half, bright_and_dark(), offsets=(0, 2), costs=ClipCosts.of(half, plain_gmacs=costs.plain))
    assert 40 < of_half[CLIP_FALL] < 60
