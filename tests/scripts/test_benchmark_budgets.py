"""A benchmark at several budgets: the curves of DSN's Fig. 4, in Top-1 and mAP, with intervals over seeds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from vidselect_agents.commands.benchmark import by_budget, report
from vidselect_agents.commands.benchmark_jobs import TimedResult, result_file
from vidselect_agents.commands.options.benchmark import BenchmarkConfig
from vidselect_env.files import write_json

RESULT = TimedResult(
    selector="dsn",
    num_videos=4,
    top1=0.5,
    top5=1.0,
    mean_average_precision=0.6,
    clips_per_video=1.0,
    scorer_gmacs=0.0,
    classifier_gmacs=0.1,
    relative_cost=0.1,
    right=(True, True, False, False),
)


def test_rows_of_other_budgets_are_their_agents_own():
    rows = [dataclasses.replace(RESULT, selector=name) for name in ("dsn", "dsn @ 1", "max_response @ 1", "dsn @ 10")]
    sweep = by_budget(rows, (1, 10))
    assert {kept: [row.selector for row in at] for kept, at in sweep.items()} == {
        1: ["dsn", "max_response"],
        10: ["dsn"],
    }


@pytest.mark.parametrize("also_kept", [(), (1, 2)])
def test_a_benchmark_draws_accuracy_against_clips_where_there_are_several_budgets(tmp_path, also_kept):
    config = BenchmarkConfig(agents=("dsn", "uniform"), seeds=2, also_kept=also_kept, out=tmp_path)
    for agent in config.agents:
        for seed in range(2):
            for kept in (None, *also_kept):
                name = agent if kept is None else f"{agent} @ {kept}"
                file = result_file(tmp_path, agent, seed, kept=kept)
                file.parent.mkdir(exist_ok=True)
                write_json(file, vars(dataclasses.replace(RESULT, selector=name, top1=0.5 + 0.1 * seed)))
    report(config, {})
    picture = tmp_path / "accuracy_clips.png"
    assert picture.exists() == bool(also_kept)
    if also_kept:
        both = np.asarray(Image.open(picture).convert("L"))
        halves = np.split(both[:, : both.shape[1] // 2 * 2], 2, axis=1)
        assert all((half < 128).mean() > 0.001 for half in halves)  # Top-1 and mAP, neither of them empty
