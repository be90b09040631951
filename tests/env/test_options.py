"""Options that name a classifier, and folders of results."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from vidselect_classifiers import weights_sha256
from vidselect_env.bank.cached import resolve_bank
from vidselect_env.experiment.run import claim_results, read_config
from vidselect_env.fitting.options import ClassifierOptions


def test_what_weights_leave_open_follows_from_the_seed():
    options = ClassifierOptions(sgs="layer2")  # the weights know no sampling
    hashes = [weights_sha256(options.make_classifier(seed=seed)) for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_every_option_of_sampling_reaches_the_network():
    plain, other = (
        ClassifierOptions(sgs="layer2", **options).make_classifier().network.sgs
        for options in (
            {},
            {
                "sgs_bins": (2, 4),
                "sgs_kernel": "kronecker",
                "sgs_similarity": "spherical",
                "sgs_distance": "centred",
                "sgs_embedding_dim": 2,
                "sgs_epsilon": True,
                "sgs_detach": True,
                "sgs_network": "authors",
                "sgs_per_step": True,
                "sgs_order": "time",
                "sgs_block": 2,
            },
        )
    )
    names = ("num_bins", "kernel", "similarity", "distance", "embedding_dim", "epsilon", "detach", "order", "block")
    of_plain = [None, "linear", "magnitude", "magnitude", 8, False, False, "bins", 0]
    of_other = [(2, 4), "kronecker", "spherical", "centred", 2, True, True, "time", 2]
    assert [getattr(plain, name) for name in names] == of_plain
    assert [getattr(other, name) for name in names] == of_other
    assert other.embed[0].out_channels == plain.embed[0].out_channels // 2
    assert (plain.embed[3].num_features, other.embed[3].num_features) == (8, 2 * other.embed.num_steps)


@dataclass(frozen=True)
class Settings:
    epochs: int = 2
    out: Path = Path("x")


def test_results_of_other_settings_are_not_mixed(tmp_path):
    claim_results(tmp_path, free=("out",), mine=Settings())
    config = tmp_path / "config.json"
    config.write_text(json.dumps(read_config(tmp_path) | {"commit": "first"}))
    claim_results(tmp_path, free=("out",), mine=Settings(out=Path("y")))
    assert read_config(tmp_path)["commit"] == "first"  # it made the results that are there
    with pytest.raises(ValueError, match="holds results with epochs 2, not 3: choose another --out"):
        claim_results(tmp_path, free=("out",), mine=Settings(epochs=3))


def test_the_small_bank_finds_its_videos_after_the_cache_was_cleared_of_them_or_moved(tmp_path, monkeypatch):
    monkeypatch.setattr("vidselect_env.bank.cached.SMALL_BANK_VIDEOS", 2)
    for cache in ("first", "second"):
        monkeypatch.setenv("VIDSELECT_CACHE", str(tmp_path / cache))
        assert all(Path(path).exists() for path in resolve_bank(None).video_paths)
        for folder in (tmp_path / cache).glob("synthetic-*"):
            shutil.rmtree(folder)
        assert all(Path(path).exists() for path in resolve_bank(None).video_paths)
        if cache == "first":
            shutil.copytree(tmp_path / "first", tmp_path / "second")
            shutil.rmtree(tmp_path / "first")
