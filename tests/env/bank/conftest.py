"""Small banks, and a Ray cluster of two machines that are processes of this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from vidselect_classifiers import make_classifier
from vidselect_env.bank import ClipBank, SkimSpec, bank_spec, build_bank
from vidselect_env.datasets import load_dataset


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """Two nodes of one CPU each; this process is connected to the first."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'vidselect-env[ray]'")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 300 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, logging_level="warning")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="session")
def build_small() -> Callable[..., ClipBank]:
    """A bank of a folder's training videos and a classifier drawn from a seed."""

    def build(folder: Path, videos: Path, **options: Any) -> ClipBank:
        dataset = load_dataset(f"folder:{videos}", split="train")
        torch.manual_seed(0)
        classifier = make_classifier("tiny_r3d", num_classes=len(dataset.class_names))
        spec = bank_spec(dataset, classifier, num_clips=5, skim=SkimSpec(num_frames=2, resize=(8, 8), crop=(8, 8)))
        options = {"shard_videos": 3, "batch_size": 4, "progress": False} | options
        return build_bank(folder, dataset, classifier, spec=spec, **options)

    return build
