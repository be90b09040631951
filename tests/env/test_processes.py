"""Several processes train one network as one process with the whole batch would."""

from __future__ import annotations

import copy
import csv
import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from vidselect_classifiers import make_classifier
from vidselect_classifiers.ragged import RaggedMaps
from vidselect_classifiers.sgs import SimilarityGuidedSampling
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.fitting.checkpoint import check_recipe, resumed_batch_size
from vidselect_env.fitting.loader import ClipLoader
from vidselect_env.fitting.processes import ALONE, Processes, SharedBatchNorm, share_norms

REPOSITORY = Path(__file__).resolve().parents[2]
PAIR = [Processes(rank=rank, count=2) for rank in range(2)]


@pytest.mark.parametrize(("size", "count"), [(5, 2), (8, 2), (1, 3), (0, 2), (7, 4)])
def test_every_thing_is_of_one_process(size, count):
    things = list(range(size))
    parts = [things[Processes(rank=rank, count=count).part(size)] for rank in range(count)]
    assert [thing for part in parts for thing in part] == things
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_processes_of_one_machine_take_its_gpus_in_turn_and_no_more_than_there_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert Processes(rank=2, count=4, local_rank=0).device("cuda") == "cuda:0"
    assert PAIR[1].device("cpu") == "cpu"
    assert ALONE.device("cuda") == "cuda"
    with pytest.raises(ValueError, match="process 1 of this machine has no GPU: there are 1"):
        Processes(rank=1, count=2, local_rank=1).device("cuda")


def test_a_shared_norm_keeps_names_and_is_the_norm_itself_in_testing():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(2, 3, 1), nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()))
    network(torch.randn(8, 2, 5))
    network.eval()
    before, clips = network.state_dict(), torch.randn(4, 2, 5)
    expected = network(clips)
    shared = share_norms(network, on_gpu=False)
    assert isinstance(shared[1][0], SharedBatchNorm)
    assert list(shared.state_dict()) == list(before)
    assert torch.equal(shared(clips), expected)


def test_sampling_by_step_keeps_its_result_and_names_where_norms_are_shared():
    network = SimilarityGuidedSampling(4, num_steps=3).embed
    network(torch.randn(8, 4, 3))
    network.eval()
    before, clips = network.state_dict(), torch.randn(5, 4, 3)
    expected = network(clips)
    shared = share_norms(network, on_gpu=False)
    assert isinstance(shared[3], SharedBatchNorm)
    assert list(shared.state_dict()) == list(before)
    assert torch.equal(shared(clips), expected)


def test_maps_of_different_lengths_are_normalised_together_where_norms_are_shared(tmp_path):
    torch.manual_seed(0)
    norm = nn.BatchNorm3d(4)
    shared = share_norms(copy.deepcopy(norm), on_gpu=False)
    groups = [torch.randn(2, 4, length, 3, 3) for length in (1, 3)]
    maps = RaggedMaps(groups, order=torch.arange(4), lengths=torch.tensor([1, 1, 3, 3]))
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        found = shared(maps)
    finally:
        torch.distributed.destroy_process_group()
    torch.testing.assert_close(found.packed(), norm(maps).packed())
    torch.testing.assert_close(shared.running_var, norm.running_var)
    torch.testing.assert_close(shared.eval()(maps).packed(), norm.eval()(maps).packed())


def test_two_processes_take_turns_at_the_batches_of_one(video_folder):
    def batches(batch_size: int, processes: Processes) -> list[torch.Tensor]:
        loader = ClipLoader(
            load_dataset(f"folder:{video_folder}", split="train"),
            make_classifier("tiny_r3d").geometry,
            batch_size=batch_size,
            training=True,
            generator=torch.Generator().manual_seed(0),
            processes=processes,
        )
        return [clips for clips, _ in islice(loader, 2)]

    whole = batches(6, ALONE)
    for batch, *parts in zip(whole, *(batches(3, processes) for processes in PAIR), strict=True):
        assert torch.equal(torch.cat(parts), batch)
    assert [len(batch) for batch in whole] == [6, 2]


def test_two_environments_share_the_contexts_of_one_and_either_goes_on_from_its_state(problem):
    whole = SelectVectorEnv(problem, num_envs=6)
    parts = [SelectVectorEnv(problem, num_envs=3, share=(rank, 2)) for rank in range(2)]
    for env in (whole, *parts):
        env.reset(seed=5)

    def step() -> None:
        assert torch.equal(torch.cat([env.contexts for env in parts]), whole.contexts)
        for env in (whole, *parts):
            env.step(torch.zeros(env.num_envs, *problem.action_space.shape, dtype=torch.int64))

    for _ in range(3):
        step()
    state = whole.state_dict()
    assert all(torch.equal(value, parts[1].state_dict()[name]) for name, value in state.items())
    step()
    for env in (whole, *parts):
        env.load_state_dict(state)
    step()
    parts[1].reset(options={"video_index": [2, 0, 1]})
    assert parts[1].contexts.tolist() == [2, 0, 1]


def test_mixup_is_refused_where_a_batch_is_in_several_processes():
    check_recipe(mixup=0.2, processes=ALONE)
    with pytest.raises(ValueError, match=r"mixup \(0.2\) mixes clips of a whole batch, which is in 2 processes"):
        check_recipe(mixup=0.2, processes=PAIR[0])


@pytest.mark.parametrize(
    ("count", "layer", "message"),
    [
        (3, nn.ReLU(), "begun by 2 processes and cannot be gone on with by 3 .*share 8 clips"),
        (4, nn.Dropout(0.5), "begun by 2 processes and cannot be gone on with by 4 .*its own dropout"),
    ],
)
def test_another_number_of_processes_is_refused_where_it_changes_what_is_learned(count, layer, message):
    saved = {"processes": 2, "clips_a_pass": 8}
    with pytest.raises(ValueError, match=message):
        resumed_batch_size(4, saved, classifier=nn.Sequential(layer), processes=Processes(count=count))


def test_another_number_of_processes_shares_the_same_batch():
    saved = {"processes": 2, "clips_a_pass": 8}
    sizes = {
        count: resumed_batch_size(4, saved, classifier=nn.ReLU(), processes=Processes(count=count))
        for count in (1, 2, 4, 8)
    }
    assert sizes == {1: 8, 2: 4, 4: 2, 8: 1}


# --- by torchrun, two processes on the CPU


def command(videos: Path, runs: Path, *, processes: int, batch_size: int, epochs: int) -> list[str]:
    options = ["--dataset", f"folder:{videos}", "--classifier", "tiny_r3d", "--runs", str(runs), "--device", "cpu"]
    options += ["--batch-size", str(batch_size), "--epochs", str(epochs), "--learning-rate", "0.0001", "--cache"]
    return [*launcher(processes), *options]


def launcher(processes: int) -> list[str]:
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*start, str(REPOSITORY / "scripts" / "train_classifier.py")]


def run(arguments: list[str]) -> None:
    done = subprocess.run(arguments, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def losses(runs: Path) -> list[float]:
    [folder] = runs.iterdir()
    with (folder / "metrics.csv").open(newline="") as stream:
        return [float(row["train/loss"]) for row in csv.DictReader(stream)]


@pytest.mark.campaign
def test_two_processes_have_the_loss_curve_of_one_with_twice_the_batch(video_folder, tmp_path):
    # At a small learning rate: at a large one what is rounded differently grows, and the curves of two batches in
    # another order part just so.
    run(command(video_folder, tmp_path / "one", processes=1, batch_size=8, epochs=50))
    run(command(video_folder, tmp_path / "two", processes=2, batch_size=4, epochs=50))
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == 50  # a step an epoch: there are eight videos
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < 1e-4
    assert min(one) < max(one) - 0.1


@pytest.mark.campaign
@pytest.mark.slow
def test_a_pair_that_is_killed_goes_on_to_the_same_weights_as_one_that_was_not(video_folder, tmp_path, kill_all):
    run(command(video_folder, tmp_path / "whole", processes=2, batch_size=3, epochs=6))
    killed = subprocess.Popen(
        command(video_folder, tmp_path / "killed", processes=2, batch_size=3, epochs=6),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not list((tmp_path / "killed").glob("*/checkpoint.pt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    kill_all(killed)  # torchrun's workers are in sessions of their own
    [folder] = (tmp_path / "killed").iterdir()
    assert not (folder / "weights.safetensors").exists()
    run([*launcher(2), "--resume", str(folder)])
    weights = [load_file(next((tmp_path / name).glob("*/weights.safetensors"))) for name in ("whole", "killed")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[1][name], value) for name, value in weights[0].items())
