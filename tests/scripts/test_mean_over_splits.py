"""The mean over official splits, from runs' folders."""

from __future__ import annotations

import sys
from pathlib import Path

from vidselect_env.evaluation.evaluate import Result
from vidselect_env.evaluation.table import write_csv

COMMAND = Path(sys.executable).parent / "vidselect"


def test_three_runs_make_one_table(warm, tmp_path):
    for number, top1 in enumerate((0.5, 0.25, 0.0), 1):
        (tmp_path / f"split{number}").mkdir()
        costs = {"clips_per_video": 6, "scorer_gmacs": 0, "classifier_gmacs": 1, "relative_cost": 0.2}
        row = Result(
            selector="dsn", num_videos=8, top1=top1, top5=float("nan"), mean_average_precision=2 * top1, **costs
        )
        write_csv(tmp_path / f"split{number}" / "results.csv", [row])
    runs = [str(tmp_path / f"split{number}") for number in (1, 2, 3)]
    ended = warm.run(COMMAND, "mean", *runs, folder=tmp_path, environment={})
    assert ended.status == 0, ended.output
    assert "| dsn | 25.0 |  | 50.0 | 6.0 | 0.0000 | 1.0000 | 0.20 |" in ended.output
