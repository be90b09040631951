"""`vidselect cache` and `vidselect doctor`: what is kept, what may go, and what this machine has."""

from __future__ import annotations

import json
import os
import shutil
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from vidselect_agents.commands import main
from vidselect_classifiers import make_classifier
from vidselect_env.bank import SkimSpec
from vidselect_env.bank.cached import cached_bank
from vidselect_env.datasets import load_dataset
from vidselect_env.experiment import health
from vidselect_env.experiment.cache import DAY_S, cached, prunable, prune


@pytest.fixture
def cache(filled, tmp_path, monkeypatch) -> Path:
    """A copy of `filled`, in use."""
    folder = tmp_path / "cache"
    shutil.copytree(filled, folder)
    monkeypatch.setenv("VIDSELECT_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def filled(tmp_path_factory, video_folder) -> Path:
    """A whole bank, one of another version, one that was begun, a video that was made, and what is not ours."""
    folder = tmp_path_factory.mktemp("filled") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDSELECT_CACHE", str(folder))
        return fill(folder, video_folder)


def fill(folder: Path, video_folder: Path) -> Path:
    torch.manual_seed(0)
    dataset = load_dataset(f"folder:{video_folder}", split="test")
    skim = SkimSpec(num_frames=2, resize=(8, 8), crop=(8, 8))
    classifier = make_classifier("tiny_r3d", num_classes=2)
    cached_bank(dataset, classifier, num_clips=2, skim=skim, progress=False)
    [whole] = (folder / "banks").iterdir()
    old, begun = folder / "banks" / "old", folder / "banks" / "begun"
    old.mkdir()
    (old / "spec.json").write_text(json.dumps({"format_version": 1}))
    begun.mkdir()
    (begun / "spec.json").write_bytes((whole / "spec.json").read_bytes())
    load_dataset("synthetic", split="test", num_videos=2, progress=False)
    (folder / "banks" / "mine").mkdir()
    (folder / "banks" / "mine" / "diary.txt").write_text("not ours")
    (folder / "notes").mkdir()
    return folder


def test_every_folder_of_ours_is_listed_with_its_state_and_nothing_else(cache):
    found = cached(cache)
    assert sorted((each.kind, each.state) for each in found) == [
        ("bank", "unfinished"),
        ("bank", "useless"),
        ("bank", "whole"),
        ("videos", "whole"),
    ]
    [videos] = [each for each in found if each.kind == "videos"]
    assert "1 made videos" in videos.about  # half as many for testing
    assert videos.size_bytes == sum(file.stat().st_size for file in videos.folder.iterdir())
    assert "mine" not in {each.folder.name for each in found}


def test_pruning_takes_the_useless_and_leaves_the_rest_unless_asked(cache, capsys):
    main(["cache", "prune"])
    assert "removed 1 of 4 folders" in capsys.readouterr().out
    assert sorted(each.state for each in cached(cache)) == ["unfinished", "whole", "whole"]
    main(["cache", "prune", "--unfinished"])
    assert sorted(each.state for each in cached(cache)) == ["whole", "whole"]
    main(["cache", "prune", "--everything", "--dry-run"])
    assert len(cached(cache)) == 2
    main(["cache", "prune", "--everything"])
    assert cached(cache) == []
    left = {str(file.relative_to(cache)) for file in cache.rglob("*") if file.is_file()}
    assert left == {"banks/mine/diary.txt"}


def test_what_was_not_used_for_long_goes(cache):
    [whole] = [each for each in cached(cache) if each.kind == "bank" and each.state == "whole"]
    before_s = time.time() - 40 * DAY_S
    for file in whole.folder.iterdir():
        os.utime(file, (before_s, before_s))
    goes = [each.folder for each in prunable(cached(cache), unused_s=30 * DAY_S) if each.state != "useless"]
    assert goes == [whole.folder]


def test_a_bank_that_is_being_built_stays(cache):
    [whole] = [each for each in cached(cache) if each.kind == "bank" and each.state == "whole"]
    with FileLock(whole.lock):
        assert prune([whole]) == ([], [whole])
    assert whole.folder.exists()
    assert prune([whole]) == ([whole], [])
    assert not whole.folder.exists()


def test_a_damaged_manifest_makes_a_bank_useless(cache):
    [whole] = [each for each in cached(cache) if each.kind == "bank" and each.state == "whole"]
    (whole.folder / "manifest.json").write_text("{")
    [found] = [each for each in cached(cache) if each.folder == whole.folder]
    assert found.state == "useless"
    assert "is damaged" in found.about


def test_a_folder_that_a_link_leads_to_is_not_touched(cache, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "spec.json").write_text(json.dumps({"format_version": 1}))
    (cache / "banks" / "link").symlink_to(outside)
    main(["cache", "prune", "--everything"])
    assert (outside / "spec.json").exists()


def test_an_empty_cache_is_listed_and_pruned(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VIDSELECT_CACHE", str(tmp_path / "none"))
    main(["cache", "list"])
    main(["cache", "prune", "--everything"])
    assert "removed 0 of 0 folders" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_the_doctor_says_what_there_is(cache, capsys):
    main(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["libraries", "extras", "devices", "codecs", "cache"]
    values = {each["name"]: each["value"] for group in told.values() for each in group}
    assert values["torch"] == torch.__version__.partition("+")[0]
    assert "h264" in values["can read"]
    assert "libx264" in values["can write"]
    assert values["place"].startswith(str(cache))
    assert values["holds"].endswith("in 4 folders; `vidselect cache list` shows them")
    main(["doctor"])
    assert f"{cache} (VIDSELECT_CACHE)" in capsys.readouterr().out


def test_the_doctor_names_what_an_extra_lacks(cache, monkeypatch, capsys):
    real = health.version

    def without_contrib(name: str) -> str:
        if name == "sb3-contrib":
            raise PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(health, "version", without_contrib)
    main(["doctor"])
    assert "sb3-contrib missing: pip install 'vidselect-env[contrib]'" in capsys.readouterr().out


def test_the_doctor_fails_where_something_is_missing_that_nothing_works_without(cache, monkeypatch, capsys):
    real = health.version
    monkeypatch.setattr(health, "version", lambda name: "1.0" if name == "gymnasium" else real(name))
    with pytest.raises(SystemExit, match="1"):
        main(["doctor"])
    assert "!! gymnasium" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e9, "2.5 GB"), (3e15, "3000.0 TB")]
)
def test_sizes_are_told_in_powers_of_1000(num_bytes, text):
    assert health.size_text(num_bytes) == text
