"""How many maps clips keep, counted and logged."""

from __future__ import annotations

import csv
import math

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from vidselect_classifiers import make_classifier
from vidselect_classifiers.sgs import with_sgs
from vidselect_env.datasets import load_dataset
from vidselect_env.experiment.run import run_logger
from vidselect_env.fitting.kept_maps import KeptMaps
from vidselect_env.fitting.training import FitConfig, fit


def test_mean_and_histogram_by_hand():
    kept = KeptMaps()
    kept.add(torch.tensor([3, 1]))
    kept.add(torch.tensor([3, 5, 1]))
    assert len(kept) == 5
    assert kept.mean == pytest.approx(13 / 5)
    assert kept.histogram == [2, 0, 2, 0, 1]
    assert kept.postfix() == {"maps": "3.00"}  # of the last batch


def test_without_sampling_nothing_is_counted_or_logged(tmp_path):
    kept = KeptMaps()
    kept.add(None)
    logger = run_logger(tmp_path)
    kept.record(logger, "train")
    assert logger.name_to_value == {}
    assert kept.postfix() == {}
    assert kept.histogram == []
    assert math.isnan(kept.mean)
    logger.close()


def events(folder) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"histograms": 0})
    found.Reload()
    return found


def test_training_logs_the_maps_kept_of_every_epoch(tmp_path, video_folder):
    torch.manual_seed(0)
    classifier = with_sgs(make_classifier("tiny_r3d", num_classes=2), after="layer1", num_bins=5)
    # The one bin that all maps of a clip then fall into, whatever is learnt from them: nothing is.
    nn.init.zeros_(classifier.network.sgs.embed[2].weight)
    classifier.network.sgs.embed[3].weight.requires_grad_(False).zero_()
    sets = [load_dataset(f"folder:{video_folder}", split=split) for split in ("train", "test")]
    logger = run_logger(tmp_path)
    fit(classifier, *sets, config=FitConfig(epochs=2, batch_size=4), folder=tmp_path, logger=logger)
    logger.close()
    found = events(tmp_path)
    for name in ("train/num_bins", "eval/num_bins"):
        assert [(event.step, event.value) for event in found.Scalars(name)] == [(1, 1.0), (2, 1.0)]
        histograms = found.Histograms(f"{name}_histogram")
        assert [event.histogram_value.num for event in histograms] == [8, 8]  # clips of an epoch
        assert {event.histogram_value.max for event in histograms} == {1}
    with (tmp_path / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["eval/num_bins"] for row in rows] == ["1.0", "1.0"]
    assert not any("histogram" in name for name in rows[0])
