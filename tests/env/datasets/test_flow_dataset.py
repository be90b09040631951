"""The flow of a dataset: as many videos, with the same labels and parts; computed once."""

from __future__ import annotations

import os

import pytest
import torch

from vidselect_classifiers import make_classifier
from vidselect_env.bank import bank_spec, build_bank
from vidselect_env.bank.decode import decode_video
from vidselect_env.datasets import load_dataset
from vidselect_env.datasets.flow import flow_file, parse_flow, shown_as
from vidselect_env.fitting.augmentation import ClipJitter, mirrored
from vidselect_env.fitting.loader import ClipLoader
from vidselect_env.video.flow import source_of

pytest.importorskip("cv2", reason="OpenCV, of the extra flow, is not installed")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDSELECT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_every_video_has_its_flow_with_its_labels(video_folder):
    plain = load_dataset(f"folder:{video_folder}", split="train")
    flow = load_dataset(f"flow:dis:folder:{video_folder}", split="train")
    assert flow.name == f"flow:dis:folder:{video_folder}"
    assert [video.labels for video in flow.videos] == [video.labels for video in plain.videos]
    assert [source_of(video.path) for video in flow.videos] == [video.path for video in plain.videos]
    assert shown_as(plain.videos[0].path, flow.name) == flow.videos[0].path
    assert shown_as(plain.videos[0].path, plain.name) == plain.videos[0].path


def test_flow_is_computed_once_and_again_when_the_video_changes(video_folder, tmp_path, make_video):
    root = tmp_path / "v"
    video = make_video(root / "train" / "a" / "0.mp4", num_frames=5)
    [first] = load_dataset(f"flow:dis:folder:{root}", split="train").videos
    written = os.stat(first.path).st_mtime_ns
    [again] = load_dataset(f"flow:dis:folder:{root}", split="train").videos
    assert (again.path, os.stat(again.path).st_mtime_ns) == (first.path, written)
    make_video(video, num_frames=7)
    [other] = load_dataset(f"flow:dis:folder:{root}", split="train").videos
    assert other.path != first.path
    [small] = load_dataset(f"flow:dis@32:folder:{root}", split="train").videos
    assert small.path != other.path


def test_segments_of_files_stay_segments(tmp_path, make_video):
    make_video(tmp_path / "v.mp4", num_frames=30)
    manifest = tmp_path / "list.csv"
    manifest.write_text("path,label,split,start_s,end_s\nv.mp4,x,train,0.4,1.2\nv.mp4,y,train,1.2,2\n")
    plain = load_dataset(f"csv:{manifest}", split="train")
    flow = load_dataset(f"flow:dis:csv:{manifest}", split="train")
    assert [video.segment_s for video in flow.videos] == [(0.4, 1.2), (1.2, 2.0)]
    classifier = make_classifier("tiny_r3d", modality="flow")
    for pair in zip(plain.videos, flow.videos, strict=True):
        specs = [
            bank_spec(dataset, each, num_clips=3, fields=("logits",))
            for dataset, each in ((plain, make_classifier("tiny_r3d")), (flow, classifier))
        ]
        frames, fields = (decode_video(video, spec=spec) for video, spec in zip(pair, specs, strict=True))
        assert frames.num_frames == fields.num_frames
        assert torch.allclose(frames.spans_s, fields.spans_s)


def test_a_video_without_flow_is_left_out_and_named(video_folder, tmp_path, make_video):
    root = tmp_path / "v"
    make_video(root / "train" / "a" / "0.mp4", num_frames=5)
    (root / "train" / "a" / "1.mp4").write_bytes(b"no video")
    with pytest.warns(UserWarning, match=r"1 videos have no flow, the first: cannot read video .*1.mp4"):
        assert len(load_dataset(f"flow:dis:folder:{root}", split="train")) == 1


def test_a_bank_of_flow_needs_a_classifier_of_flow(video_folder, tmp_path):
    plain = load_dataset(f"folder:{video_folder}", split="train")
    flow = load_dataset(f"flow:dis:folder:{video_folder}", split="train")
    with pytest.raises(ValueError, match=r"'tiny_r3d' is of modality rgb, and the videos of 'flow:dis:.*' are flow"):
        bank_spec(flow, make_classifier("tiny_r3d"))
    with pytest.raises(ValueError, match=r"'tiny_r3d' is of modality flow, and the videos of 'folder:.*' are rgb"):
        bank_spec(plain, make_classifier("tiny_r3d", modality="flow"))
    classifier = make_classifier("tiny_r3d", weights="default", modality="flow")
    spec = bank_spec(flow, classifier, num_clips=4)
    bank = build_bank(tmp_path / "bank", flow, classifier, spec=spec, progress=False)
    assert bank.field("logits").shape == (32, 8)
    assert bool((bank.field("skim").joined()[:, :, 2] == 128).all())


def test_mirrored_flow_goes_the_other_way():
    clip = torch.full((1, 3, 1, 2), 128, dtype=torch.uint8)
    clip[0, 0, 0] = torch.tensor([138, 1])
    clip[0, 1, 0] = torch.tensor([140, 128])
    turned = mirrored(clip, modality="flow")
    assert turned[0, 0, 0].tolist() == [255, 118]
    assert turned[0, 1, 0].tolist() == [128, 140]
    assert mirrored(clip, modality="rgb")[0, 0, 0].tolist() == [1, 138]


def test_ten_crops_of_flow_are_mirrored_so(video_folder):
    flow = load_dataset(f"flow:dis:folder:{video_folder}", split="train")
    classifier = make_classifier("tiny_r3d", modality="flow", resize=(40, 40))
    spec = bank_spec(flow, classifier, num_clips=2, fields=("logits",), crops=10)
    clips = decode_video(flow.videos[0], spec=spec).clips.view(2, 10, 8, 3, 32, 32)
    assert torch.equal(clips[:, 9], mirrored(clips[:, 4].clone(), modality="flow"))  # the centre


def test_brightness_is_refused_for_flow(video_folder):
    geometry = make_classifier("tiny_r3d", modality="flow").geometry
    with pytest.raises(ValueError, match="brightness and colour would change displacements"):
        ClipLoader(
            load_dataset(f"folder:{video_folder}", split="train"),
            geometry,
            batch_size=2,
            training=True,
            generator=torch.Generator(),
            jitter=ClipJitter(brightness=0.1),
        )


def test_names_of_flow_are_checked():
    assert str(parse_flow("flow:dis@64:ucf101:ROOT@1")[0]) == "dis@64"
    assert parse_flow("flow:tvl1:ucf101:ROOT@1")[1] == "ucf101:ROOT@1"
    for name in ("flow:dis", "flow:dis@x:synthetic", "flow:dis:flow:dis:synthetic"):
        with pytest.raises(ValueError, match="must be flow:METHOD:DATASET"):
            parse_flow(name)
    with pytest.raises(ValueError, match="flow method 'x' must be one of"):
        load_dataset("flow:x:synthetic", split="train")


def test_flow_files_differ_by_method(tmp_path):
    first, second = (flow_file(str(tmp_path / "v.mp4"), parse_flow(f"flow:{name}:x")[0]) for name in ("dis", "dis@32"))
    assert first != second
