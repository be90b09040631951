"""A bank to be damaged, and what is right about one that was."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from hostile import at_most

from vidselect_env.bank import BankError, BankSpec, ClipBank, SkimSpec, format, open_bank
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import evaluate
from vidselect_env.evaluation.references import REFERENCES
from vidselect_env.video.clips import ClipGrid

TRIAL_S = 60
Mutation = tuple[str, Callable[[Path], None]]
ODD_VALUES: list[Any] = [
    *(None, True, -1, 0, 1.5, 10**30, float("nan"), float("inf"), "", "x", [], {}, [None], {"a": 1}, [[[]]], "\ud800"),
]


def write_bank(folder: Path) -> Path:
    """Two shards of three videos with two or three candidates each; one more could not be read."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    spec = BankSpec(
        dataset="made by hand",
        split="train",
        dataset_fingerprint="0" * 64,
        class_names=("left", "right"),
        classifier="none",
        weights_sha256="1" * 64,
        classifier_gmacs=1.0,
        clip_resize=8,
        clip_crop=(8, 8),
        clip_mean=(0.0, 0.0, 0.0),
        clip_std=(1.0, 1.0, 1.0),
        grid=ClipGrid(num_clips=3, num_frames=2),
        fields=("logits", "features", "skim"),
        skim=SkimSpec(num_frames=2, resize=(4, 4), crop=(4, 4)),
    )
    format.write_spec(folder, spec)
    shards = []
    for number in range(2):
        videos = tuple(
            format.BankVideo(f"{number}/{place}.mp4", (place % 2,), 20, 2 + place % 2, action_spans_s=((0.0, 0.5),))
            for place in range(3)
        )
        rows = sum(video.num_clips for video in videos)
        fields = {
            "logits": torch.randn(rows, 2, generator=generator),
            "features": torch.randn(rows, 4, generator=generator),
            "skim": torch.randint(256, (rows, 2, 3, 4, 4), dtype=torch.uint8, generator=generator),
        }
        spans_s = torch.arange(2 * rows, dtype=torch.float64).view(rows, 2)
        skipped = (("1/broken.mp4", "it is no video"),) if number else ()
        shards.append(format.Shard(spec.sha256(), videos, skipped, fields, spans_s))
        format.write_shard(format.shard_file(folder, number), shards[-1])
    format.write_manifest(folder, spec, shards)
    return folder


def content(bank: ClipBank) -> list[Any]:
    """All that a bank says, to be compared."""
    fields = [rows.joined().tolist() for _, rows in sorted(bank.fields.items())]
    spans = bank.candidate_spans_s().tolist()
    return [bank.spec.to_json(), bank.video_paths, bank.targets.tolist(), bank.skipped, spans, fields]


def use(bank: ClipBank) -> None:
    """What an experiment does with a bank."""
    bank.summary()
    problem = ClipSelectProblem(BankSource(bank), num_sections=2, num_clips=1)
    problem.observe(torch.arange(problem.num_contexts))
    assert 0 <= evaluate(REFERENCES["oracle"](), problem, name="oracle").top1 <= 1


def outcome_of(folder: Path, *, verify: bool) -> tuple[str, ClipBank | None]:
    """`refused`, or `opened` and used; everything else raises."""
    try:
        bank = open_bank(folder, verify=verify)
    except BankError:
        return "refused", None
    use(bank)
    return "opened", bank


def run_all(
    mutations: Iterator[Mutation],
    whole: Path,
    tmp_path: Path,
    judge: Callable[[Path], str],
    count: Callable[[str], None],
) -> int:
    """Try each mutation on a copy of the bank; the number of trials. All broken ones are named at the end."""
    broken, trials = [], 0
    for title, mutate in mutations:
        trials += 1
        folder = tmp_path / "trial"
        shutil.copytree(whole, folder)
        try:
            mutate(folder)
            with at_most(TRIAL_S):
                outcome = judge(folder)
        except Exception as error:
            broken.append(f"{title}: {type(error).__name__}: {str(error)[:200]}")
            outcome = "broken"
        count(outcome)
        shutil.rmtree(folder)
    assert not broken, f"{len(broken)} of {trials}: " + "\n".join(broken[:40])
    return trials


def leaves(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Where in a JSON value something stands."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[key], (*path, key))


def replaced(value: Any, path: tuple, new: Any) -> Any:
    changed = copy.deepcopy(value)
    place = changed
    for key in path[:-1]:
        place = place[key]
    if new is GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = new
    return changed


GONE = object()
