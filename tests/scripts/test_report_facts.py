"""A report says what was judged: the weights, a fitted head, and what could not be read."""

from __future__ import annotations

from vidselect_agents.commands import main


def test_weights_head_and_skipped_files_are_in_both_reports(make_video, tmp_path, monkeypatch):
    """The package's weights know other classes, so that a head is fitted; one test video is none."""
    monkeypatch.setenv("VIDSELECT_CACHE", str(tmp_path / "cache"))
    videos = tmp_path / "videos"
    places = [(split, name, number) for split in ("train", "test") for name in ("left", "oranges") for number in (0, 1)]
    for seed, (split, name, number) in enumerate(places):
        make_video(videos / split / name / f"{number}.mp4", num_frames=20, seed=seed)
    broken = videos / "test" / "left" / "broken.mp4"
    broken.write_bytes(b"no video")
    options = ["--candidates", "2", "--sections", "1", "--clips", "2", "--folds", "2", "--num-workers", "1"]
    main(["train", "--agent", "uniform", "--dataset", f"folder:{videos}", "--runs", str(tmp_path / "runs"), *options])
    [run] = (tmp_path / "runs").iterdir()
    for report in ("report.md", "report.html"):
        text = (run / report).read_text()
        assert "default, sha256 " in text, report
        assert "fitted on the training videos: " in text, report
        assert str(broken) in text, report
