"""Banks built on Ray: the bytes of the local build, whatever the number of actors."""

from __future__ import annotations

import shutil
import sys

import pytest

from vidselect_agents.commands.bank import engine_of
from vidselect_agents.commands.options.bank import BuildConfig
from vidselect_classifiers import make_classifier
from vidselect_env.bank import bank_spec, build_bank, open_bank
from vidselect_env.bank.on_ray import RayEngine
from vidselect_env.datasets import load_dataset
from vidselect_env.video.errors import VideoError


def test_without_ray_the_error_says_what_to_install(tmp_path, video_folder, build_small, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"Ray is not installed.*vidselect-env\[ray\]"):
        build_small(tmp_path / "bank", video_folder, engine=RayEngine())
    assert not list((tmp_path / "bank").glob("shard-*"))


def test_there_is_an_actor_a_gpu_and_without_gpus_one_a_machine():
    assert RayEngine()._plan({"CPU": 8.0}, num_nodes=3) == ("cpu", 3)
    assert RayEngine()._plan({"CPU": 8.0, "GPU": 4.0}, num_nodes=3) == ("cuda", 4)
    assert RayEngine(device="cpu", num_actors=2)._plan({"CPU": 8.0, "GPU": 4.0}, num_nodes=3) == ("cpu", 2)


def test_more_actors_than_gpus_are_refused_as_they_would_wait_for_ever():
    with pytest.raises(ValueError, match=r"num_actors \(5\) must be 1 to the cluster's GPUs \(4\)"):
        RayEngine(num_actors=5)._plan({"GPU": 4.0}, num_nodes=1)


def test_options_of_ray_are_refused_without_it():
    with pytest.raises(ValueError, match="of engine ray, not of local"):
        BuildConfig(out="bank", address="auto")
    config = BuildConfig(out="bank", engine="ray", classifier_actors=3, decoders_per_actor=5)
    assert engine_of(config) == RayEngine(num_actors=3, decoders_per_actor=5)


@pytest.mark.slow
@pytest.mark.parametrize("num_actors", [1, 3])
def test_a_bank_from_two_machines_has_the_bytes_of_the_local_one(
    tmp_path, video_folder, ray_cluster, build_small, bytes_of, num_actors
):
    build_small(tmp_path / "local", video_folder)
    build_small(tmp_path / "ray", video_folder, engine=RayEngine(num_actors=num_actors, decoders_per_actor=2))
    assert bytes_of(tmp_path / "ray") == bytes_of(tmp_path / "local")


@pytest.mark.slow
def test_a_bank_on_ray_is_finished_without_making_a_shard_twice(
    tmp_path, video_folder, ray_cluster, build_small, bytes_of
):
    build_small(tmp_path / "bank", video_folder)
    before = bytes_of(tmp_path / "bank")
    for lost in ("manifest.json", "shard-00001.safetensors"):
        (tmp_path / "bank" / lost).unlink()
    made_ns = {file: file.stat().st_mtime_ns for file in (tmp_path / "bank").glob("shard-*.safetensors")}
    build_small(tmp_path / "bank", video_folder, engine=RayEngine(num_actors=2))
    assert bytes_of(tmp_path / "bank") == before
    assert {file: file.stat().st_mtime_ns for file in made_ns} == made_ns


@pytest.mark.slow
def test_a_corrupted_video_is_skipped_or_stops_the_build_on_ray_as_it_does_here(
    tmp_path, video_folder, ray_cluster, build_small, bytes_of
):
    videos = shutil.copytree(video_folder, tmp_path / "set")
    broken = videos / "train" / "left" / "1.mp4"
    broken.write_bytes(b"not a video")
    build_small(tmp_path / "local", videos)
    bank = build_small(tmp_path / "ray", videos, engine=RayEngine())
    assert [path for path, _ in bank.skipped] == [str(broken)]
    assert bytes_of(tmp_path / "ray") == bytes_of(tmp_path / "local")
    with pytest.raises(VideoError, match=r"left/1\.mp4"):
        build_small(tmp_path / "stopped", videos, engine=RayEngine(), on_error="raise")
    assert not (tmp_path / "stopped" / "manifest.json").exists()


@pytest.mark.slow
def test_videos_by_relative_paths_are_found_on_every_machine(
    tmp_path, video_folder, ray_cluster, build_small, bytes_of, monkeypatch
):
    monkeypatch.chdir(video_folder.parent)
    relative = video_folder.relative_to(video_folder.parent)
    build_small(tmp_path / "local", relative)
    assert build_small(tmp_path / "ray", relative, engine=RayEngine()).skipped == ()
    assert bytes_of(tmp_path / "ray") == bytes_of(tmp_path / "local")


@pytest.mark.slow
def test_the_default_problem_and_real_videos_have_the_same_bytes_on_ray(tmp_path, shared, ray_cluster, bytes_of):
    real = shared / "data" / "surv_fight" / "split.csv"
    for dataset in (
        load_dataset("synthetic", split="test", num_videos=24),
        load_dataset(f"csv:{real}", split="test", num_videos=6),
    ):
        classifier = make_classifier("tiny_r3d", weights="default")
        spec = bank_spec(dataset, classifier, fields=("logits", "features", "skim", "vectors", "mel"))
        folders = [tmp_path / f"{dataset.split}-{len(dataset)}-{name}" for name in ("local", "ray")]
        for folder, engine in zip(folders, (None, RayEngine(num_actors=2)), strict=True):
            build_bank(folder, dataset, classifier, spec=spec, shard_videos=4, progress=False, engine=engine)
        assert bytes_of(folders[1]) == bytes_of(folders[0])
        assert open_bank(folders[1], verify=True).num_videos > 0
