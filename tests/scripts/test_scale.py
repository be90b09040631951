"""The simulation of many actors has the throughput of whatever is slowest."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "measure" / "scale.py"


@pytest.fixture(scope="module")
def scale():
    spec = importlib.util.spec_from_file_location("measure_scale", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(
    ("options", "num_actors", "clips_per_s", "busy"),
    [
        ({}, 1, 100, "classifier"),
        ({}, 8, 800, "classifier"),
        ({"decode_cpu_s": 10.0, "cpus_per_actor": 1}, 8, 8 * 3.0, "decoders"),  # 30 clips in ten seconds
        ({"driver_ms": 19_200.0}, 64, 100, "driver"),  # 1920 clips a shard
        ({"video_mb": 30.0, "storage_mb_s": 10.0}, 64, 10.0 * 30 / 30, "storage"),
    ],
)
def test_the_slowest_station_decides(scale, options, num_actors, clips_per_s, busy):
    config = scale.ScaleConfig(
        **({"classify_clips_per_s": 100.0, "decode_cpu_s": 0.1, "storage_mb_s": 1e6, "driver_ms": 0.1} | options)
    )
    found = scale.simulated(config, num_actors=num_actors)
    assert found["clips_per_s"] == pytest.approx(clips_per_s, rel=0.06)
    assert max(("classifier", "decoders", "storage", "driver"), key=found.get) == busy
