"""A bank of segments is the bank of the same frames cut out, and remembers where they were."""

from __future__ import annotations

import dataclasses

import av
import numpy as np
import pytest
import torch

from vidselect_classifiers import ClipGeometry, make_classifier
from vidselect_env.bank import BankError, SignalSpec, SkimSpec, bank_spec, build_bank, open_bank
from vidselect_env.bank.decode import decode_video, read_with_fields
from vidselect_env.datasets import LabelledVideo, VideoDataset
from vidselect_env.datasets.synthetic import synthetic_dataset
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.render import thumbnails
from vidselect_env.envs.sources import BankSource, LiveSource
from vidselect_env.experiment.config import ProblemConfig
from vidselect_env.experiment.recognise import recognise
from vidselect_env.fitting.loader import ClipLoader
from vidselect_env.video.decode import FrameSize
from vidselect_env.video.index import index_video

FIELDS = ("logits", "features", "skim", "vectors", "residual", "intra", "mel")
SIGNALS = SignalSpec(num_frames=2, cells=(3, 4), resize=(16, 16), crop=(16, 16))
ACTION = ((1.5, 1.75),)


@pytest.fixture(scope="module")
def sounding(tmp_path_factory) -> str:
    """A video of 12 s at 15 frames/s, with sound."""
    cache = tmp_path_factory.mktemp("set")
    return synthetic_dataset(split="test", kind="v1", num_test=1, cache_dir=cache, progress=False).videos[0].path


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return make_classifier("tiny_r3d", num_classes=2).eval()


def dataset_of(path: str) -> VideoDataset:
    videos = (
        LabelledVideo(path, (0,), start_s=1.0, end_s=3.0, action_spans_s=ACTION),
        LabelledVideo(path, (1,), start_s=6.0),
        LabelledVideo(path, (1,)),
    )
    return VideoDataset(name="parts", split="test", class_names=("a", "b"), videos=videos)


def spec_of(dataset, classifier, **options):
    skim = SkimSpec(num_frames=2, resize=(8, 8), crop=(8, 8))
    return bank_spec(dataset, classifier, **({"fields": FIELDS, "num_clips": 4, "skim": skim} | options))


@pytest.fixture(scope="module")
def built(tmp_path_factory, sounding, classifier):
    folder = tmp_path_factory.mktemp("bank")
    dataset = dataset_of(sounding)
    spec = spec_of(dataset, classifier, signals=SIGNALS)
    return folder, build_bank(folder, dataset, classifier, spec=spec, shard_videos=2, progress=False)


def test_clips_and_signals_of_a_segment_are_the_files_own(sounding, classifier):
    video = dataset_of(sounding).videos[0]
    spec = spec_of(dataset_of(sounding), classifier, signals=SIGNALS)
    part = decode_video(video, spec=spec)
    assert part.num_frames == 30
    whole = index_video(sounding)
    frames = spec.grid.frame_indices(30) + 15
    geometry = classifier.geometry
    sizes = [FrameSize(geometry.resize, geometry.crop)]
    [clips], fields = read_with_fields(sounding, frames, spec=spec, sizes=sizes, index=whole)
    assert torch.equal(part.clips, clips)
    assert set(fields) == {"skim", "vectors", "residual", "intra", "mel"}
    for name, values in fields.items():
        assert torch.equal(part.fields[name], values), name


def test_a_bank_remembers_segments_actions_and_where_its_candidates_lie(built, sounding):
    folder, bank = built
    assert bank.video_paths == (sounding,) * 3
    assert bank.segments_s == ((1.0, 3.0), (6.0, None), (None, None))
    assert bank.action_spans_s == (ACTION, (), ())
    assert bank.num_video_frames.tolist() == [30, 90, 180]
    spans = bank.candidate_spans_s()
    # Clips of 8 frames, the first of 4 at the start of its segment, the last at its end; 15 frames/s.
    expected = [[1, 1 + 8 / 15], [1 + 7 / 15, 2], [1 + 14 / 15, 1 + 22 / 15], [3 - 8 / 15, 3]]
    torch.testing.assert_close(spans[:4], torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(spans[7], torch.tensor([12 - 8 / 15, 12], dtype=torch.float64), atol=1e-6, rtol=0)
    again = open_bank(folder)
    assert (again.segments_s, again.action_spans_s) == (bank.segments_s, bank.action_spans_s)
    assert torch.equal(again.candidate_spans_s(), spans)


def test_a_bank_that_knows_no_spans_says_so_when_asked(make_bank):
    with pytest.raises(BankError, match="does not say where its candidates lie: build it again"):
        make_bank().candidate_spans_s()


def test_parts_must_be_of_every_video(make_bank):
    bank = make_bank(num_videos=3, num_clips=2)
    assert bank.segments_s == bank.action_spans_s == ()
    for name, value in (("segments_s", ((0.0, 1.0),)), ("action_spans_s", (ACTION,)), ("spans_s", torch.zeros(5, 2))):
        with pytest.raises(BankError, match=rf"{name} \(\d\) must be \d in a bank of 3 videos"):
            dataclasses.replace(bank, **{name: value})


@pytest.fixture
def brightness_video(tmp_path):
    """40 frames at 25 frames/s; frame i is 6 i bright."""
    path = tmp_path / "bright.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "10"})
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number in range(40):
            picture = np.full((32, 32, 3), 6 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return str(path)


def shown(pictures) -> list[int]:
    """Frame numbers of (K, 3, h, w) pictures."""
    return (pictures.float().mean(dim=(-3, -2, -1)) / 6).round().int().tolist()


def bright_dataset(path: str) -> VideoDataset:
    video = LabelledVideo(path, (0,), start_s=0.8, end_s=1.6)
    return VideoDataset(name="bright", split="test", class_names=("a", "b"), videos=(video,))


def test_pictures_of_candidates_come_from_the_segment(tmp_path, classifier, brightness_video):
    dataset = bright_dataset(brightness_video)
    spec = spec_of(dataset, classifier, fields=("logits", "skim"))
    bank = build_bank(tmp_path / "bank", dataset, classifier, spec=spec, progress=False)
    sources = [BankSource(bank), LiveSource(dataset, classifier, spec=spec)]
    for source in sources:
        # Frames 20 to 39; clips of 8 begin at 0, 4, 8, 12 of these, and their middle is 3 later.
        assert shown(thumbnails(source, 0, torch.arange(4))) == [23, 27, 31, 35]
    assert shown(bank.field("skim").joined()[:, 0]) == [23, 27, 31, 35]
    sources[1].close()


def test_a_clip_loader_takes_clips_of_the_segment(classifier, brightness_video):
    geometry = ClipGeometry(num_frames=4, frame_stride=1, resize=(32, 32), crop=(32, 32))
    for cache in (False, True):
        loader = ClipLoader(
            bright_dataset(brightness_video),
            geometry,
            batch_size=1,
            training=False,
            generator=torch.Generator(),
            cache=cache,
        )
        [(clips, _)] = list(loader)
        assert shown(clips[0]) == [28, 29, 30, 31]


def test_recognition_looks_at_the_segment_and_tells_seconds_of_the_file(classifier, brightness_video):
    class Last:
        """Takes the last candidate, and remembers what it saw."""

        needs = Needs(fields=("skim",), environment="VideoFrameSelect-v0", observation="skim")

        def select(self, looks):
            self.seen = looks.field("skim")[0, :, 0]
            return looks.best(looks.places)

        def cost_gmacs(self, shapes):
            return 0.0

    spec, selector = spec_of(bright_dataset(brightness_video), classifier, fields=("skim",)), Last()
    found = recognise(
        brightness_video,
        selector,
        classifier=classifier,
        spec=spec,
        problem=ProblemConfig(frames=4, kept=1),
        start_s=0.8,
        end_s=1.6,
    )
    assert shown(selector.seen) == [23, 27, 31, 35]
    assert found.start_s.tolist() == pytest.approx([0.8 + 12 / 25])
