"""A long video is recognised window by window: what is seen when, in order, with nothing kept between windows."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from vidselect_env.experiment import timeline
from vidselect_env.experiment.recognise import Recognition
from vidselect_env.experiment.windows import Decision, milliseconds_of, recognise_windows, spans_of, window_bounds
from vidselect_env.video.errors import VideoError
from vidselect_env.video.excerpt import save_excerpt
from vidselect_env.video.index import index_video


@pytest.fixture(scope="module")
def film(tmp_path_factory, colours) -> Path:
    """30 seconds at 10 frames/s: red for 10 s, green for 10 s, blue for 10 s; a keyframe every second."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast", "g": "10"})
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number in range(300):
            picture = np.broadcast_to(np.array(colours.shades[number // 100], dtype=np.uint8), (32, 32, 3))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_windows_cover_a_video_to_its_end():
    assert window_bounds(23, window_s=10, every_s=5) == [(0, 10), (5, 15), (10, 20), (15, 23)]
    assert window_bounds(20, window_s=10, every_s=10) == [(0, 10), (10, 20)]
    assert window_bounds(4, window_s=10, every_s=5) == [(0, 4)]
    with pytest.raises(ValueError, match=r"every_s \(11\) must be at most window_s \(10\)"):
        window_bounds(23, window_s=10, every_s=11)
    with pytest.raises(ValueError, match=r"window_s \(0\) must be a positive number"):
        window_bounds(23, window_s=0, every_s=1)


@pytest.fixture
def decided(film, colours) -> Callable[..., list[Decision]]:
    """The decisions about the film's windows."""

    def decide(**options: Any) -> list[Decision]:
        options = {"selector": colours.selector(), "window_s": 4.0, "every_s": 2.0} | colours.of_problem() | options
        with torch.inference_mode():
            return list(recognise_windows(index_video(film), options.pop("selector"), **options))

    return decide


def test_every_window_has_the_class_that_is_in_it(decided):
    decisions = decided()
    assert [decision.start_s for decision in decisions] == list(range(0, 28, 2))
    for decision in decisions:
        classes = {int(decision.start_s // 10), int((decision.end_s - 0.1) // 10)}
        assert decision.label in classes
        assert decision.found is not None
        assert len(decision.found.classified) == 2
        starts = decision.found.start_s
        assert ((starts >= decision.start_s) & (starts < decision.end_s)).all()
        shown = (decision.found.frames.double() / 10).round(decimals=3)
        torch.testing.assert_close(shown[:, 0], starts, atol=0.002, rtol=0)
    assert set(milliseconds_of(decisions)) == {"look", "score", "decode", "classify"}


def test_what_is_seen_when_is_what_the_film_shows(decided):
    spans = spans_of(decided())
    assert [span.label for span in spans] == [0, 1, 2]
    assert [span.start_s for span in spans] == pytest.approx([0, 10, 20], abs=2)
    assert [span.end_s for span in spans] == pytest.approx([10, 20, 30], abs=2)
    assert [span.end_s for span in spans[:-1]] == [span.start_s for span in spans[1:]]


def test_a_window_never_holds_the_looks_of_another(decided, colours):
    selector = colours.selector()
    decided(selector=selector, window_s=3, every_s=3)
    assert selector.seen == [4] * 10


def test_a_window_that_cannot_be_recognised_says_why(decided, monkeypatch):
    """As of a damaged part: the others are recognised."""
    import vidselect_env.experiment.windows as module

    whole = module.recognise_indexed

    def damaged(index, *arguments, **options):
        if index.first == 100:
            raise VideoError(index.info.path, "frame 3 does not decode")
        return whole(index, *arguments, **options)

    monkeypatch.setattr(module, "recognise_indexed", damaged)
    decisions = decided(window_s=10.0, every_s=10.0)
    assert [decision.label for decision in decisions] == [0, None, 2]
    assert decisions[1].reason == "frame 3 does not decode"
    assert [span.label for span in spans_of(decisions)] == [0, None, 2]


def test_spans_do_not_overlap_where_windows_do():
    def decision(start_s: float, end_s: float, label: int) -> Decision:
        probabilities = torch.nn.functional.one_hot(torch.tensor(label), 2).float()
        found = Recognition(probabilities, torch.zeros(1), torch.zeros(1), torch.zeros(1, 2), 4)
        return Decision(start_s, end_s, found)

    spans = spans_of([decision(0, 10, 0), decision(5, 15, 0), decision(10, 20, 1)])
    assert [(span.label, span.start_s, span.end_s) for span in spans] == [(0, 0, 12.5), (1, 12.5, 20)]
    assert spans_of([]) == []


def test_a_timeline_is_written_in_every_form(decided, colours, tmp_path):
    decisions = decided(window_s=10.0, every_s=10.0)
    spans = spans_of(decisions)
    timeline.write_timeline_csv(tmp_path / "t.csv", "film", decisions, colours.names)
    with (tmp_path / "t.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["class"], float(row["from_s"]), float(row["to_s"])) for row in rows] == [
        ("red", 0, 10),
        ("green", 10, 20),
        ("blue", 20, 30),
    ]
    timeline.write_timeline_json(tmp_path / "t.json", "film", decisions, spans, colours.names, {"look": 1.0})
    told = json.loads((tmp_path / "t.json").read_text())
    assert [span["class"] for span in told["spans"]] == list(colours.names)
    assert sum(told["decisions"][0]["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    timeline.write_srt(tmp_path / "t.srt", spans, colours.names)
    blocks = (tmp_path / "t.srt").read_text().split("\n\n")
    assert blocks[1].splitlines()[:2] == ["2", "00:00:10,000 --> 00:00:20,000"]
    assert blocks[1].splitlines()[2].startswith("green ")
    timeline.plot_timeline(tmp_path / "t.png", spans, colours.names)
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    assert timeline.clock(3723.5) == "01:02:03,500"


@pytest.mark.parametrize(("first", "copied"), [(100, True), (104, False)])
def test_a_clip_is_saved_by_copying_where_it_starts_with_a_keyframe(film, tmp_path, first, copied):
    path = tmp_path / "clip.mp4"
    assert save_excerpt(path, index_video(film), first=first, last=first + 7) == copied
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 8
    for frame in frames:
        assert frame.mean((0, 1)).argmax() == 1  # green
    with pytest.raises(ValueError, match="frames 290 to 300 must be among the 300"):
        save_excerpt(path, index_video(film), first=290, last=300)
