"""Arrays that somebody has already become a bank, whatever form they lie in: no video is opened."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import vidselect_env  # noqa: F401 (registers the environments)
from vidselect_agents.commands import main
from vidselect_env.bank import BankError, open_bank
from vidselect_env.bank.arrays import ClipTimes, open_arrays
from vidselect_env.bank.imported import import_bank
from vidselect_env.datasets import load_dataset

COUNTS = {"run/a": 4, "run/b": 6, "sit/a": 5, "sit/c": 4}  # clips of a video; `a` is the name of two
TIMES = ClipTimes(every_s=0.5)


def features_of(name: str) -> np.ndarray:
    """(L, 3) that tell the clip, the video, and, in every second clip, the class."""
    count, label = COUNTS[name], name.startswith("sit")
    clips = np.arange(count)
    return np.stack([clips, np.full(count, sorted(COUNTS).index(name)), (clips % 2) * (2 * label - 1)], 1).astype("f4")


def logits_of(name: str) -> np.ndarray:
    return np.stack([-features_of(name)[:, 2], features_of(name)[:, 2]], 1)


@pytest.fixture
def listed(tmp_path) -> Path:
    """A list of videos that are nowhere."""
    rows = [f"{name}.mp4,{name[:3]},train" for name in COUNTS]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    return tmp_path


def one_each(folder: Path) -> Path:
    for name in COUNTS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.savez(folder / f"{name}.npz", features=features_of(name), logits=logits_of(name))
    return folder


def folder_each(folder: Path) -> Path:
    for field, array in (("features", features_of), ("logits", logits_of)):
        for name in COUNTS:
            file = folder / field / f"{name}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, array(name))
    return folder


def one_of_all(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    names = list(COUNTS)[::-1]  # in another order than the list
    np.savez(
        folder / "all.npz",
        names=names,
        offsets=np.cumsum([0, *(COUNTS[name] for name in names)]),
        features=np.concatenate([features_of(name) for name in names]),
        logits=np.concatenate([logits_of(name) for name in names]).astype("f8"),
    )
    return folder / "all.npz"


@pytest.mark.parametrize("form", [one_each, folder_each, one_of_all])
def test_every_form_of_arrays_gives_the_same_bank(listed, form):
    dataset = load_dataset(f"csv:{listed / 'list.csv'}", split="train")
    bank = import_bank(listed / "bank", dataset, open_arrays(form(listed / "arrays")), times=TIMES)
    assert [Path(path).with_suffix("").as_posix()[-5:] for path in bank.video_paths] == list(COUNTS)
    assert bank.offsets.diff().tolist() == list(COUNTS.values())
    for name, array in (("features", features_of), ("logits", logits_of)):
        torch.testing.assert_close(
            bank.field(name).joined(), torch.from_numpy(np.concatenate([array(each) for each in COUNTS]))
        )
    assert bank.targets.int().argmax(1).tolist() == [0, 0, 1, 1]
    assert bank.candidate_spans_s()[:2].tolist() == [[0.0, 0.5], [0.5, 1.0]]
    assert open_bank(listed / "bank", verify=True).spec == bank.spec


def test_a_bank_of_arrays_is_an_environment(listed):
    """Without a file to decode: the reward of the clips that tell the class is that of right answers."""
    dataset = load_dataset(f"csv:{listed / 'list.csv'}", split="train")
    import_bank(listed / "bank", dataset, open_arrays(one_each(listed / "arrays")), times=TIMES)
    options = {"bank": str(listed / "bank"), "sections": 2, "clips": 2, "observation": "features"}
    env = gymnasium.make("VideoClipSelect-v0", **options)
    observation, _ = env.reset(seed=0)
    assert observation.shape == (4, 3)
    telling = [int(np.abs(observation[rows, 2]).argmax()) for rows in (slice(0, 2), slice(2, 4))]
    assert env.step(np.array(telling))[1] > 0


def test_a_segment_of_a_file_gets_the_clips_that_lie_in_it(tmp_path):
    (tmp_path / "list.csv").write_text(
        "path,label,split,start_s,end_s,action_start_s,action_end_s\n"
        "x.mp4,run,train,0,2,0.5,1\nx.mp4,sit,train,2,4,,\ny.mp4,sit,test,4.2,4.4,,\n"
    )
    for name in "xy":
        np.savez(tmp_path / name, features=np.arange(12, dtype="f4").reshape(6, 2), times_s=np.arange(6) * 0.8)
    dataset = load_dataset(f"csv:{tmp_path / 'list.csv'}", split="train")
    arrays = open_arrays(tmp_path)
    bank = import_bank(tmp_path / "bank", dataset, arrays, times=ClipTimes(clip_s=0.8))
    assert bank.field("features").joined()[:, 0].tolist() == [0, 2, 4, 6, 8]  # middles at 0.4, 1.2, 2.0, 2.8, 3.6
    assert bank.offsets.tolist() == [0, 2, 5]
    assert bank.segments_s == ((0, 2), (2, 4))
    assert bank.action_spans_s == (((0.5, 1),), ())
    tested = load_dataset(f"csv:{tmp_path / 'list.csv'}", split="test")
    reason = r"no video .* has arrays: .*no clip has its middle in its segment \[4.2, 4.4\)"
    with pytest.raises(BankError, match=reason):
        import_bank(tmp_path / "none", tested, arrays, times=ClipTimes(clip_s=0.8))


@pytest.mark.parametrize(
    ("arrays", "times", "reason"),
    [
        ({"features": np.zeros((4, 2), "f4")}, ClipTimes(), "there is no telling when clips are"),
        ({"features": np.zeros((4, 2), "f4")}, ClipTimes(clip_s=1), "clip_s alone does not tell"),
        ({"features": np.zeros((4, 2)), "times_s": np.arange(3)}, ClipTimes(clip_s=1), "of 4 clips, and times of 3"),
        ({"features": np.zeros(4)}, TIMES, "must have 2 dimensions"),
        ({"features": np.array([[1.0, np.nan]])}, TIMES, "features are not all finite"),
        ({"features": np.array([["a"]])}, TIMES, r"features \(<U1\) must be numbers"),
        ({"features": np.zeros((2, 2)), "logits": np.zeros((3, 2))}, TIMES, "logits|features"),
        ({"skim": np.zeros((2, 1, 3, 4, 4))}, TIMES, "skim .* must have 5 dimensions of torch.uint8"),
        ({"other": np.zeros((4, 2))}, TIMES, "none of logits, features, skim"),
        ({"features": np.zeros((1, 2)), "times_s": np.array([[1.0, 1.0]])}, TIMES, "each clip end after it starts"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_the_video_and_the_rule(tmp_path, arrays, times, reason):
    (tmp_path / "list.csv").write_text("path,label,split\nx.mp4,run,train\n")
    np.savez(tmp_path / "x.npz", **arrays)
    dataset = load_dataset(f"csv:{tmp_path / 'list.csv'}", split="train")
    with pytest.raises(BankError, match=rf"arrays of .*x.mp4.*{reason}"):
        import_bank(tmp_path / "bank", dataset, open_arrays(tmp_path), times=times, on_error="raise")


def test_nothing_is_unpickled(tmp_path):
    (tmp_path / "list.csv").write_text("path,label,split\nx.mp4,run,train\n")
    np.savez(tmp_path / "x.npz", features=np.array([{"a": 1}], dtype=object))
    dataset = load_dataset(f"csv:{tmp_path / 'list.csv'}", split="train")
    with pytest.raises(BankError, match="allow_pickle=False"):
        import_bank(tmp_path / "bank", dataset, open_arrays(tmp_path), times=TIMES, on_error="raise")


def test_a_video_without_arrays_is_skipped_and_listed(listed):
    folder = one_each(listed / "arrays")
    (folder / "run" / "b.npz").unlink()
    (folder / "sit" / "c.npz").write_bytes(b"PK damaged")
    dataset = load_dataset(f"csv:{listed / 'list.csv'}", split="train")
    bank = import_bank(listed / "bank", dataset, open_arrays(folder), times=TIMES)
    assert bank.num_videos == 2
    reasons = dict(bank.skipped)
    assert "there are no arrays" in reasons[str(listed / "run/b.mp4")]
    assert "cannot be read" in reasons[str(listed / "sit/c.mp4")]
    with pytest.raises(BankError, match="holds another bank"):
        import_bank(listed / "bank", dataset, open_arrays(folder), times=ClipTimes(every_s=2.0))


def test_features_without_logits_get_a_head_that_never_saw_the_video_it_judges(tmp_path, capsys):
    """Two clouds far apart: a head of other folds is right about all; the test split is judged by the kept head."""
    generator = np.random.default_rng(0)
    rows = ["path,label,split"]
    for split, count in (("train", 12), ("test", 4)):
        for number in range(count):
            label = number % 2
            np.savez(tmp_path / f"{split}{number}.npz", features=generator.normal(6 * label, 1, (3, 4)))
            rows.append(f"{split}{number}.mp4,{'ab'[label]},{split}")
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    for split in ("train", "test"):
        given = ["--arrays", str(tmp_path), "--dataset", f"csv:{tmp_path / 'list.csv'}", "--split", split]
        main(["bank", "import", *given, "--every-s", "1", "--out", str(tmp_path / f"{split}-features")])
    with pytest.raises(BankError, match="has no field 'logits': it has features; `vidselect bank head` fits a head"):
        gymnasium.make("VideoClipSelect-v0", bank=str(tmp_path / "train-features"))
    main(["bank", "head", str(tmp_path / "train-features"), "--out", str(tmp_path / "train"), "--folds", "3"])
    head = str(tmp_path / "train" / "head.safetensors")
    main(["bank", "head", str(tmp_path / "test-features"), "--out", str(tmp_path / "test"), "--head", head])
    assert "4 videos, 2 classes" in capsys.readouterr().out
    for split in ("train", "test"):
        bank = open_bank(tmp_path / split, verify=True)
        labels = bank.targets.int().argmax(1).repeat_interleave(bank.offsets.diff())
        assert (bank.field("logits").joined().argmax(-1) == labels).all()
    with pytest.raises(SystemExit):
        main(["bank", "head", str(tmp_path / "test-features"), "--out", str(tmp_path / "x"), "--head", "none"])
    assert "'none' holds no head" in capsys.readouterr().err


def test_a_list_by_its_authors_needs_only_the_names_of_its_videos(tmp_path):
    """Empty files stand for videos: nothing is decoded."""
    lists = tmp_path / "ucf" / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    (lists / "classInd.txt").write_text("1 Archery\n2 Biking\n")
    names = [f"{label}/v_{label}_g0{group}_c01" for label in ("Archery", "Biking") for group in (1, 2)]
    for number in (1, 2, 3):
        (lists / f"trainlist0{number}.txt").write_text(f"{names[0]}.avi 1\n{names[2]}.avi 2\n")
        (lists / f"testlist0{number}.txt").write_text(f"{names[1]}.avi\n{names[3]}.avi\n")
    for name in names:
        video = tmp_path / "ucf" / "UCF-101" / f"{name}.avi"
        video.parent.mkdir(parents=True, exist_ok=True)
        video.touch()
        np.savez(tmp_path / f"{Path(name).name}.npz", features=np.ones((2, 3)))
    dataset = load_dataset(f"ucf101:{tmp_path / 'ucf'}@1", split="train")
    bank = import_bank(tmp_path / "bank", dataset, open_arrays(tmp_path), times=TIMES)
    assert bank.num_videos == 2
