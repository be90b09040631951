"""The sound of a video as log-mel spectrograms of windows, which SCSampler's audio scorer takes (section 3.3.2).

Shapes: L windows, 40 mel filters, 200 steps of time.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import numpy as np
import torch
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard
from av.video.stream import VideoStream
from numpy.typing import NDArray
from torch import Tensor
from torchaudio.transforms import MelSpectrogram  # type: ignore[import-untyped]

from vidselect_env.video.errors import VideoError, faults_of
from vidselect_env.video.index import VideoIndex, index_video
from vidselect_env.video.opening import decode_packet, open_video, set_up_decoder

MEL_FILTERS, MEL_STEPS = 40, 200
FFT_S = 0.032  # seconds of sound that a step looks at, if that is at least two steps: 512 samples at 16 kHz
SILENCE_POWER = 1e-8  # added before the logarithm: 80 dB below a mean square of 1
LARGEST_GAP_S = 0.05  # where timestamps and the count of samples are further apart, the timestamps are right
BATCH_WINDOWS = 64
BATCH_SAMPLES = 2**23  # of which the transform takes 32 bytes each


def mel_spectrograms(
    path: str | os.PathLike[str],
    centres_s: Tensor,
    *,
    window_s: float,
    sample_rate: int = 16_000,
    index: VideoIndex | None = None,
) -> Tensor | None:
    """Log-mel spectrograms of L windows of a video's sound: (L, 40, 200) float32; None without sound.

    Sound is mixed to mono and resampled. A window has 200 steps, an even number of samples apart: its length
    is rounded to a multiple of 200 samples (12.5 ms at 16 kHz). A step is a Hann window of 32 ms, or of two
    steps where that is longer; filters are triangles on the HTK mel scale, from 0 to half the sample rate.
    Values are log(power + 1e-8), where the powers of a step's filters add up to the mean square of its
    samples, which are in [-1, 1]. Where there is no sound (before its start, after its end, in gaps) there
    is silence. The paper takes windows twice as long as clips; it gives neither sample rate nor step.

    The track is decoded once, from its start as far as it is needed (so that a segment's samples are those of the
    whole file), and what the windows cover is held: 230 MB an hour at 16 kHz.

    Args:
        centres_s: (L,) seconds from the first frame of the file to the middle of each window, in any order. A
            window that goes beyond a segment hears the file.
        window_s: seconds of a window.
        sample_rate: samples/s that the sound is brought to.
        index: of the same file, where the caller has it already (`index_video`).

    Raises:
        ValueError: `centres_s` is not a vector of finite numbers, or the window or the rate is not positive.
        VideoError: the file cannot be read, or its sound does not decode (it is damaged).
    """
    if centres_s.ndim != 1 or not centres_s.isfinite().all():
        raise ValueError(f"centres_s {tuple(centres_s.shape)} must be finite numbers of shape (L,)")
    if not (window_s > 0 and sample_rate > 0):
        raise ValueError(f"window_s ({window_s}) and sample_rate ({sample_rate}) must be positive")
    index = index_video(path) if index is None else index
    hop = max(round(window_s * sample_rate / MEL_STEPS), 1)
    fft = max(round(FFT_S * sample_rate), 2 * hop)
    length = (MEL_STEPS - 1) * hop + fft  # samples from the start of the first step to the end of the last
    starts = [round(centre * sample_rate) - length // 2 for centre in centres_s.tolist()]
    first = min(starts, default=0)
    num_samples = max(starts, default=0) + length - first
    # Damaged timestamps can lie days apart, and a damaged rate make clips as long.
    index.limits.check(path, window_s=length / sample_rate, sound_s=num_samples / sample_rate)
    with faults_of(path, doing="decode the sound of"):
        track = _read_track(path, index, first, num_samples, sample_rate)
        if track is None:
            return None
        return _mel(track, [start - first for start in starts], length, hop, fft, sample_rate)


def _mel(track: Tensor, starts: Sequence[int], length: int, hop: int, fft: int, sample_rate: int) -> Tensor:
    """Log-mel spectrograms of the windows of `length` samples that begin at `starts`: (L, 40, 200)."""
    # `center=False` and a window longer by `fft - hop`: steps at the edges hear what really is around them.
    # `normalized` divides by the energy of the Hann window; with that, 2 / fft turns the sum over frequencies
    # from 0 to half the rate into a mean square, whatever the step.
    spectrogram = MelSpectrogram(
        sample_rate, n_fft=fft, hop_length=hop, n_mels=MEL_FILTERS, center=False, normalized=True
    )
    spectrograms = torch.empty(len(starts), MEL_FILTERS, MEL_STEPS)
    together = min(BATCH_WINDOWS, max(BATCH_SAMPLES // length, 1))
    for begin in range(0, len(starts), together):
        batch = slice(begin, begin + together)
        windows = torch.stack([track[start : start + length] for start in starts[batch]])
        spectrograms[batch] = torch.log(spectrogram(windows) * (2 / fft) + SILENCE_POWER)
    return spectrograms


def _read_track(
    path: str | os.PathLike[str], index: VideoIndex, first: int, num_samples: int, rate: int
) -> Tensor | None:
    """Mono samples from number `first` on, 0 being heard with the first frame: (num_samples,) float32.

    None where the file has no sound.
    """
    track = torch.zeros(num_samples)
    samples = track.numpy()
    has_sound = False
    with open_video(path, allow_corrupt=index.allow_corrupt, limits=index.limits) as (container, video):
        audio = container.streams.best("audio", video)
        if not isinstance(audio, AudioStream):
            return None
        if audio.codec_context is None:
            raise VideoError(path, "there is no decoder for its sound")
        audio.discard, video.discard = Discard.default, Discard.all
        set_up_decoder(audio.codec_context, allow_corrupt=index.allow_corrupt, limits=index.limits)
        try:
            frames = _sound_frames(path, container, audio, allow_corrupt=index.allow_corrupt)
            for place, piece in _pieces(frames, rate, _first_frame_s(index, video)):
                has_sound = True
                begin = place - first
                if begin >= num_samples:
                    break
                lower, upper = max(begin, 0), min(begin + len(piece), num_samples)
                if lower < upper:
                    samples[lower:upper] = piece[lower - begin : upper - begin]
        except av.FFmpegError as error:
            raise VideoError(path, f"its sound does not decode: {error.strerror}") from error
    return track if has_sound else None


def _first_frame_s(index: VideoIndex, video: VideoStream) -> float | None:
    """Seconds at which the first frame is shown, on the clock of the file; None where that is not known."""
    if index.has_timestamps:
        return float(int(index.file.pts[0]) * index.time_base)
    if video.start_time is None or video.time_base is None:
        return None
    return float(video.start_time * Fraction(video.time_base))


def _sound_frames(
    path: str | os.PathLike[str], container: InputContainer, audio: AudioStream, *, allow_corrupt: bool
) -> Iterator[AudioFrame]:
    """What decodes of the sound; unless corrupt frames are allowed, up to the first that is marked as damaged."""
    for packet in container.demux(audio):
        frames = decode_packet(packet, allow_corrupt=allow_corrupt)
        if not allow_corrupt and (packet.is_corrupt or any(frame.is_corrupt for frame in frames)):
            start_s = float(packet.pts * packet.time_base) if packet.pts is not None and packet.time_base else math.nan
            raise VideoError(path, f"its sound is marked as damaged at {start_s:.2f} s")
        yield from frames


def _pieces(
    frames: Iterator[AudioFrame], rate: int, origin_s: float | None
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The sound, piece by piece: the number of the first sample, counted from `origin_s`, and mono samples.

    Pieces follow each other without a gap, as resampling must, until the timestamps say that something is
    missing or the format changes; then a new run begins. Without an origin the sound starts at 0.
    """
    resampler = AudioResampler("flt", "mono", rate)
    run_format = None
    run_start_s = run_seconds = 0.0
    place = 0
    for frame in frames:
        start_s = frame.time if frame.time is not None else run_start_s + run_seconds
        origin_s = start_s if origin_s is None else origin_s
        frame_format = (frame.format.name, frame.layout.name, frame.sample_rate)
        if frame_format != run_format or abs(start_s - run_start_s - run_seconds) > LARGEST_GAP_S:
            for piece in _resample(resampler, None):
                yield place, piece
                place += len(piece)
            resampler = AudioResampler("flt", "mono", rate)
            run_format, run_start_s, run_seconds = frame_format, start_s, 0.0
            place = round((start_s - origin_s) * rate)
        run_seconds += frame.samples / frame.sample_rate
        for piece in _resample(resampler, frame):
            yield place, piece
            place += len(piece)
    for piece in _resample(resampler, None):
        yield place, piece
        place += len(piece)


def _resample(resampler: AudioResampler, frame: AudioFrame | None) -> list[NDArray[np.float32]]:
    """What comes out for a frame, or at the end (None): arrays of mono samples."""
    # Where there is nothing to convert the end passes through as well.
    return [out.to_ndarray()[0] for out in resampler.resample(frame) if out is not None]
