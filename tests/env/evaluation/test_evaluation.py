"""The evaluator, by hand."""

from __future__ import annotations

import csv
import math

import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy
from torchmetrics.functional.retrieval import retrieval_hit_rate

from vidselect_env.bank import ClipBank
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import Result, evaluate
from vidselect_env.evaluation.metrics import mean_and_interval, mean_average_precision, top_k_accuracy
from vidselect_env.evaluation.report import sweep_budgets, write_report
from vidselect_env.evaluation.table import cells, markdown_table, write_csv


class Takes:
    """Chooses the same candidates for every video."""

    needs = Needs(fields=())

    def __init__(self, *chosen: int) -> None:
        self.chosen = list(chosen)

    def select(self, looks):
        mask = torch.zeros_like(looks.valid)
        mask[:, self.chosen] = True
        return mask

    def cost_gmacs(self, shapes):
        return 0.0


class PredictsZero:
    """Third-party style: only `predict`."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        assert deterministic
        return torch.zeros(len(observation), 2, dtype=torch.int64).numpy(), state


def two_video_problem(**options) -> ClipSelectProblem:
    """Class 0 and class 1; clips 0 and 1 are right about video 0, clips 2 and 3 about video 1."""
    p = torch.tensor(
        [[[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]], [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8]]]
    )
    bank = ClipBank.from_tensors(p.log(), [0, 1], features=torch.zeros(2, 4, 1), classifier_gmacs=3.0)
    options = {"num_sections": 2, "num_clips": 2, "observation": "features"} | options
    return ClipSelectProblem(BankSource(bank), **options)


def test_accuracy_is_of_the_averaged_probabilities():
    assert evaluate(Takes(0), two_video_problem(), name="x").top1 == 0.5
    result = evaluate(Takes(0, 3), two_video_problem(), name="x")  # (.9 + .3) / 2 and (.1 + .8) / 2
    assert result.top1 == 0.5
    assert evaluate(Takes(0, 2), two_video_problem(), name="x").top1 == 0.5
    assert result.clips_per_video == 2
    assert result.classifier_gmacs == 6.0
    assert result.relative_cost == 0.5


def test_a_dropped_candidate_that_counts_a_little_is_paid_for():
    bank = ClipBank.from_tensors(torch.zeros(2, 4, 2), [0, 1], features=torch.zeros(2, 4, 1))
    problem = FrameSelectProblem(BankSource(bank), num_candidates=4, num_kept=1, alpha=0.5)
    assert evaluate(Takes(1), problem, name="x").clips_per_video == 4


def test_an_agent_with_only_predict_is_evaluated_and_pays_for_the_features_it_sees():
    result = evaluate(PredictsZero(), two_video_problem(), name="x")
    assert result.relative_cost == 1.0  # features of all four clips: the classifier ran on all


def test_contexts_of_single_sections_are_fused_by_video():
    class First(PredictsZero):
        def predict(self, observation, **options):
            return torch.zeros(len(observation), dtype=torch.int64).numpy(), None

    whole = evaluate(PredictsZero(), two_video_problem(), name="x")
    parts = evaluate(First(), two_video_problem(per_section=True), name="x")
    assert (parts.top1, parts.num_videos, parts.relative_cost) == (whole.top1, 2, 1.0)


@pytest.mark.parametrize("per_section", [False, True])
def test_a_candidate_offered_twice_is_classified_once(per_section):
    """Four sections of two clips on four candidates: the dense selector sees four clips, not eight."""
    problem = two_video_problem(num_sections=4, per_section=per_section)

    class All(Takes):
        def select(self, looks):
            return torch.ones_like(looks.valid)

    result = evaluate(All(), problem, name="x")
    assert (result.clips_per_video, result.relative_cost) == (4, 1.0)


def test_choosing_nothing_is_wrong():
    result = evaluate(Takes(), two_video_problem(), name="x")
    assert (result.top1, result.clips_per_video) == (0.0, 0)


def test_a_split_of_one_class_has_an_average_precision():
    assert mean_average_precision(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([[True, False]] * 2)) == 1.0


def test_top_k_with_several_labels():
    probabilities = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    targets = torch.tensor([[True, False, True], [False, False, True]])
    assert top_k_accuracy(probabilities, targets, k=1) == 0.5
    assert top_k_accuracy(probabilities, targets, k=3) == 1.0


def test_mean_average_precision_by_hand():
    """Class 0 ranks its two videos first and third: (1 + 2/3) / 2; class 1 ranks its one video first."""
    probabilities = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.1, 0.3, 0.6]])
    targets = torch.tensor([[True, False, False], [False, True, False], [True, False, False]])
    assert mean_average_precision(probabilities, targets) == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)


def test_interval_is_students():
    mean, interval = mean_and_interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert interval == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)  # t with 2 degrees of freedom
    assert math.isnan(mean_and_interval([1.0])[1])


def result(selector: str, top1: float) -> Result:
    return Result(
        selector=selector,
        num_videos=2,
        top1=top1,
        top5=1.0,
        mean_average_precision=0.5,
        clips_per_video=6.0,
        scorer_gmacs=0.0425,
        classifier_gmacs=0.114,
        relative_cost=0.457,
    )


def test_table_has_a_row_a_selector_with_intervals_over_seeds(tmp_path):
    results = [result("a", 0.5), result("b", 0.25), result("a", 0.7)]
    table = markdown_table(results).splitlines()
    assert len(table) == 4
    assert table[2].startswith("| a | 60.0 ± 127.1 | 100.0 |")
    assert table[3].startswith("| b | 25.0 | 100.0 |")
    assert cells([result("b", 0.25)])[4:] == ["0.0425", "0.1140", "0.46"]
    write_csv(tmp_path / "x.csv", results)
    with (tmp_path / "x.csv").open() as stream:
        assert [row["top1"] for row in csv.DictReader(stream)] == ["0.5", "0.25", "0.7"]


def test_report_sweeps_sections_as_far_as_candidates_go(problem, tmp_path):
    sweep = sweep_budgets({"first": Takes(0), "all": Takes(0, 1, 2)}, problem)
    assert list(sweep) == list(range(1, 11))
    assert list(sweep_budgets({"first": Takes(0)}, two_video_problem())) == [1, 2]
    path = write_report(tmp_path, sweep[6], sweep, title="t", facts={"seed": 0}, pictures={"A picture": "a.png"})
    assert "![A picture](a.png)" in path.read_text()
    assert "| first |" in path.read_text()
    assert (tmp_path / "accuracy_clips.png").stat().st_size > 1000
    assert (tmp_path / "accuracy_gmacs.png").stat().st_size > 1000


def test_average_precision_of_probabilities_that_rounding_put_above_1():
    probabilities = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) ** 20  # most are tiny
    targets = torch.rand(200, 2, generator=torch.Generator().manual_seed(1)) < probabilities.sqrt() + 0.1
    expected = mean_average_precision(probabilities, targets)
    probabilities[probabilities.argmax(0), [0, 1]] = 1 + 2**-23
    assert mean_average_precision(probabilities, targets) == pytest.approx(expected)


def test_actions_of_any_integer_type_are_taken():
    class Narrow(PredictsZero):
        def predict(self, observation, **options):
            return torch.zeros(len(observation), 2, dtype=torch.int32).numpy(), None

    assert str(evaluate(Narrow(), two_video_problem(), name="x")) == str(
        evaluate(PredictsZero(), two_video_problem(), name="x")
    )


@pytest.mark.parametrize("k", [1, 5])
def test_top_k_accuracy_is_what_torchmetrics_says_of_one_label_and_of_several(k):
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(40, 8, generator=generator)
    labels = torch.randint(8, (40,), generator=generator)
    single = torch.nn.functional.one_hot(labels, 8).bool()
    expected = multiclass_accuracy(probabilities, labels, num_classes=8, top_k=k, average="micro")
    assert top_k_accuracy(probabilities, single, k=k) == pytest.approx(expected.item())
    several = single | (torch.rand(40, 8, generator=generator) < 0.2)
    each = [retrieval_hit_rate(row, of_row, top_k=k) for row, of_row in zip(probabilities, several, strict=True)]
    assert top_k_accuracy(probabilities, several, k=k) == pytest.approx(torch.stack(each).mean().item())
