"""What other libraries ask of the environments: processes of their own, NumPy, options by name."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import re
import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import NormalizeReward, RecordEpisodeStatistics

import vidselect_env  # noqa: F401 (registers the environments)
from vidselect_env.bank import BankError
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectEnv, ClipSelectProblem, ClipSelectVectorEnv, clip_select_problem
from vidselect_env.envs.frame_select import (
    FrameSelectEnv,
    FrameSelectProblem,
    FrameSelectVectorEnv,
    frame_select_problem,
)
from vidselect_env.envs.scalar import SelectEnv
from vidselect_env.envs.search.batched import ClipSearchVectorEnv
from vidselect_env.envs.search.scalar import ClipSearchEnv, search_problem
from vidselect_env.envs.sources import BankSource
from vidselect_env.experiment.config import ProblemConfig

FORKED = """
import multiprocessing, sys, torch
import vidselect_env

def work(queue):
    values = torch.rand(2000, 2000)
    queue.put((torch.get_num_threads(), float(values.softmax(-1).sum())))

if __name__ == "__main__":
    torch.rand(2000, 2000).softmax(-1)  # the parent's threads are at work
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=work, args=(queue,), daemon=True)
    child.start()
    print(*queue.get(timeout=30), torch.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="with one processor there are no threads to wait for")
def test_torch_works_in_a_process_that_is_forked_off_one_whose_threads_were_used():
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", FORKED], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    child_threads, total, parent_threads = done.stdout.split()
    assert float(total) == pytest.approx(2000, rel=1e-3)
    assert (child_threads, parent_threads) == ("1", "2")


def frames(bank) -> SelectVectorEnv:
    return FrameSelectVectorEnv(num_envs=3, bank=bank, frames=6, kept=2, output="numpy")


def test_it_says_when_it_resets(problem):
    assert SelectVectorEnv(problem, num_envs=2).autoreset_mode == AutoresetMode.SAME_STEP


@pytest.mark.parametrize("wrapper", [RecordEpisodeStatistics, NormalizeReward])
def test_vector_wrappers_of_gymnasium_take_arrays(bank, wrapper):
    """Given tensors, each of them fails."""
    env = wrapper(frames(bank))
    observations, _ = env.reset(seed=0)
    assert isinstance(observations, np.ndarray)
    assert env.observation_space.contains(observations)
    for _ in range(2):
        observations, rewards, terminated, truncated, infos = env.step(env.action_space.sample())
    assert env.observation_space.contains(observations)
    assert rewards.shape == (3,)
    assert terminated.dtype == truncated.dtype == bool
    assert infos["final_info"]["num_kept"].shape == (3,)
    if wrapper is RecordEpisodeStatistics:
        assert infos["episode"]["l"].tolist() == [1, 1, 1]


def test_arrays_are_the_tensors(bank):
    options = {"num_envs": 3, "bank": bank, "observation": "features"}
    torch_env, numpy_env = ClipSelectVectorEnv(**options), ClipSelectVectorEnv(**options, output="numpy")
    for env in (torch_env, numpy_env):
        env.reset(seed=1)
    actions = torch_env.action_space.sample()
    expected, given = torch_env.step(actions), numpy_env.step(actions)
    for ours, theirs in zip(expected[:4], given[:4], strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs)
    np.testing.assert_array_equal(expected[4]["final_obs"].numpy(), np.stack(given[4]["final_obs"]))
    with pytest.raises(ValueError, match="output \\('jax'\\) must be one of torch, numpy"):
        ClipSelectVectorEnv(**options, output="jax")


@pytest.mark.parametrize("wrong", [-1, 7])
def test_an_action_out_of_range_is_refused_by_both_environments(bank, wrong):
    source = BankSource(bank)
    for problem, highest in (
        (ClipSelectProblem(source, observation="features"), 2),
        (ClipSelectProblem(source, observation="features", num_sections=1), 2),
        (FrameSelectProblem(source, num_candidates=6, num_kept=2, observation="features"), 1),
    ):
        batched, scalar = SelectVectorEnv(problem, num_envs=2), SelectEnv(problem)
        batched.reset(seed=0)
        scalar.reset(seed=0)
        action = np.zeros_like(problem.action_space.sample())
        scalar.step(action)
        batched.step(np.stack([action, action]))
        bad = action + np.asarray(wrong, dtype=np.int64)
        scalar.reset()
        with pytest.raises(ValueError, match="is not in"):
            scalar.step(bad)
        with pytest.raises(ValueError, match=rf"action \({wrong}\) of {problem.environment} must be 0 to {highest}"):
            batched.step(np.stack([action, bad]))


DOORS = {
    ClipSelectEnv: clip_select_problem,
    ClipSelectVectorEnv: clip_select_problem,
    FrameSelectEnv: frame_select_problem,
    FrameSelectVectorEnv: frame_select_problem,
    ClipSearchEnv: search_problem,
    ClipSearchVectorEnv: search_problem,
}
# Of a search alone, and not of the command line.
OF_SEARCH = {"looks", "look_share", "start", "shaping", "discount", "flat"}


@pytest.mark.parametrize(("door", "make"), DOORS.items(), ids=lambda each: each.__name__)
def test_the_options_of_make_are_named_as_on_the_command_line(door, make):
    parameters = inspect.signature(door).parameters
    assert not [name for name, each in parameters.items() if each.kind == each.VAR_KEYWORD]
    options = set(parameters) - {"num_envs", "bank", "device", "repeat_context", "output"}
    assert options <= {*vars(ProblemConfig()), "render_mode", "per_section", *OF_SEARCH}
    assert {"observation", "render_mode"} < options
    usual = {name: each for name, each in inspect.signature(make).parameters.items() if each.kind == each.KEYWORD_ONLY}
    assert {name: parameters[name].default for name in usual} == {name: each.default for name, each in usual.items()}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("VideoClipSelect-v0", {"num_sections": 4}, "unexpected keyword .* 'num_sections': did you mean 'sections'"),
        ("VideoFrameSelect-v0", {"sections": 4}, "unexpected keyword argument 'sections': it has bank, device, frames"),
        ("VideoClipSelect-v0", {"penalty": -1.0}, r"penalty \(-1.0\) must be at least 0"),
        ("VideoFrameSelect-v0", {"omega": 10.0, "kept": 0}, r"num_kept \(0\) must be 1 to"),
        ("VideoClipSearch-v0", {"prices": 0.1}, "unexpected keyword argument 'prices': did you mean 'price'"),
        ("VideoClipSearch-v0", {"num_candidates": 4}, "unexpected .* 'num_candidates': it has bank, device, frames"),
        ("VideoClipSearch-v0", {"looks": "dear"}, r"looks \('dear'\) must be one of free, paid"),
    ],
)
def test_an_option_that_does_not_fit_is_refused_by_the_environments_name(bank, name, options, message):
    with pytest.raises((TypeError, ValueError), match=f"{name}.*{message}"):
        gymnasium.make(name, bank=bank, disable_env_checker=True, **options)


@pytest.mark.parametrize("name", ["VideoClipSelect-v0", "VideoFrameSelect-v0", "VideoClipSearch-v0"])
def test_a_bank_that_is_not_there_is_refused_by_the_environments_name(tmp_path, name):
    with pytest.raises(BankError, match=f"{name}: .*{re.escape(str(tmp_path))}"):
        gymnasium.make(name, bank=str(tmp_path))


def test_candidates_that_are_offered_more_than_once_are_said(bank):
    with pytest.warns(UserWarning, match=r"sections \(20\) x clips \(5\) are 100, more than the 30 candidates"):
        ClipSelectEnv(bank, sections=20, clips=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ClipSelectEnv(bank, sections=10, clips=3)


def test_environments_of_processes_agree_with_those_of_one(bank, tmp_path):
    """Gymnasium's own vectorisation of the scalar environment."""
    made = []
    for mode in ("sync", "async"):
        envs = gymnasium.make_vec(
            "VideoClipSelect-v0", num_envs=2, vectorization_mode=mode, bank=bank, observation="features"
        )
        observations, _ = envs.reset(seed=0)
        made.append((observations, envs.step(np.zeros((2, 6), dtype=np.int64))[1]))
        envs.close()
    for ours, theirs in zip(*made, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert torch.get_num_threads() == 1  # as the tests set it


@pytest.mark.parametrize("flat", [True, False])
def test_a_search_gives_arrays_too(bank, flat):
    env = ClipSearchVectorEnv(2, bank, frames=6, observation="features", flat=flat, output="numpy")
    observations, _ = env.reset(seed=0)
    assert env.observation_space.contains(observations)
    observations, rewards, terminated, _, infos = env.step(np.array([6, 0]))  # the first stops
    assert env.observation_space.contains(observations)
    assert (rewards.dtype, terminated.tolist()) == (np.float32, [True, False])
    assert env.single_observation_space.contains(infos["final_obs"][0])
    assert infos["final_info"]["length"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("VideoClipSelect-v0", {}),
        ("VideoFrameSelect-v0", {"frames": 6, "kept": 2}),
        ("VideoClipSearch-v0", {"frames": 6, "flat": True}),
    ],
)
@pytest.mark.parametrize("copy", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
@pytest.mark.parametrize("batched", [False, True], ids=["scalar", "batched"])
def test_a_copy_goes_on_where_its_original_stood(bank, name, options, copy, batched):
    options = {"bank": bank, "observation": "features", **options}
    env = gymnasium.make_vec(name, num_envs=2, **options) if batched else gymnasium.make(name, **options)
    env.reset(seed=3)
    env.action_space.seed(0)
    other = copy(env)
    for _ in range(5):
        action = env.action_space.sample()
        ours, theirs = env.step(action), other.step(action)
        for mine, its in zip(ours[:3], theirs[:3], strict=True):
            np.testing.assert_array_equal(np.asarray(mine), np.asarray(its))
        if not batched and ours[2]:
            np.testing.assert_array_equal(env.reset()[0], other.reset()[0])
