"""The scripts, run as a user runs them, on a small folder of videos."""

from __future__ import annotations

import csv
import json
import shutil


def test_training_a_classifier_leaves_weights_log_and_checkpoint(classifier_run):
    names = {file.name for file in classifier_run.iterdir()}
    assert {"config.json", "metrics.csv", "weights.safetensors", "checkpoint.pt"} <= names


def test_a_finished_classifier_run_resumes_to_the_same_weights(run_script, classifier_run):
    before = (classifier_run / "weights.safetensors").read_bytes()
    run_script("train_classifier.py", "--resume", str(classifier_run))
    assert (classifier_run / "weights.safetensors").read_bytes() == before


def test_a_run_is_a_folder_with_everything_in_it(agent_run):
    names = {file.name for file in agent_run.iterdir()}
    expected = {
        "config.json",
        "metrics.csv",
        "agent.safetensors",
        "report.md",
        "report.html",
        "results.csv",
        "sweep.csv",
    }
    assert expected | {"accuracy_clips.png", "accuracy_gmacs.png", "selection.png"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    config = json.loads((agent_run / "config.json").read_text())
    assert config["experiment"]["problem"]["sections"] == 2
    assert config["agent_settings"]["samples_per_context"] == 2
    assert config["versions"]["torch"]
    with (agent_run / "metrics.csv").open() as stream:
        columns = set(next(csv.reader(stream)))
    assert {"rollout/ep_rew_mean", "rollout/regret_cumulative", "train/entropy"} <= columns
    for selector in ("dsn", "random", "uniform", "dense", "oracle"):
        assert f"| {selector} |" in (agent_run / "report.md").read_text()


def test_a_saved_run_is_evaluated_on_another_number_of_sections(run_script, workroom, agent_run):
    run_script("evaluate_agent.py", str(agent_run), "--sections", "1")
    [folder] = (workroom / "runs").glob("eval-dsn-*")
    with (folder / "results.csv").open() as stream:
        clips = {row["selector"]: float(row["clips_per_video"]) for row in csv.DictReader(stream)}
    assert clips == {"random": 1, "uniform": 1, "dense": 3, "oracle": 1, "most_confident": 1, "dsn": 1}


def test_a_saved_run_is_evaluated_from_any_folder_and_finds_its_banks(run_script, workroom, agent_run, tmp_path):
    banks = {folder.name for folder in (workroom / "cache" / "banks").iterdir()}
    run_script("evaluate_agent.py", str(agent_run), place=tmp_path)
    [folder] = (tmp_path / "runs").glob("eval-dsn-*")
    assert len((folder / "results.csv").read_text().splitlines()) > 1
    assert {folder.name for folder in (workroom / "cache" / "banks").iterdir()} == banks


def test_a_saved_run_is_evaluated_on_a_folder_without_a_training_split(run_script, workroom, video_folder, agent_run):
    shutil.copytree(video_folder / "test", workroom / "only-test" / "test")
    run_script(
        *("evaluate_agent.py", str(agent_run), "--dataset", f"folder:{workroom / 'only-test'}"),
        *("--runs", str(workroom / "tested")),
    )
    [folder] = (workroom / "tested").iterdir()
    assert (folder / "results.csv").exists()
    output = run_script("evaluate_agent.py", str(agent_run), "--kept", "1", ok=False)
    assert "--kept 1 is no option of VideoClipSelect-v0" in output


def test_a_video_is_recognised_by_the_clips_that_a_run_chooses(run_script, video_folder, agent_run):
    good, bad = video_folder / "test" / "left" / "0.mp4", video_folder.parent / "bad.mp4"
    bad.write_bytes(b"not a video")
    output = run_script("recognise.py", "--run", str(agent_run), str(good), str(bad), ok=False)
    assert "2 of 6 clips classified" in output
    assert "left" in output
    assert "right" in output
    assert "cannot read video" in output
    output = run_script("recognise.py", "--run", str(agent_run), str(good), "--sections", "1", "--candidates", "3")
    assert "1 of 3 clips classified" in output
    output = run_script("recognise.py", "--run", str(agent_run), str(good), "--compare", "dense")
    assert "dense: milliseconds: look" in output
    assert "the same class in" in output
    output = run_script("recognise.py", "--run", str(agent_run), str(good), "--kept", "1", ok=False)
    assert "--kept 1 is no option of VideoClipSelect-v0" in output


def test_long_videos_are_recognised_by_windows_side_by_side(run_script, workroom, video_folder, agent_run):
    videos = [str(video_folder / "test" / "left" / f"{number}.mp4") for number in (2, 3)]  # 30 and 35 frames, 15 a s
    out = workroom / "windows"
    output = run_script(
        *("recognise.py", "--run", str(agent_run), *videos, "--window", "1.5", "--every", "1", "--jobs", "2"),
        *("--csv", str(out / "csv"), "--srt", str(out / "srt"), "--save-clips", str(out / "clips")),
    )
    assert output.count("2 windows; 4 of 12 clips classified") == 2
    assert "x real time" in output
    with (out / "csv" / "3.mp4.csv").open() as stream:
        assert [float(row["from_s"]) for row in csv.DictReader(stream)] == [0, 1]
    assert " --> " in (out / "srt" / "2.mp4.srt").read_text()
    assert len(list((out / "clips").glob("*.mp4"))) >= 4


def test_same_seed_same_run_and_another_seed_another(run_script, workroom, agent_run, common):
    hashes = []
    for seed in ("0", "1"):
        runs = workroom / f"seed-{seed}"
        arguments = ["--total-timesteps", "32", "--samples-per-context", "2", "--seed", seed, "--runs", str(runs)]
        run_script("train_agent.py", "--agent", "dsn", *arguments, *common)
        [folder] = runs.iterdir()
        hashes.append((folder / "agent.safetensors").read_bytes())
    assert hashes[0] == (agent_run / "agent.safetensors").read_bytes()
    assert hashes[1] != hashes[0]


def test_other_classes_get_a_head_of_their_own(run_script, workroom, video_folder, common):
    """The package's weights know eight classes; four videos a class are enough for four folds only."""
    for split in ("train", "test"):
        for old, new in (("left", "oranges"), ("right", "lemons")):
            shutil.copytree(video_folder / split / old, workroom / "fruit" / split / new)
    arguments = ["--dataset", f"folder:{workroom / 'fruit'}", *common[4:], "--total-timesteps", "8"]
    arguments += ["--runs", str(workroom / "head")]
    output = run_script("train_agent.py", "--agent", "dsn", *arguments, ok=False)
    assert "fitting a linear head on 8 training videos" in output
    assert "class 0 has 4 videos: 5 folds need at least as many" in output
    run_script("train_agent.py", "--agent", "dsn", "--folds", "2", *arguments)
    [folder] = (workroom / "head").iterdir()
    assert (folder / "head.safetensors").exists()


def test_head_only_training_makes_weights_that_load(run_script, run_command, workroom, video_folder):
    arguments = ["--dataset", f"folder:{video_folder}", "--weights", "default", "--head-only", "--clips", "2"]
    run_script("train_classifier.py", *arguments, "--runs", str(workroom / "head-only"))
    [folder] = (workroom / "head-only").iterdir()
    output = run_script(
        *("build_bank.py", "--dataset", f"folder:{video_folder}", "--out", str(workroom / "bank")),
        *("--weights", str(folder / "weights.safetensors"), "--candidates", "2"),
    )
    assert "8 videos, 2 classes" in output
    assert "8 videos, 2 classes" in run_command("bank", "show", str(workroom / "bank"), "--verify")
