"""Signals of compressed video and sound in a bank, made in its one decode pass."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from vidselect_classifiers import make_classifier
from vidselect_env.bank import BankSpec, ClipBank, SignalSpec, SkimSpec, bank_spec, build_bank
from vidselect_env.bank.decode import _visual_signals, decode_video
from vidselect_env.bank.dtypes import dtype_of
from vidselect_env.datasets import VideoDataset, load_dataset
from vidselect_env.datasets.synthetic import synthetic_dataset
from vidselect_env.envs.sources import BankSource, LiveSource
from vidselect_env.video import decode
from vidselect_env.video.compressed import CompressedSignals, read_compressed
from vidselect_env.video.decode import FrameSize

SIGNALS = SignalSpec(num_frames=2, cells=(3, 4), resize=(16, 16), crop=(16, 16))
FIELDS = ("logits", "features", "skim", "vectors", "residual", "intra", "mel")


@pytest.fixture(scope="module")
def sounding(tmp_path_factory) -> VideoDataset:
    """Two videos of the first default problem, which all sound: H.264 and AAC."""
    folder = tmp_path_factory.mktemp("set")
    return synthetic_dataset(kind="v1", split="test", num_test=2, cache_dir=folder, progress=False)


def spec_of(dataset: VideoDataset, **options) -> tuple[BankSpec, torch.nn.Module]:
    torch.manual_seed(0)
    classifier = make_classifier("tiny_r3d", num_classes=len(dataset.class_names))
    skim = SkimSpec(num_frames=2, resize=(8, 8), crop=(8, 8))
    options = {"fields": FIELDS, "num_clips": 5, "skim": skim, "signals": SIGNALS} | options
    return bank_spec(dataset, classifier, **options), classifier


def build(folder: Path, dataset: VideoDataset, **options) -> ClipBank:
    spec, classifier = spec_of(dataset, **options)
    return build_bank(folder, dataset, classifier, spec=spec, progress=False)


def test_a_bank_holds_the_signals_of_every_candidate(tmp_path, sounding):
    bank = build(tmp_path, sounding)
    shapes = {name: (tuple(bank.field(name).shape), bank.field(name).dtype) for name in FIELDS[3:]}
    assert shapes == {
        "vectors": ((10, 2, 2, 3, 4), torch.float16),
        "residual": ((10, 2, 3, 16, 16), torch.int8),
        "intra": ((10, 3, 16, 16), torch.uint8),
        "mel": ((10, 40, 200), torch.float16),
    }
    # Of 8 frames the 2 evenly spread are 2 and 6; the first clip begins at 0, the last ends with the video.
    size = FrameSize((16, 16), (16, 16))
    frames = [2, 6, 172 + 2, 172 + 6]
    path = sounding.videos[0].path
    alone = read_compressed(path, frames, grid=(3, 4), residual_size=size, intra_size=size)
    rows = torch.tensor([0, 4])
    vectors = bank.field("vectors").take(rows).float().flatten(0, 1)
    torch.testing.assert_close(vectors, alone.displacement, atol=0.02, rtol=0)
    assert torch.equal(bank.field("residual").take(rows).flatten(0, 1).short(), alone.residual.clamp(-128, 127))
    assert torch.equal(bank.field("intra").take(rows), alone.intra[[1, 3]])
    assert bank.field("mel").joined().isfinite().all()


def test_residuals_are_whole_in_16_bits(tmp_path, sounding):
    wide = dataclasses.replace(SIGNALS, residual_bits=16)
    banks = [build(tmp_path / str(bits), sounding, signals=each) for bits, each in ((8, SIGNALS), (16, wide))]
    narrow, whole = (bank.field("residual").joined() for bank in banks)
    assert (narrow.dtype, whole.dtype) == (torch.int8, torch.int16)
    assert torch.equal(narrow.short(), whole.clamp(-128, 127))
    # A bank of 8 bits is called what it was before there was the choice, and read from what it says.
    said = banks[0].spec.to_json()
    assert "residual_bits" not in said["signals"]
    assert BankSpec.from_json(said) == banks[0].spec
    assert BankSpec.from_json(banks[1].spec.to_json()).signals == wide
    with pytest.raises(ValueError, match=r"residual_bits \(12\) must be 8 or 16"):
        SignalSpec(residual_bits=12)


class Watched:
    """A watcher that saw one frame, of whose residual three values are known."""

    def signals(self) -> CompressedSignals:
        return CompressedSignals(torch.zeros(1, 2, 3, 4), torch.tensor([-255, 5, 200]).short()[None], None, None)


def test_8_bits_cut_off_what_16_hold(sounding):
    for bits, expected in ((8, [-128, 5, 127]), (16, [-255, 5, 200])):
        spec, _ = spec_of(sounding, fields=("residual",), signals=dataclasses.replace(SIGNALS, residual_bits=bits))
        found = _visual_signals(Watched(), torch.tensor([[7, 7]]), spec)  # type: ignore[arg-type]
        assert found["residual"].tolist() == [[expected, expected]]
        assert found["residual"].dtype == dtype_of("residual", spec)


def test_clips_are_the_same_with_and_without_signals(tmp_path, sounding):
    with_signals = build(tmp_path / "a", sounding)
    without = build(tmp_path / "b", sounding, fields=("logits", "features", "skim"), signals=None)
    for name in ("logits", "skim"):
        assert torch.equal(with_signals.field(name).joined(), without.field(name).joined())


def test_every_frame_is_decoded_once(sounding, monkeypatch):
    spec, _ = spec_of(sounding)
    streams = []
    stream = decode.stream_frames

    def counted(*args, **options):
        streams.append(args[0])
        return stream(*args, **options)

    monkeypatch.setattr(decode, "stream_frames", counted)
    decode_video(sounding.videos[0], spec=spec)
    assert len(streams) == 1


def test_a_video_without_sound_has_no_mel(tmp_path, video_folder):
    dataset = load_dataset(f"folder:{video_folder}", split="train")
    bank = build(tmp_path, dataset, fields=("logits", "mel"), skim=None)
    assert bank.field("mel").joined().isnan().all()


def test_a_video_of_one_frame_has_all_signals(tmp_path, make_video):
    make_video(tmp_path / "videos" / "train" / "a" / "x.mp4", num_frames=1)
    bank = build(tmp_path / "bank", load_dataset(f"folder:{tmp_path / 'videos'}", split="train"))
    assert bank.num_videos == 1
    assert not bank.field("vectors").joined().any()
    assert bank.field("mel").joined().isnan().all()


def test_a_codec_without_vectors_is_left_out_and_named(tmp_path):
    folder = tmp_path / "videos" / "train"
    for name, codec in (("a", "libx264"), ("b", "libx265")):
        (folder / name).mkdir(parents=True)
        with av.open(folder / name / "x.mp4", "w") as container:
            try:
                stream = container.add_stream(codec, rate=Fraction(10), options={"x265-params": "log-level=none"})
            except av.codec.codec.UnknownCodecError:
                pytest.skip(f"this FFmpeg cannot encode with {codec}")
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            for number in range(12):
                pixels = np.full((64, 64, 3), 20 * number, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
    dataset = load_dataset(f"folder:{folder.parent}", split="train")
    bank = build(tmp_path / "bank", dataset, fields=("logits", "vectors"), skim=None)
    assert bank.num_videos == 1
    [(path, reason)] = bank.skipped
    assert path.endswith("b/x.mp4")
    assert "'hevc' exports no motion vectors" in reason


def test_both_sources_show_the_same_signals(tmp_path, sounding):
    spec, classifier = spec_of(sounding)
    bank = BankSource(build(tmp_path, sounding))
    live = LiveSource(sounding, classifier, spec=spec)
    videos, candidates = torch.tensor([1, 0]), torch.tensor([[0, 3], [4, 1]])
    for field in FIELDS[1:]:
        assert live.shapes[field] == bank.shapes[field]
        torch.testing.assert_close(
            live.observe(field, videos, candidates), bank.observe(field, videos, candidates), rtol=1e-3, atol=1e-3
        )


def test_fields_and_their_settings_must_agree(sounding):
    spec, _ = spec_of(sounding)
    with pytest.raises(ValueError, match="there is no 'mel' in fields"):
        spec_of(sounding, fields=("logits", "skim"), signals=None)[0].shape("mel")
    assert BankSpec.from_json(spec.to_json()) == spec
