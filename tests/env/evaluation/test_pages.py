"""The report that one browses, read back: nothing from outside, everything of every video."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from vidselect_env.bank import ClipBank, bank_spec, build_bank
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import Result, evaluate
from vidselect_env.evaluation.frontier import frontier
from vidselect_env.evaluation.pages import video_pages, write_page


class Takes:
    """The clip of this number in each section."""

    needs = Needs(fields=())

    def __init__(self, number: int) -> None:
        self.number = number

    def select(self, looks):
        return looks.choice.selection(torch.full((len(looks), 2), self.number))

    def cost_gmacs(self, shapes):
        return 0.0


class Read(HTMLParser):
    """Elements by their name: attributes, and the text in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data.strip())

    def of(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        return [own for name, own in self.elements if name == tag and kind in [*(own.get("class") or "").split(), ""]]


def hand_bank() -> ClipBank:
    """Two videos of class `1`: the classifier is right about clips 0 and 2 of the first, and 1 and 3 of the second."""
    right = torch.tensor([[0.9, 0.2, 0.8, 0.3], [0.1, 0.7, 0.4, 0.6]])
    spans = torch.tensor([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0], [3.0, 4.0]]).expand(2, 4, 2)
    return ClipBank.from_tensors(
        torch.stack([1 - right, right], -1).log(),
        [1, 1],
        features=torch.zeros(2, 4, 1),
        spans_s=spans,
        action_spans_s=[((2.0, 3.0),), ()],
    )


def written(problem, folder: Path, *, agent=None, **options) -> Path:
    selectors = {"uniform": Takes(1), "<b>mine</b>": agent or Takes(0)}
    results = {name: evaluate(each, problem, name=name) for name, each in selectors.items()}
    sweep = {2: list(results.values())}
    pages = video_pages(*reversed(selectors.values()), problem, results=results, name="<b>mine</b>")
    facts = {"seed": 0, "videos": "<i>some</i>"}
    return write_page(
        folder, list(results.values()), sweep, pages, title="a & b", agent="<b>mine</b>", facts=facts, **options
    )


@pytest.fixture
def page(tmp_path) -> Path:
    problem = ClipSelectProblem(BankSource(hand_bank()), num_sections=2, num_clips=2, observation="features")
    return written(problem, tmp_path, references=["uniform"])


def test_a_page_needs_nothing_but_itself(page):
    text = page.read_text()
    read = Read(text)
    assert not read.of("link")
    assert not [own for own in read.of("script") if "src" in own]
    assert all((own["src"] or "").startswith("data:image/jpeg;base64,") for own in read.of("img"))
    assert not re.findall(r"(?:https?:)?//[a-z]", re.sub(r"data:image/jpeg;base64,[^\"]*", "", text))


def test_names_are_text_and_never_markup(page):
    read = Read(page.read_text())
    assert "<b>mine</b>" in read.texts
    assert "<i>some</i>" in read.texts
    assert not [own for own in read.of("i") if "style" not in own]  # those of the legend are the only ones


def test_every_video_says_who_is_right_and_what_was_chosen(page):
    read = Read(page.read_text())
    videos = read.of("article", "video")
    assert [(video["data-right"], video["data-uniform"]) for video in videos] == [("1", "0"), ("0", "1")]
    assert [video["data-labels"] for video in videos] == ['["1"]', '["1"]']
    bars = [own for own in read.of("rect") if "data-tip" in own]
    assert [own["data-tip"] for own in bars[:4]] == [
        "0.0 s, p = 0.90, chosen",
        "1.0 s, p = 0.20",
        "2.0 s, p = 0.80, chosen",
        "3.0 s, p = 0.30",
    ]
    assert [(own["class"] or "").split()[0] for own in bars] == [
        "hit",
        "miss",
        "hit",
        "miss",
        "miss",
        "hit",
        "miss",
        "hit",
    ]
    assert len(read.of("rect", "agent")) == len(read.of("rect", "uniform")) == 4


def test_the_true_span_is_where_the_action_is(page):
    [span] = Read(page.read_text()).of("rect", "action")
    assert (span["x"], span["width"]) == ("500", "250")  # 2 to 3 s of 4 s, in thousandths


def test_a_video_that_cannot_be_read_says_why_it_has_no_pictures(page):
    read = Read(page.read_text())
    assert not read.of("img")
    assert len([text for text in read.texts if text.startswith("no pictures: ")]) == 2


def result(name: str, top1: float, gmacs: float) -> Result:
    return Result(
        selector=name,
        num_videos=10,
        top1=top1,
        top5=0.0,
        mean_average_precision=0.0,
        clips_per_video=2.0,
        scorer_gmacs=0.0,
        classifier_gmacs=gmacs,
        relative_cost=1.0,
    )


def test_the_frontier_goes_right_with_cost_and_up_with_accuracy():
    sweep = {1: [result("uniform", 0.4, 1.0), result("mine", 0.5, 2.0)], 2: [result("mine", 0.7, 20.0)]}
    plot = frontier(sweep, agent="mine", dashed=["uniform"])
    mine, uniform = plot.lines
    assert (mine.name, mine.is_dashed, uniform.is_dashed) == ("mine", False, True)
    cheap, dear = mine.points
    assert uniform.points[0].x < cheap.x < dear.x
    assert uniform.points[0].y > cheap.y > dear.y  # pixels are counted from the top
    assert dear.says == "mine: 70.0 % at 20 GMACs, 2.0 clips a video"
    assert [text for _, text in plot.y_ticks] == ["40", "50", "60", "70"]
    assert "10" in [text for _, text in plot.x_ticks]
    with pytest.raises(ValueError, match="no result to draw"):
        frontier({}, agent="mine")


@pytest.fixture(scope="module")
def real_problem(tmp_path_factory, video_folder) -> ClipSelectProblem:
    from vidselect_classifiers import make_classifier

    classifier = make_classifier("tiny_r3d", num_classes=2)
    dataset = load_dataset(f"folder:{video_folder}", split="test")
    spec = bank_spec(dataset, classifier, num_clips=6)
    bank = build_bank(tmp_path_factory.mktemp("bank"), dataset, classifier, spec=spec, progress=False)
    return ClipSelectProblem(BankSource(bank), num_sections=2, num_clips=3)


def test_chosen_clips_have_pictures_small_enough_for_400_videos(real_problem, tmp_path):
    page = written(real_problem, tmp_path)
    read = Read(page.read_text())
    assert len(read.of("img")) == 8 * 2
    empty = 30_000
    assert (page.stat().st_size - empty) / 8 * 400 < 15e6 / 3  # two clips are chosen here, six usually


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to open the page in")
def test_a_browser_opens_filters_and_sorts(page, tmp_path):
    """A script appended to the page plays the user, and writes what it sees into the title."""
    assert CHROMIUM is not None
    player = """
<script>
addEventListener("load", () => {
  const seen = () => [...document.querySelectorAll(".video")].filter(each => each.offsetParent !== null).length;
  const told = [seen()];
  const kind = document.querySelector("[name=kind]");
  for (const value of ["wrong", "differ"]) {
    kind.value = value;
    kind.dispatchEvent(new Event("change", {bubbles: true}));
    told.push(seen());
  }
  const first = () => document.querySelector("#results tbody tr td").textContent;
  document.querySelectorAll("#results th")[1].click();
  told.push(first());
  document.querySelectorAll("#results th")[0].click();
  told.push(first());
  document.title = told.join("|") + "|" + (document.documentElement.scrollWidth <= innerWidth);
});
</script>"""
    played = tmp_path / "played.html"
    played.write_text(page.read_text() + player)
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=390,800", "--dump-dom"]
    done = subprocess.run(
        [*command, "--virtual-time-budget=2000", f"--user-data-dir={tmp_path / 'profile'}", played.as_uri()],
        capture_output=True,
        text=True,
        timeout=240,
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title, done.stderr[-2000:]
    assert title.group(1) == "2|1|2|uniform|&lt;b&gt;mine&lt;/b&gt;|true"
