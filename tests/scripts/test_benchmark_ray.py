"""A benchmark's jobs on Ray: the same results, one for each agent and seed."""

from __future__ import annotations

import pytest

from vidselect_agents.commands.benchmark_jobs import TimedResult, result_file, run_jobs
from vidselect_agents.commands.benchmark_ray import gpus_of
from vidselect_env.experiment.config import ExperimentConfig, changed


def test_workers_share_the_gpus_of_the_cluster():
    assert gpus_of("auto", 8, 2) == 0.25
    assert gpus_of("cuda", 2, 4) == 1.0
    assert gpus_of("auto", 2, 0) == gpus_of("cpu", 2, 4) == 0.0


@pytest.mark.slow
def test_jobs_on_ray_have_the_results_of_local_ones_and_failures_are_told(tmp_path, video_folder, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'vidselect-env[ray]'")
    monkeypatch.setenv("VIDSELECT_CACHE", str(tmp_path / "cache"))
    config = changed(ExperimentConfig(), dataset=f"folder:{video_folder}", candidates=6, sections=2, clips=2)
    wanted = [(agent, seed) for seed in range(2) for agent in ("uniform", "random")]
    options = {"total_timesteps": 8, "num_envs": 2, "jobs": 2}
    failures = run_jobs(config, [*wanted, ("oracle", 0)], out=tmp_path / "ray", engine="ray", **options)
    assert failures == {}
    assert run_jobs(config, wanted, out=tmp_path / "local", **(options | {"jobs": 1})) == {}
    for job in wanted:
        results = [TimedResult.read(result_file(tmp_path / name, *job)) for name in ("ray", "local")]
        assert results[0].right == results[1].right
        assert results[0].top1 == results[1].top1
