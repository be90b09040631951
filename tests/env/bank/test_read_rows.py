"""Fields that are too large to be mapped are read from the files, ahead where it is known what comes next."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from safetensors.torch import save_file

from vidselect_classifiers import make_classifier
from vidselect_env.bank import SkimSpec, bank_spec, build_bank, open_bank
from vidselect_env.bank import rows as rows_module
from vidselect_env.bank.rows import ReadRows, field_rows
from vidselect_env.datasets import load_dataset
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource


@pytest.fixture
def shards(tmp_path):
    """A field of 3, 1 and 5 rows in three files, behind another field."""
    whole = torch.randint(256, (9, 2, 3), generator=torch.Generator().manual_seed(0)).to(torch.float16)
    parts = [part.clone() for part in whole.split([3, 1, 5])]
    files = [tmp_path / f"{number}.safetensors" for number in range(3)]
    for file, part in zip(files, parts, strict=True):
        save_file({"before": torch.zeros(7), "wanted": part}, file)
    return whole, parts, files


def test_rows_are_read_in_the_order_asked_for(shards):
    whole, parts, files = shards
    wanted = torch.tensor([8, 0, 3, 3, 4, 2])
    read = ReadRows(parts, files=files, name="wanted").take(wanted)
    assert read.dtype == whole.dtype
    assert torch.equal(read, whole[wanted])


def test_rows_come_from_the_files_and_not_from_the_mapping(shards):
    whole, parts, files = shards
    elsewhere = [torch.zeros_like(part) for part in parts]
    assert torch.equal(ReadRows(elsewhere, files=files, name="wanted").take(torch.arange(9)), whole)


def test_a_file_that_is_cut_meanwhile_is_an_error(shards):
    _, parts, files = shards
    rows = ReadRows(parts, files=files, name="wanted")
    assert len(rows.take(torch.tensor([8]))) == 1
    files[2].write_bytes(files[2].read_bytes()[:-1])
    with pytest.raises(OSError, match="was cut while it was read"):
        rows.take(torch.tensor([8]))


def test_only_large_fields_are_read(shards, monkeypatch):
    _, parts, files = shards
    assert not isinstance(field_rows(parts, files=files, name="wanted"), ReadRows)
    monkeypatch.setattr(rows_module, "MOST_MAPPED_BYTES", 9 * 12 - 1)
    assert isinstance(field_rows(parts, files=files, name="wanted"), ReadRows)


@pytest.mark.parametrize("draw_candidates", [False, True])
def test_what_an_environment_shows_next_is_read_by_a_thread_meanwhile(
    tmp_path, video_folder, monkeypatch, draw_candidates
):
    dataset = load_dataset(f"folder:{video_folder}", split="train")
    classifier = make_classifier("tiny_r3d", num_classes=2)
    spec = bank_spec(
        dataset,
        classifier,
        num_clips=5,
        skim=SkimSpec(num_frames=2, resize=(8, 8), crop=(8, 8)),
        fields=("logits", "skim"),
    )
    build_bank(tmp_path / "bank", dataset, classifier, spec=spec, shard_videos=3, progress=False)
    mapped = open_bank(tmp_path / "bank")
    monkeypatch.setattr(rows_module, "MOST_MAPPED_BYTES", 0)
    readers = []
    take = ReadRows.take

    def watched(self, rows):
        if len(self.shape) == 5:  # skims
            readers.append(threading.current_thread())
        return take(self, rows)

    monkeypatch.setattr(ReadRows, "take", watched)
    envs = [
        SelectVectorEnv(
            ClipSelectProblem(BankSource(bank), num_sections=1, num_clips=3, draw_candidates=draw_candidates),
            num_envs=4,
        )
        for bank in (mapped, open_bank(tmp_path / "bank"))
    ]
    shown = [[env.reset(seed=0)[0]] for env in envs]
    for _ in range(5):
        for env, observations in zip(envs, shown, strict=True):
            observations.append(env.step(torch.zeros(4, dtype=torch.int64))[0])
    for first, second in zip(*shown, strict=True):
        assert torch.equal(first, second)
    deadline = time.monotonic() + 10
    while len(readers) < 7 and time.monotonic() < deadline:
        time.sleep(0.01)
    here = [reader for reader in readers if reader is threading.current_thread()]
    assert len(here) == 1  # the first observation; nobody could know of it
    assert len(readers) == 7  # the first, the five that were stepped to, and the next
