"""Every kind of agent through the scripts, as a user runs them: plug-ins, in a benchmark, sampled classifiers."""

from __future__ import annotations

import torch
from safetensors.torch import save_file

from vidselect_agents.commands.benchmark_jobs import parse_agent

PLUGIN = """
import torch

class Broken:
    def __init__(self, env, *, seed=0):
        raise RuntimeError("not today")

class Zero:
    def __init__(self, env, *, seed=0):
        self.env = env
    def learn(self, total_timesteps, callback=None, progress_bar=False):
        return self
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return torch.zeros(len(observation), 2, dtype=torch.int64).numpy(), state
    def save(self, path):
        torch.save(0, path)
    @classmethod
    def load(cls, path):
        assert torch.load(path) == 0
        return cls(None)
"""


def test_a_benchmark_has_a_row_an_agent_resumes_and_survives_a_failure(run_script, workroom, common):
    (workroom / "plugin.py").write_text(PLUGIN)
    filters = workroom / "filters.safetensors"
    save_file({"weight": torch.randn(8, 3, 7, 7)}, filters)
    own = f"mgsampler,difference=feature,filters={filters}"
    arguments = ["--agents", "dsn", "as", "plugin:Zero", "plugin:Broken", own, "uniform", "dense"]
    arguments += ["--seeds", "2", "--total-timesteps", "16", *common, "--frames", "6", "--kept", "2"]
    output = run_script("benchmark.py", *arguments, ok=False)
    assert "error: plugin:Broken failed: RuntimeError: not today" in output
    table = (workroom / "runs" / "benchmark" / "table.md").read_text()
    for row in ("dsn", "as", "plugin:Zero", own, "uniform", "dense"):
        assert f"| {row} |" in table
    assert "`plugin:Broken` failed: RuntimeError: not today" in table
    result = workroom / "runs" / "benchmark" / "dsn-1" / "result.json"
    before = result.stat().st_mtime_ns
    run_script("benchmark.py", *arguments, ok=False)
    assert result.stat().st_mtime_ns == before
    output = run_script("benchmark.py", *arguments, "--penalty", "0.1", ok=False)
    assert "holds results with penalty 0.5, not 0.1: choose another --out" in output


def test_a_plugin_is_evaluated_later_and_recognises(run_script, workroom, video_folder, common):
    (workroom / "plugin.py").write_text(PLUGIN)
    runs = ["--runs", str(workroom / "plugged")]
    run_script("train_agent.py", "--agent", "plugin:Zero", "--total-timesteps", "4", *runs, *common)
    [folder] = (workroom / "plugged").iterdir()
    assert "give --trust" in run_script("evaluate_agent.py", str(folder), *runs, ok=False)
    assert "plugin:Zero" in run_script("evaluate_agent.py", str(folder), "--trust", *runs)
    output = run_script("recognise.py", "--run", str(folder), "--trust", str(video_folder / "test" / "left" / "0.mp4"))
    assert "2 of 6 clips classified" in output


def test_settings_of_a_benchmarked_agent_are_values_not_texts():
    text = "scsampler,pretrained=False,num_classes=None,margin=0.2,streams=vectors+intra,combination=joint"
    settings = {"pretrained": False, "num_classes": None, "margin": 0.2}
    assert parse_agent(text) == ("scsampler", settings | {"streams": ("vectors", "intra"), "combination": "joint"})


def test_an_agent_that_needs_the_classifier_first_recognises_nothing(run_script, workroom, video_folder, common_frames):
    runs = ["--runs", str(workroom / "as")]
    run_script("train_agent.py", "--agent", "as", "--total-timesteps", "4", *runs, *common_frames)
    [folder] = (workroom / "as").iterdir()
    video = str(video_folder / "test" / "left" / "0.mp4")
    output = run_script("recognise.py", "--run", str(folder), video, ok=False)
    assert "looks at features+predictions: it needs the classifier first" in output
    output = run_script("evaluate_agent.py", str(folder), "--sections", "1", ok=False)
    assert "--sections 1 is no option of VideoFrameSelect-v0" in output


def test_scsampler_is_trained_evaluated_with_other_weights_and_recognises(
    run_script, workroom, video_folder, common_frames
):
    """The small folder's videos have no sound: they are judged by sight."""
    arguments = ["--agent", "scsampler", "--total-timesteps", "16", "--runs", str(workroom / "sc"), *common_frames]
    run_script("train_agent.py", *arguments)
    [folder] = (workroom / "sc").iterdir()
    for picture in ("selection.png", "places.png", "ranked.png"):
        assert (folder / picture).stat().st_size > 1000
        assert picture in (folder / "report.md").read_text()
    output = run_script(
        *("evaluate_agent.py", str(folder), "--weights", common_frames[3], "--kept", "1"),
        *("--runs", str(workroom / "sc-eval")),
    )
    assert "scsampler" in output
    output = run_script("recognise.py", "--run", str(folder), str(video_folder / "test" / "left" / "0.mp4"))
    assert "2 of 6 clips classified" in output


def test_mgsampler_draws_the_motion_of_a_video_and_takes_clips_end_to_end(run_script, workroom, common_frames):
    arguments = ["--agent", "mgsampler", "--runs", str(workroom / "mg"), *common_frames]
    options = ["--candidates", "None", "--frames", "None", "--kept", "2"]
    run_script("train_agent.py", *arguments, *options)
    [folder] = (workroom / "mg").iterdir()
    assert (folder / "motion.png").stat().st_size > 1000


def test_a_classifier_is_converted_and_its_bank_charges_each_clip(run_script, workroom, video_folder, common):
    runs = workroom / "sgs"
    run_script(
        *("train_classifier.py", "--dataset", f"folder:{video_folder}", "--weights", common[3]),
        *("--sgs", "layer2", "--epochs", "1", "--batch-size", "4", "--runs", str(runs)),
    )
    [folder] = runs.iterdir()
    arguments = [*common[:2], "--weights", str(folder / "weights.safetensors"), *common[4:], "--sgs", "layer2"]
    run_script("train_agent.py", "--agent", "uniform", "--runs", str(workroom / "sgs-agent"), *arguments)
    [report] = (workroom / "sgs-agent").glob("*/report.md")
    assert "GMACs a clip on average, at most" in report.read_text()
    assert (report.parent / "bins.png").stat().st_size > 1000
    output = run_script(
        *("build_bank.py", "--dataset", f"folder:{video_folder}", "--out", str(workroom / "sgs-bank")),
        *("--weights", str(folder / "weights.safetensors"), "--sgs", "layer2", "--candidates", "None"),
    )
    assert "fewest maps kept" in output
