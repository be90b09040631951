"""Frame-based and region-based selection (AS, Table 3), by hand, and from a bank of ten crops."""

from __future__ import annotations

import pytest
import torch

from vidselect_classifiers import make_classifier
from vidselect_env.bank import BankError, bank_spec, build_bank
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import evaluate
from vidselect_env.evaluation.multicrop import evaluate_crops, frame_selection, fuse_crops, region_selection

# Two crops of three frames: their means are 0.5, 0.55 and 0.6.
SCORES = torch.tensor([[[0.9, 0.3, 0.4], [0.1, 0.8, 0.8]]])


def test_frame_based_takes_the_same_frames_in_every_crop():
    assert frame_selection(SCORES, 1).int().tolist() == [[[0, 0, 1], [0, 0, 1]]]
    assert frame_selection(SCORES, 2).int().tolist() == [[[0, 1, 1], [0, 1, 1]]]


def test_region_based_lets_each_crop_take_its_own():
    scores = torch.tensor([[[0.9, 0.3, 0.4], [0.1, 0.7, 0.8]]])
    assert region_selection(scores, 1).int().tolist() == [[[1, 0, 0], [0, 0, 1]]]
    assert region_selection(scores, 2).int().tolist() == [[[1, 0, 1], [0, 1, 1]]]


def test_the_selected_are_averaged_over_crops_and_frames():
    probabilities = torch.tensor([[[[0.8, 0.2], [0.0, 1.0]], [[0.4, 0.6], [0.6, 0.4]]]])
    selection = torch.tensor([[[True, False], [True, True]]])
    assert fuse_crops(probabilities, selection).tolist() == [pytest.approx([0.6, 0.4])]


@pytest.fixture(scope="module")
def ten_crop_bank(tmp_path_factory, video_folder):
    dataset = load_dataset(f"folder:{video_folder}", split="train")
    torch.manual_seed(0)
    classifier = make_classifier("tiny_r3d", num_classes=2, resize=40, crop=(32, 32))
    folder = tmp_path_factory.mktemp("crops")
    banks = []
    for crops in (10, 1):
        spec = bank_spec(dataset, classifier, num_clips=5, fields=("logits", "features"), crops=crops)
        options = {"shard_videos": 3, "batch_size": 7, "progress": False}
        banks.append(build_bank(folder / str(crops), dataset, classifier, spec=spec, **options))
    return banks


def test_the_fifth_of_ten_crops_is_the_centre(ten_crop_bank):
    ten, one = ten_crop_bank
    assert ten.field("logits").shape == (40, 10, 2)
    for field in ("logits", "features"):
        torch.testing.assert_close(ten.crop(4).field(field).joined(), one.field(field).joined())
    assert not torch.allclose(ten.crop(0).field("logits").joined(), one.field("logits").joined())


def test_a_source_wants_one_crop(ten_crop_bank):
    with pytest.raises(BankError, match=r"10 crops a clip: take one of them, bank.crop\(4\)"):
        BankSource(ten_crop_bank[0])
    with pytest.raises(BankError, match=r"crop \(10\) is not one of this bank's"):
        ten_crop_bank[0].crop(10)


class ScoresFrames:
    """Prefers later frames, the same in every crop."""

    needs = Needs(fields=("features",))

    def frame_scores(self, looks):
        return torch.arange(looks.valid.shape[1]).float().expand(len(looks), -1)

    def cost_gmacs(self, shapes):
        return 0.0


def test_both_schemes_agree_where_all_crops_do_and_pay_for_all(ten_crop_bank):
    crops = [
        FrameSelectProblem(BankSource(ten_crop_bank[0].crop(number)), num_candidates=5, num_kept=2)
        for number in range(10)
    ]
    by_frame, by_region = (
        evaluate_crops(ScoresFrames(), crops, scheme=scheme, name="x") for scheme in ("frame", "region")
    )
    assert str(by_frame) == str(by_region)
    assert by_frame.clips_per_video == 50
    assert by_frame.relative_cost == 10


def test_one_crop_is_the_ordinary_evaluation(ten_crop_bank):
    problem = FrameSelectProblem(BankSource(ten_crop_bank[1]), num_candidates=5, num_kept=5)

    class All(ScoresFrames):
        def select(self, looks):
            return torch.ones_like(looks.valid)

    by_crops = evaluate_crops(All(), [problem], scheme="frame", name="x")
    assert str(by_crops) == str(evaluate(All(), problem, name="x"))


def test_frames_that_are_not_there_are_neither_kept_nor_paid_for(make_ragged_bank):
    problem = FrameSelectProblem(BankSource(make_ragged_bank([2, 4, 3])), num_candidates=None, num_kept=3)

    class Latest(ScoresFrames):
        def select(self, looks):
            return torch.tensor([[1, 1, 0, 0], [0, 1, 1, 1], [1, 1, 1, 0]]).bool()

        def cost_gmacs(self, shapes):
            return 1.0 * shapes.num_candidates

    ordinary = evaluate(Latest(), problem, name="x")
    assert ordinary.scorer_gmacs == pytest.approx(3)  # nine frames of three videos
    for scheme in ("frame", "region"):
        assert str(evaluate_crops(Latest(), [problem], scheme=scheme, name="x")) == str(ordinary)
