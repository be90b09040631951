"""Dataclasses from JSON: exact types, finite numbers, every field and no other."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from vidselect_env.bank import BankError, BankSpec
from vidselect_env.bank.format import BankVideo
from vidselect_env.bank.spec import FORMAT_VERSION
from vidselect_env.settings import from_json


@dataclass(frozen=True)
class Inner:
    place: Path
    share: float = 0.5


@dataclass(frozen=True)
class Outer:
    inner: Inner
    other: Inner | None
    count: int
    kind: Literal["a", 1]
    spans: tuple[tuple[float, float], ...]
    versions: dict[str, str]
    flag: bool = False


WHOLE = Outer(Inner(Path("x")), None, 3, "a", ((0.0, 1.0),), {"torch": "2"})


def test_what_was_kept_as_json_is_the_same_again():
    data = json.loads(json.dumps(dataclasses.asdict(WHOLE), default=str))
    assert from_json(Outer, data) == WHOLE
    both = dataclasses.replace(WHOLE, other=Inner(Path("y"), 1.0), spans=())
    assert from_json(Outer, json.loads(json.dumps(dataclasses.asdict(both), default=str))) == both


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", True),
        ("count", 3.0),
        ("count", 2**63),
        ("count", -(2**63)),
        ("count", None),
        ("flag", 1),
        ("kind", True),
        ("kind", "b"),
        ("spans", [[0.0, float("nan")]]),
        ("spans", [[0.0, float("inf")]]),
        ("spans", [[0.0, 10**400]]),
        ("spans", [[0.0]]),
        ("spans", "01"),
        ("spans", {"0": 1}),
        ("versions", {"torch": 2}),
        ("versions", []),
        ("inner", None),
        ("inner", {"place": "x"}),
        ("inner", {"place": "x", "share": 0.5, "more": 1}),
        ("inner", {"place": 1, "share": 0.5}),
        ("other", []),
    ],
)
def test_a_value_of_another_type_or_out_of_range_is_refused_by_name(name: str, value: Any):
    data = json.loads(json.dumps(dataclasses.asdict(WHOLE), default=str)) | {name: value}
    with pytest.raises(ValueError, match=r"count|flag|kind|spans|versions|inner|Inner|place|other"):
        from_json(Outer, data)


@pytest.mark.parametrize("data", [None, [], 1, "x", {}, {"count": 1}])
def test_what_is_no_whole_object_is_refused(data):
    with pytest.raises(ValueError, match="Outer"):
        from_json(Outer, data)
    with pytest.raises(BankError):
        BankSpec.from_json(data)
    with pytest.raises(BankError, match="damaged"):
        BankSpec.from_json({"format_version": FORMAT_VERSION})


@pytest.mark.parametrize(
    "changes",
    [
        {"num_frames": 10**30},
        {"num_clips": True},
        {"labels": ()},
        {"labels": (0.0,)},
        {"segment_s": (1.0,)},
        {"segment_s": (2.0, 1.0)},
        {"segment_s": (float("nan"), None)},
        {"segment_s": (None, float("inf"))},
        {"segment_s": ([], None)},
        {"segment_s": ("0", None)},
        {"action_spans_s": ((-1.0, 1.0),)},
        {"action_spans_s": ((0.0, float("nan")),)},
    ],
)
def test_a_video_of_a_bank_has_times_and_counts_that_make_sense(changes: dict[str, Any]):
    right: dict[str, Any] = {"path": "x.mp4", "labels": (0,), "num_frames": 9, "num_clips": 3}
    assert BankVideo(**right).segment_s == (None, None)
    with pytest.raises(ValueError, match=r"x\.mp4|_s "):
        BankVideo(**(right | changes))
