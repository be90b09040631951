"""Two reports side by side: what is taken from each, what is refused, and what a browser makes of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from vidselect_agents.commands import main
from vidselect_env.evaluation.comparison import read_report, write_comparison
from vidselect_env.evaluation.evaluate import Result
from vidselect_env.evaluation.pages import Candidate, VideoPage, write_page
from vidselect_env.experiment.run import RUN_FORMAT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def result(name: str, top1: float) -> Result:
    return Result(
        selector=name,
        num_videos=3,
        top1=top1,
        top5=1.0,
        mean_average_precision=0.5,
        clips_per_video=1.0,
        scorer_gmacs=0.0,
        classifier_gmacs=1.0,
        relative_cost=0.5,
    )


def video(name: str, *, right: bool, label: str = "<jump>") -> VideoPage:
    candidate = Candidate(0, 0.0, 1.0, 0.0, 0.9, right, True, False)
    return VideoPage(name, (label,), label if right else "other", right, False, (candidate,))


def made_run(folder: Path, agent: str, rights: list[bool], **settings: object) -> Path:
    """A run's folder with a report and a configuration."""
    folder.mkdir()
    videos = [video(f"{number} & co.mp4", right=right) for number, right in enumerate(rights)]
    results = [result(agent, sum(rights) / len(rights)), result("uniform", 0.0)]
    write_page(folder, results, {1: results}, videos, title=f"{agent} on it", agent=agent, facts={})
    (folder / "config.json").write_text(json.dumps({"format": RUN_FORMAT, "experiment": {"agent": agent, **settings}}))
    return folder


@pytest.fixture
def runs(tmp_path) -> tuple[Path, Path]:
    first = made_run(tmp_path / "dsn-1", "dsn", [True, True, False], seed=0, sections=6)
    return first, made_run(tmp_path / "ranking-1", "ranking", [True, False, True], seed=1, sections=6)


def test_a_report_is_taken_apart_again(runs):
    parts = read_report(runs[0] / "report.html")
    assert parts.title == "dsn on it"
    assert parts.headings[:2] == ("selector", "Top-1")
    assert [row[:2] for row in parts.rows] == [("dsn", "66.7"), ("uniform", "0.0")]
    assert [(each.name, each.labels, each.right) for each in parts.videos] == [
        ("0 & co.mp4", ("<jump>",), True),
        ("1 & co.mp4", ("<jump>",), True),
        ("2 & co.mp4", ("<jump>",), False),
    ]


def test_both_runs_stand_side_by_side_with_the_settings_that_differ(runs, capsys):
    main(["view", str(runs[0]), str(runs[1]), "--no-browser"])
    page = runs[0] / "against-ranking-1.html"
    assert capsys.readouterr().out.strip() == page.as_uri()
    text = page.read_text()
    assert re.findall(r'class="pair" data-right="(\d\d)"', text) == ["11", "10", "01"]
    assert "<tr><td>seed</td><td>0</td><td>1</td></tr>" in text
    assert "<td>sections</td>" not in text
    assert text.count("<article") == 6
    assert "<tr><td>ranking-1</td><td>ranking</td><td>66.7</td>" in text


def test_runs_of_other_videos_are_not_compared(runs, tmp_path):
    other = made_run(tmp_path / "other", "dsn", [True])
    with pytest.raises(ValueError, match=r"other test videos \('.*dsn-1' of 3 and '.*other' of 1\)"):
        write_comparison(tmp_path / "page.html", runs[0], other, settings={})


def test_a_damaged_report_is_one_error(runs, tmp_path):
    (runs[1] / "report.html").write_text("<title>nothing</title>")
    with pytest.raises(ValueError, match=r"has no style, thead, tbody"):
        write_comparison(tmp_path / "page.html", *runs, settings={})


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to open the page in")
def test_a_browser_shows_where_they_differ_first(runs, tmp_path):
    """A script appended to the page plays the user, and writes what it sees into the title."""
    assert CHROMIUM is not None
    page = tmp_path / "page.html"
    write_comparison(page, *runs, settings={"seed": (0, 1)})
    player = """
<script>
addEventListener("load", () => {
  const seen = () => [...document.querySelectorAll(".pair")].filter(each => each.offsetParent !== null).length;
  const told = [seen()], kind = document.querySelector("[name=kind]");
  for (const value of ["all", "10", "11", "00"]) {
    kind.value = value;
    kind.dispatchEvent(new Event("change", {bubbles: true}));
    told.push(seen());
  }
  document.title = told.join("|") + "|" + (document.documentElement.scrollWidth <= innerWidth);
});
</script>"""
    page.write_text(page.read_text() + player)
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=390,800", "--dump-dom"]
    done = subprocess.run(
        [*command, "--virtual-time-budget=2000", f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=480,
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title, done.stderr[-2000:]
    assert title.group(1) == "2|3|1|1|0|true"
