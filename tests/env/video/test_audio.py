"""Claims of the mel spectrograms, on sounds of which it is known when and at which pitch they are heard."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from vidselect_env.datasets.synthetic import synthetic_dataset, truth_spans
from vidselect_env.video.audio import MEL_FILTERS, MEL_STEPS, SILENCE_POWER, mel_spectrograms
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import index_video

FPS, RATE = 10, 16_000
SILENCE = math.log(SILENCE_POWER)


def tone(frequency, seconds, *, rate=RATE, level=0.5):
    return (level * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def silence(seconds, *, rate=RATE):
    return np.zeros(int(seconds * rate), dtype=np.float32)


def write_sound(path, sounds, *, seconds=4.0, rate=RATE, codec="pcm_s16le", video_start_s=0.0):
    """A grey video of `seconds` from `video_start_s` on, with mono sounds: [(start in seconds, (S,) samples)]."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        audio = container.add_stream(codec, rate=rate, layout="mono") if sounds else None
        for number in range(int(seconds * FPS)):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64), 90, dtype=np.uint8), format="gray")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = number + round(video_start_s * FPS), Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            for start_s, samples in sounds:
                for begin in range(0, len(samples), 1024):
                    piece = (samples[None, begin : begin + 1024] * 32767).astype(np.int16)
                    sound = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
                    sound.sample_rate = rate
                    sound.pts = round(start_s * rate) + begin
                    container.mux(audio.encode(sound))
            container.mux(audio.encode(None))
    return path


def spectrograms_of(path, centres_s, window_s):
    spectrograms = mel_spectrograms(path, torch.as_tensor(centres_s), window_s=window_s)
    assert spectrograms is not None
    return spectrograms


def heard(spectrograms):
    """Whether each window holds any sound: a list of L."""
    return (spectrograms.amax(dim=(1, 2)) > SILENCE + 6).tolist()


def onset_s(spectrogram, centre_s, window_s):
    """When the first half of a window's loudness is reached, at its loudest filter, in seconds."""
    loudest = spectrogram[spectrogram.mean(dim=1).argmax()].exp()
    step = int(torch.nonzero(loudest > loudest.max() / 2)[0])
    return centre_s + (step - (MEL_STEPS - 1) / 2) * window_s / MEL_STEPS


def test_a_tone_sounds_in_the_filter_of_its_pitch(tmp_path):
    # The HTK mel scale is 2595 log10(1 + f / 700). 42 points from 0 to the 2840.0 mel of 8 kHz, 69.3 mel apart,
    # are the corners of 40 triangles: filter m peaks at (m + 1) * 69.3 mel.
    for frequency, nearest in ((440, 7), (955, 13), (2000, 21), (4000, 30)):
        mel = 2595 * math.log10(1 + frequency / 700)
        assert round(mel / (2840.02 / 41)) - 1 == nearest
        path = write_sound(tmp_path / f"{frequency}.mkv", [(0, tone(frequency, 4))])
        spectrograms = spectrograms_of(path, [1.0, 2.0, 3.0], 1.6)
        assert spectrograms.shape == (3, MEL_FILTERS, MEL_STEPS)
        assert spectrograms.dtype == torch.float32
        assert (spectrograms.argmax(dim=1) == nearest).all()
        others = torch.cat([spectrograms[:, : nearest - 2], spectrograms[:, nearest + 3 :]], dim=1)
        assert (spectrograms[:, nearest] - others.amax(dim=1)).min() > 4


def test_a_tone_is_heard_only_in_the_windows_where_it_sounds(tmp_path):
    path = write_sound(tmp_path / "late.mkv", [(0, np.concatenate([silence(2), tone(500, 1), silence(2)]))], seconds=5)
    spectrograms = spectrograms_of(path, [0.5, 1.4, 1.8, 2.5, 3.2, 3.6, 4.5], 1.0)
    assert heard(spectrograms) == [False, False, True, True, True, False, False]
    # The window around 1.8 lasts from 1.3 to 2.3, that around 3.2 from 2.7 to 3.7: 0.3 of each sounds.
    loud = spectrograms.amax(dim=1) > SILENCE + 6
    assert loud.float().mean(dim=1)[[2, 3, 4]].tolist() == pytest.approx([0.3, 1.0, 0.3], abs=0.02)
    assert onset_s(spectrograms[2], 1.8, 1.0) == pytest.approx(2.0, abs=0.01)


def test_windows_may_overlap_and_come_in_any_order(tmp_path):
    path = write_sound(tmp_path / "rising.mkv", [(0, np.concatenate([tone(300, 2), tone(3000, 2)]))])
    centres = torch.tensor([3.0, 0.5, 2.0, 0.5, 2.25])
    together = spectrograms_of(path, centres, 1.0)
    for row, centre in enumerate(centres):
        alone = spectrograms_of(path, centre[None], 1.0)
        torch.testing.assert_close(together[row], alone[0])


def test_more_windows_than_a_batch_are_the_same_windows(tmp_path):
    path = write_sound(tmp_path / "tone.mkv", [(0, np.concatenate([tone(300, 2), tone(3000, 2)]))])
    centres = torch.linspace(0, 4, 131)
    many = spectrograms_of(path, centres, 0.5)
    torch.testing.assert_close(many[[0, 64, 130]], spectrograms_of(path, centres[[0, 64, 130]], 0.5))


@pytest.mark.parametrize(("codec", "name"), [("aac", "late.mp4"), ("pcm_s16le", "late.mkv"), ("libopus", "late.mkv")])
def test_sound_that_starts_later_than_the_video_is_in_its_place(tmp_path, codec, name):
    rate = 48_000 if codec == "libopus" else RATE
    path = write_sound(tmp_path / name, [(1.5, tone(500, 2, rate=rate))], codec=codec, rate=rate)
    spectrograms = spectrograms_of(path, [0.7, 1.5, 3.0, 3.9], 1.0)
    assert heard(spectrograms) == [False, True, True, True]
    assert onset_s(spectrograms[1], 1.5, 1.0) == pytest.approx(1.5, abs=0.02)


def test_video_that_starts_later_than_the_sound_begins_at_its_first_frame(tmp_path):
    sound = np.concatenate([tone(500, 0.6), silence(0.9), tone(500, 1)])  # 1.5 is 0.5 after the first frame
    path = write_sound(tmp_path / "late_picture.mkv", [(0, sound)], video_start_s=1.0)
    assert index_video(path).pts[0] > 0
    spectrograms = spectrograms_of(path, [-0.7, 0.1, 0.5], 0.6)
    assert heard(spectrograms) == [True, False, True]
    assert onset_s(spectrograms[2], 0.5, 0.6) == pytest.approx(0.5, abs=0.01)


def test_sound_of_a_video_that_does_not_time_its_frames_is_in_its_place(tmp_path):
    sound = np.concatenate([silence(2), tone(500, 1)])
    path = write_sound(tmp_path / "untimed.avi", [(0, sound)])
    assert not index_video(path).has_timestamps
    (spectrogram,) = spectrograms_of(path, [2.0], 1.0)
    assert onset_s(spectrogram, 2.0, 1.0) == pytest.approx(2.0, abs=0.05)


def test_after_a_gap_the_sound_goes_on_at_its_own_time(tmp_path):
    path = write_sound(tmp_path / "gap.mkv", [(0, tone(500, 1)), (2.5, tone(500, 1))])
    spectrograms = spectrograms_of(path, [0.5, 1.75, 2.5], 1.0)
    assert heard(spectrograms) == [True, False, True]
    assert onset_s(spectrograms[2], 2.5, 1.0) == pytest.approx(2.5, abs=0.01)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_sound_of_any_rate_keeps_pitch_and_time(tmp_path, rate):
    sound = np.concatenate([silence(3, rate=rate), tone(955, 1, rate=rate)])
    path = write_sound(tmp_path / "rate.mkv", [(0, sound)], rate=rate)
    (spectrogram,) = spectrograms_of(path, [3.0], 1.0)
    assert (spectrogram[:, 110:].argmax(dim=0) == 13).all()
    assert onset_s(spectrogram, 3.0, 1.0) == pytest.approx(3.0, abs=0.01)


def test_silence_and_what_lies_outside_the_track_are_one_finite_constant(tmp_path):
    path = write_sound(tmp_path / "silent.mkv", [(0, silence(4))])
    spectrograms = spectrograms_of(path, [-50.0, 0.0, 2.0, 4.0, 300.0], 1.0)
    torch.testing.assert_close(spectrograms, torch.full_like(spectrograms, SILENCE))


@pytest.mark.parametrize("window_s", [0.2, 1.0, 3.0, 20.0])
def test_filters_add_up_to_the_mean_square_of_the_sound_whatever_the_window(tmp_path, window_s):
    noise = np.random.default_rng(0).normal(0, 0.1, 24 * RATE).astype(np.float32)
    path = write_sound(tmp_path / "noise.mkv", [(0, noise + tone(955, 24, level=0.2))], seconds=24)
    (spectrogram,) = spectrograms_of(path, [12.0], window_s)
    powers = spectrogram.exp().mean(dim=1)
    # Variance 0.01, and 0.2 ** 2 / 2; the triangles leave out half of what is below the first and above the last.
    assert powers.sum() == pytest.approx(0.01 + 0.02, rel=0.05)
    # The last triangle stands on 2702 to 2840 mel, 6993 to 8000 Hz: half of that, of the 8000 Hz of the noise.
    assert powers[-1] == pytest.approx(0.01 * 0.5 * 1007 / 8000, rel=0.1)


def test_a_file_without_a_sound_track_has_no_spectrograms(tmp_path):
    path = write_sound(tmp_path / "mute.mp4", [])
    assert mel_spectrograms(path, torch.tensor([1.0]), window_s=1.0) is None


def test_no_windows_are_no_spectrograms(tmp_path):
    path = write_sound(tmp_path / "tone.mkv", [(0, tone(500, 4))])
    assert spectrograms_of(path, torch.zeros(0), 1.0).shape == (0, MEL_FILTERS, MEL_STEPS)


def test_a_damaged_sound_track_raises_one_error(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.2, 4 * RATE).astype(np.float32)
    path = write_sound(tmp_path / "damaged.mp4", [(0, noise)], codec="aac")
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    for position, size in places[20:40]:
        content[position : position + size] = b"\xff" * size
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"damaged\.mp4.*its sound does not decode"):
        spectrograms_of(path, [1.0], 1.0)


def test_arguments_that_make_no_sense_are_refused(tmp_path):
    path = tmp_path / "missing.mp4"
    for centres in (torch.tensor(1.0), torch.tensor([math.nan])):
        with pytest.raises(ValueError, match=r"centres_s .* must be finite numbers of shape \(L,\)"):
            spectrograms_of(path, centres, 1.0)
    with pytest.raises(ValueError, match=r"window_s \(0\) and sample_rate \(16000\) must be positive"):
        spectrograms_of(path, [1.0], 0)
    with pytest.raises(VideoError, match=r"missing\.mp4"):
        spectrograms_of(path, [1.0], 1.0)


def test_the_action_of_a_synthetic_video_is_heard_at_its_pitch(tmp_path):
    dataset = synthetic_dataset(kind="v1", num_train=3, cache_dir=tmp_path, progress=False)
    for video in dataset.videos:
        truth = truth_spans(video.path)
        span = max(truth.action, key=lambda span: span.num_frames)
        fps = index_video(video.path).info.fps
        length_s = span.num_frames / fps
        centre_s = (span.first_frame + span.last_frame + 1) / 2 / fps
        (spectrogram,) = spectrograms_of(video.path, [centre_s], 2 * length_s)
        pitch = 220 * 2 ** (4 * truth.label / 12)
        expected = 2595 * math.log10(1 + pitch / 700) / (2840.02 / 41) - 1
        # The action fills the middle half of the window.
        during, before = spectrogram[:, 60:140], spectrogram[:, :40]
        assert abs(int(during.mean(dim=1).argmax()) - expected) <= 1
        assert during.mean(dim=1).max() > before.mean(dim=1)[int(during.mean(dim=1).argmax())] + 2


DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of shared videos is not there")


@needs_data
@pytest.mark.parametrize(
    "name",
    [
        "odd_videos/SOX5yA1l24A.mp4",
        "odd_videos/WUzgd7C1pWA.mp4",
        "odd_videos/decord_flipping_a_pancake.mkv",
        "odd_videos/torchcodec_nasa_13013.mp4",
        "surv_fight/noFight/nofi040.mp4",
    ],
)
def test_real_sound_gives_finite_spectrograms_that_are_not_silent(name):
    index = index_video(DATA / name)
    assert index.info.has_audio
    centres = torch.linspace(0, index.info.duration_s, 30)
    spectrograms = mel_spectrograms(DATA / name, centres, window_s=1.3, index=index)
    assert spectrograms is not None
    assert spectrograms.shape == (30, MEL_FILTERS, MEL_STEPS)
    assert spectrograms.isfinite().all()
    assert sum(heard(spectrograms)) >= 25


@needs_data
@pytest.mark.parametrize("name", ["torchcodec_av1_video.mkv", "v_SoccerJuggling_g23_c01.avi", "decord_video_90.mov"])
def test_real_files_without_sound_have_no_spectrograms(name):
    assert mel_spectrograms(DATA / "odd_videos" / name, torch.tensor([0.5]), window_s=1.0) is None


@needs_data
def test_unreadable_file_raises_the_error_of_reading_it(tmp_path):
    path = tmp_path / "cut.mp4"
    path.write_bytes((DATA / "odd_videos" / "SOX5yA1l24A.mp4").read_bytes()[:50_000])
    with pytest.raises(VideoError, match=r"cut\.mp4"):
        spectrograms_of(path, [0.5], 1.0)
