"""Files beside runs that a stranger may have sent, weights, checkpoints, results, banks, lists: nothing is executed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hostile import MARK, Payload, at_most, module_with_a_mark, pickled, zipped

from vidselect_agents import make_agent
from vidselect_agents.commands.benchmark_jobs import TimedResult
from vidselect_agents.commands.checkpoint import CHECKPOINT, Checkpoints
from vidselect_classifiers import load_weights, make_classifier
from vidselect_env import stores
from vidselect_env.bank import BankError, format, open_bank
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.comparison import read_report
from vidselect_env.evaluation.splits import read_results
from vidselect_env.fitting.checkpoint import read_checkpoint
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import index_video
from vidselect_env.video.motion import load_filters

PACKED = pytest.mark.parametrize("pack", [pickled, zipped], ids=["pickle", "archive"])


@PACKED
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pyth", ".safetensors"])
def test_weights_as_a_pickle_execute_nothing(tmp_path, count_trial, suffix, pack):
    pack(f"evil{suffix}")(tmp_path, tmp_path / MARK)
    with pytest.raises(ValueError, match="cannot be read"):
        load_weights(make_classifier("tiny_r3d"), tmp_path / f"evil{suffix}")
    assert not (tmp_path / MARK).exists()
    count_trial("hostile runs", "nothing executed")


@PACKED
@pytest.mark.parametrize("of", ["an agent", "a classifier"])
def test_a_pickled_checkpoint_executes_nothing(received, tmp_path, make_bank, count_trial, of, pack):
    pack(CHECKPOINT)(received, tmp_path / MARK)
    problem = ClipSelectProblem(BankSource(make_bank()), observation="features")
    agent = make_agent("dsn", SelectVectorEnv(problem, num_envs=4))
    read = {
        "an agent": lambda: Checkpoints(received, None, agent.logger, every=1).resume(agent),
        "a classifier": lambda: read_checkpoint(received),
    }
    with pytest.raises(ValueError, match="cannot be taken up"):
        read[of]()
    assert not (tmp_path / MARK).exists()
    count_trial("hostile runs", "nothing executed")


READERS = {
    "result.json": TimedResult.read,
    "results.csv": read_results,
    "report.html": read_report,
    "filters.safetensors": load_filters,
}


@PACKED
@pytest.mark.parametrize("name", READERS)
def test_pickled_results_execute_nothing(received, tmp_path, count_trial, name, pack):
    pack(name)(received, tmp_path / MARK)
    with pytest.raises(ValueError, match=r".+"):
        READERS[name](received / name)
    assert not (tmp_path / MARK).exists()
    count_trial("hostile runs", "nothing executed")


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path, count_trial, name):
    os.mkfifo(tmp_path / name)
    with at_most(10), pytest.raises((ValueError, OSError), match=name):
        READERS[name](tmp_path / name)
    count_trial("hostile runs", "nothing executed")


@pytest.mark.parametrize("zipped", [False, True], ids=["pickle", "archive"])
@pytest.mark.parametrize(
    "name", ["manifest.json", "spec.json", "shard-00000.safetensors", "shard-00000.safetensors.sha256"]
)
def test_a_pickled_bank_executes_nothing(whole_bank, tmp_path, count_trial, name, zipped):
    folder, mark = tmp_path / "pickled", tmp_path / MARK
    shutil.copytree(whole_bank, folder)
    if zipped:
        torch.save(Payload(mark), folder / name)
    else:
        pickled(name)(folder, mark)
    for read in (lambda: open_bank(folder, verify=True), lambda: format.read_spec(folder)):
        with contextlib.suppress(BankError):
            read()
    assert not mark.exists()
    count_trial("hostile runs", "nothing executed")


@pytest.mark.parametrize(
    "by", ["reference://a.mp4::file://{}", "REFERENCE://a.mp4::file://{}", "zip://a::reference://{}"]
)
def test_a_list_of_videos_whose_templates_are_code_executes_nothing(tmp_path, count_trial, by):
    """A file of references fills its templates in by Jinja, in which attributes of objects lead to everything."""
    mark = tmp_path / MARK
    code = "{{ cycler.__init__.__globals__.os.mkdir('" + str(mark) + "') }}"
    generated = [{"key": "g{{i}}", "url": code, "dimensions": {"i": [1]}}]
    references = {"version": 1, "templates": {"u": code}, "gen": generated, "refs": {"a.mp4": ["{{u}}", 0, 10]}}
    (tmp_path / "references.json").write_text(json.dumps(references))
    url = by.format(tmp_path / "references.json")
    (tmp_path / "list.csv").write_text(f"path,label,split\n{url},a,train\n")
    with pytest.raises(ValueError, match=r"list\.csv', line 2: .* is (refused: reference|of no known store)"):
        load_dataset(f"csv:{tmp_path / 'list.csv'}", split="train")
    for read in (stores.size_of, stores.local_copy, index_video):
        with pytest.raises((ValueError, VideoError), match=r"is (refused: reference|of no known store)"):
            read(url)
    assert not mark.exists()
    count_trial("hostile runs", "nothing executed")


@pytest.mark.slow
def test_a_command_that_is_started_in_a_run_takes_no_module_of_it(received, tmp_path, count_trial):
    """Modules called as those that we import late, and those that Python imports by itself."""
    for name in ("yaml", "jinja2", "torchmetrics", "matplotlib", "sitecustomize", "usercustomize", "av", "fsspec"):
        module_with_a_mark(received / f"{name}.py", tmp_path / MARK)
    command = [str(Path(sys.executable).with_name("vidselect")), "evaluate", ".", "--dataset", "folder:nowhere"]
    if not Path(command[0]).exists():
        pytest.skip("the package is not installed here: there is no command vidselect")
    done = subprocess.run(command, cwd=received, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr
    assert "nowhere" in done.stderr
    assert not (tmp_path / MARK).exists()
    count_trial("hostile runs", "nothing executed")
