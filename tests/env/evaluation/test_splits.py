"""The mean over official splits."""

from __future__ import annotations

import math

import pytest

from vidselect_env.evaluation.evaluate import Result
from vidselect_env.evaluation.splits import mean_over_splits, read_results
from vidselect_env.evaluation.table import markdown_table, write_csv


def row(selector: str, top1: float, *, num_videos: int = 10, top5: float = 1.0) -> Result:
    return Result(
        selector=selector,
        num_videos=num_videos,
        top1=top1,
        top5=top5,
        mean_average_precision=top1 / 2,
        clips_per_video=6.0,
        scorer_gmacs=0.5,
        classifier_gmacs=2.0,
        relative_cost=0.4,
    )


def test_every_split_counts_the_same():
    tables = [[row("dsn", 0.9, num_videos=3783)], [row("dsn", 0.6, num_videos=3734)], [row("dsn", 0.3, num_videos=1)]]
    [mean] = mean_over_splits(tables)
    assert mean.top1 == pytest.approx(0.6)
    assert mean.mean_average_precision == pytest.approx(0.3)
    assert mean.num_videos == 7518
    assert (mean.clips_per_video, mean.classifier_gmacs) == (6.0, 2.0)


def test_seeds_stay_rows_of_their_own():
    tables = [
        [row("dsn", 0.9), row("uniform", 0.5), row("dsn", 0.7)],
        [row("dsn", 0.5), row("dsn", 0.3), row("uniform", 0.1)],
    ]
    assert [(mean.selector, round(mean.top1, 9)) for mean in mean_over_splits(tables)] == [
        ("dsn", 0.7),
        ("dsn", 0.5),
        ("uniform", 0.3),
    ]


def test_tables_of_other_selectors_are_refused():
    with pytest.raises(
        ValueError, match=r"rows of table 2 \(\{'uniform': 1\}\) must be those of the first \(\{'dsn': 1\}"
    ):
        mean_over_splits([[row("dsn", 1.0)], [row("uniform", 1.0)]])
    with pytest.raises(ValueError, match="there is no table"):
        mean_over_splits([])


def test_results_are_read_as_they_were_written(tmp_path):
    written = [row("dsn", 0.1 + 0.2, top5=math.nan), row("uniform", 1 / 3)]
    write_csv(tmp_path / "results.csv", written)
    read = read_results(tmp_path / "results.csv")
    assert repr(read) == repr(written)  # nan differs from itself
    assert "| dsn | 30.0 |" in markdown_table(mean_over_splits([read]))
    (tmp_path / "other.csv").write_text("selector,top1\n")
    with pytest.raises(ValueError, match="lacks the column classifier_gmacs"):
        read_results(tmp_path / "other.csv")
