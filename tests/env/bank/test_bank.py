"""Building and opening banks: the same bytes whatever happens on the way, and clear errors."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from vidselect_classifiers import make_classifier
from vidselect_env.bank import BankError, BankSpec, ClipBank, Rows, SkimSpec, bank_spec, build_bank, open_bank
from vidselect_env.datasets import load_dataset
from vidselect_env.video.decode import FrameSize, read_clips
from vidselect_env.video.errors import VideoError

SKIM = SkimSpec(num_frames=2, resize=(8, 8), crop=(8, 8))


def classifier(seed: int = 0, **options):
    torch.manual_seed(seed)
    return make_classifier("tiny_r3d", num_classes=2, **options)


def build(folder: Path, videos: Path, *, seed: int = 0, num_clips: int | None = 5, **options) -> ClipBank:
    dataset = load_dataset(f"folder:{videos}", split="train")
    model = classifier(seed)
    spec = bank_spec(dataset, model, num_clips=num_clips, skim=SKIM)
    options = {"shard_videos": 3, "batch_size": 4, "progress": False} | options
    return build_bank(folder, dataset, model, spec=spec, **options)


def hashes(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.iterdir())
        if file.suffix in (".json", ".safetensors")
    }


def test_bank_holds_what_the_classifier_says_of_each_clip(tmp_path, video_folder):
    bank = build(tmp_path / "bank", video_folder)
    assert bank.num_videos == 8
    assert bank.offsets.tolist() == [5 * video for video in range(9)]
    assert bank.targets.int().argmax(1).tolist() == [0] * 4 + [1] * 4
    frames = bank.spec.grid.frame_indices(int(bank.num_video_frames[6]))
    sizes = [FrameSize((32, 32), (32, 32)), SKIM.frame_size]
    clips, skims = read_clips(bank.video_paths[6], frames, sizes=sizes)
    with torch.inference_mode():
        output = classifier()(clips)
    rows = torch.arange(30, 35)
    torch.testing.assert_close(bank.field("logits").take(rows), output.logits)
    torch.testing.assert_close(bank.field("features").take(rows), output.features)
    assert torch.equal(bank.field("skim").take(rows), skims[:, 3:5])
    assert "8 videos, 2 classes" in bank.summary()


def test_rows_of_several_shards_read_as_one_tensor():
    parts = [torch.arange(0, 3), torch.arange(3, 4), torch.arange(4, 9)]
    wanted = torch.tensor([8, 0, 3, 3, 4, 2])
    assert torch.equal(Rows(parts).take(wanted), wanted)


def test_clips_end_to_end_give_each_video_its_own_number(tmp_path, video_folder):
    bank = build(tmp_path / "bank", video_folder, num_clips=None)
    assert bank.offsets.diff().tolist() == [2, 3, 3, 4] * 2  # 20, 25, 30, 35 frames in clips of 8


def test_a_build_killed_at_any_moment_resumes_to_the_same_bytes(tmp_path, video_folder):
    build(tmp_path / "unbroken", video_folder)
    program = f"""
import sys, time, torch
sys.path.insert(0, {str(Path(__file__).parent)!r})
torch.set_num_threads(1)
import vidselect_env.bank.decode as building
decode = building.decode_video
def slowly(video, **options):
    time.sleep(0.3)
    return decode(video, **options)
building.decode_video = slowly
import test_bank
from pathlib import Path
test_bank.build(Path({str(tmp_path / "killed")!r}), Path({str(video_folder)!r}), num_workers=1)
"""
    process = subprocess.Popen([sys.executable, "-c", program], env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 60
    while not list((tmp_path / "killed").glob("*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = hashes(tmp_path / "killed")
    assert "manifest.json" not in done
    with pytest.raises(BankError, match="not finished"):
        open_bank(tmp_path / "killed")
    build(tmp_path / "killed", video_folder)
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "unbroken")


def test_two_builders_of_one_folder_make_one_sound_bank(tmp_path, video_folder):
    program = f"""
import sys, torch
sys.path.insert(0, {str(Path(__file__).parent)!r})
torch.set_num_threads(1)
import test_bank
from pathlib import Path
test_bank.build(Path({str(tmp_path / "both")!r}), Path({str(video_folder)!r}))
"""
    pair = [
        subprocess.Popen([sys.executable, "-c", program], env=os.environ | {"OMP_NUM_THREADS": "1"}) for _ in range(2)
    ]
    assert [process.wait(timeout=120) for process in pair] == [0, 0]
    build(tmp_path / "alone", video_folder)
    assert hashes(tmp_path / "both") == hashes(tmp_path / "alone")


def with_bad_video(tmp_path: Path, make_video) -> Path:
    for label in ("a", "b"):
        for number in range(2):
            make_video(
                tmp_path / "set" / "train" / label / f"{number}.mp4", num_frames=20, seed=ord(label) + 9 * number
            )
    (tmp_path / "set" / "train" / "a" / "0.mp4").write_bytes(b"not a video")
    return tmp_path / "set"


def test_a_corrupted_video_is_skipped_and_named(tmp_path, make_video):
    bank = build(tmp_path / "bank", with_bad_video(tmp_path, make_video))
    assert bank.num_videos == 3
    [(path, reason)] = bank.skipped
    assert path.endswith("a/0.mp4")
    assert reason
    assert path in bank.summary()


def test_a_corrupted_video_stops_the_build_where_asked(tmp_path, make_video):
    with pytest.raises(VideoError, match=r"a/0\.mp4"):
        build(tmp_path / "bank", with_bad_video(tmp_path, make_video), on_error="raise")


def test_a_set_without_a_readable_video_is_an_error(tmp_path):
    (tmp_path / "set" / "train" / "a").mkdir(parents=True)
    (tmp_path / "set" / "train" / "a" / "0.mp4").write_bytes(b"not a video")
    with pytest.raises(BankError, match="no video"):
        build(tmp_path / "bank", tmp_path / "set")


def test_a_video_shorter_than_a_clip_repeats_its_last_frame(tmp_path, make_video):
    make_video(tmp_path / "set" / "train" / "a" / "0.mp4", num_frames=3)
    make_video(tmp_path / "set" / "train" / "b" / "0.mp4", num_frames=30)
    bank = build(tmp_path / "bank", tmp_path / "set")
    assert bank.num_video_frames.tolist() == [3, 30]
    assert bank.spec.grid.frame_indices(3)[0].tolist() == [0, 1, 2, 2, 2, 2, 2, 2]
    short = bank.field("logits").take(torch.arange(5))
    torch.testing.assert_close(short, short[:1].expand(5, -1))


@pytest.mark.parametrize(
    ("change", "named"),
    [({"seed": 1}, "weights_sha256"), ({"num_clips": 4}, "grid")],
    ids=["weights", "grid"],
)
def test_a_folder_with_another_bank_is_refused(tmp_path, video_folder, change, named):
    build(tmp_path / "bank", video_folder)
    before = hashes(tmp_path / "bank")
    with pytest.raises(BankError, match=f"holds another bank; {named}"):
        build(tmp_path / "bank", video_folder, **change)
    assert hashes(tmp_path / "bank") == before


def test_a_truncated_shard_is_named(tmp_path, video_folder):
    build(tmp_path / "bank", video_folder)
    shard = tmp_path / "bank" / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(BankError, match=r"shard-00001.*truncated"):
        open_bank(tmp_path / "bank")


def test_a_changed_byte_is_found_and_the_shard_can_be_built_again(tmp_path, video_folder):
    build(tmp_path / "bank", video_folder)
    before = hashes(tmp_path / "bank")
    shard = tmp_path / "bank" / "shard-00000.safetensors"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(BankError, match=r"shard-00000.*hash"):
        open_bank(tmp_path / "bank", verify=True)
    shard.unlink()
    build(tmp_path / "bank", video_folder)
    assert hashes(tmp_path / "bank") == before


def test_another_format_version_is_refused(tmp_path, video_folder):
    build(tmp_path / "bank", video_folder)
    manifest = tmp_path / "bank" / "manifest.json"
    data = json.loads(manifest.read_text())
    data["spec"]["format_version"] = 99
    manifest.write_text(json.dumps(data))
    with pytest.raises(BankError, match="bank format 99"):
        open_bank(tmp_path / "bank")


def test_no_bank_is_an_error(tmp_path):
    with pytest.raises(BankError, match="is no bank"):
        open_bank(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, video_folder):
    (tmp_path / "file").write_text("")  # no folder can be made under a file, not even by root
    with pytest.raises(PermissionError, match="VIDSELECT_CACHE"):
        build(tmp_path / "file" / "bank", video_folder)


def test_unknown_field_lists_the_known(bank):
    with pytest.raises(BankError, match="no field 'audio': it has logits, features, skim"):
        bank.field("audio")


def test_parts_that_do_not_fit_are_refused(bank):
    with pytest.raises(BankError, match=r"rows of logits \(7\) must be 360"):
        bank.with_logits(torch.zeros(7, 4))


def test_another_normalisation_is_another_bank(tmp_path, video_folder):
    dataset = load_dataset(f"folder:{video_folder}", split="train")
    mine = bank_spec(dataset, make_classifier("tiny_r3d", num_classes=2))
    theirs = bank_spec(dataset, make_classifier("tiny_r3d", num_classes=2, mean=(0.0, 0.0, 0.0)))
    assert any(line.startswith("clip_mean: ") for line in mine.difference(theirs))
    assert mine.sha256() != theirs.sha256()


def test_ten_crops_of_the_whole_frame_are_refused(video_folder):
    dataset = load_dataset(f"folder:{video_folder}", split="train")
    with pytest.raises(ValueError, match=r"ten crops \(32, 32\) must be smaller than the frames, \(32, 32\)"):
        bank_spec(dataset, make_classifier("tiny_r3d", num_classes=2), crops=10)


def test_a_damaged_video_is_skipped_or_where_allowed_taken_and_the_bank_says_so(tmp_path, make_video):
    for name in ("damaged", "good"):
        make_video(tmp_path / "set" / "train" / "a" / f"{name}.mp4", num_frames=30, seed=1)
    file = tmp_path / "set" / "train" / "a" / "damaged.mp4"
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(range(200)) * 2
    file.write_bytes(data)
    dataset, model = load_dataset(f"folder:{tmp_path / 'set'}", split="train"), classifier()
    built = {}
    for allowed in (False, True):
        spec = bank_spec(dataset, model, num_clips=3, skim=SKIM, allow_corrupt=allowed)
        assert BankSpec.from_json(spec.to_json()) == spec
        built[allowed] = build_bank(tmp_path / str(allowed), dataset, model, spec=spec, progress=False)
    assert [Path(path).name for path in built[False].video_paths] == ["good.mp4"]
    assert [Path(path).name for path, _ in built[False].skipped] == ["damaged.mp4"]
    assert [Path(path).name for path in built[True].video_paths] == ["damaged.mp4", "good.mp4"]
    with pytest.raises(BankError, match="allow_corrupt: True here, None there"):
        build_bank(tmp_path / "True", dataset, model, spec=built[False].spec, progress=False)
