"""What happens in the videos of the default problem, and how it looks and sounds."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from vidselect_env.datasets.synthetic import MOTIONS
from vidselect_env.datasets.synthetic.motions import MotionSpan, object_poses
from vidselect_env.datasets.synthetic.rendering import render_frames
from vidselect_env.datasets.synthetic.scenes import DISTURBANCES, Scene, Span, draw_scene, draw_trimmed_scene
from vidselect_env.datasets.synthetic.sound import SAMPLE_RATE, render_sound


def scenes(number: int, num_frames: int = 150) -> list[Scene]:
    return [draw_scene(i % 8, num_frames, np.random.default_rng(i)) for i in range(number)]


def render(scene: Scene, *, num_frames: int = 30, seed: int = 0) -> np.ndarray:
    return render_frames(scene, num_frames=num_frames, height=120, width=160, rng=np.random.default_rng(seed))


# Motions


def test_left_goes_left_and_snaps_back():
    span = MotionSpan(motion="left", first_frame=1, last_frame=5, num_periods=1)
    poses = object_poses([span], 8, travel=40, turn=1)
    np.testing.assert_allclose(poses.x, [0, 0, -8, -16, 16, 8, 0, 0], atol=1e-5)
    assert not poses.y.any()
    assert not poses.angle.any()
    assert (poses.scale == 1).all()


@pytest.mark.parametrize(
    ("motion", "name", "sign"),
    [
        ("right", "x", 1),
        ("up", "y", -1),
        ("down", "y", 1),
        ("clockwise", "angle", 1),
        ("anticlockwise", "angle", -1),
        ("grow", "scale", 1),
        ("shrink", "scale", -1),
    ],
)
def test_a_motion_changes_one_thing_in_one_direction(motion, name, sign):
    span = MotionSpan(motion=motion, first_frame=0, last_frame=9, num_periods=1)
    poses = object_poses([span], 10, travel=40, turn=math.pi)
    for other in ("x", "y", "angle", "scale"):
        steps = np.diff(getattr(poses, other))
        assert (np.sign(steps[:4]) == (sign if other == name else 0)).all()


def test_an_unknown_motion_is_refused():
    with pytest.raises(ValueError, match=r"motion \('jump'\) must be one of left, "):
        MotionSpan(motion="jump", first_frame=0, last_frame=1, num_periods=1)


@pytest.mark.parametrize("number", range(0, len(MOTIONS), 2))
def test_single_poses_of_opposite_motions_are_the_same(number):
    spans = [
        MotionSpan(motion=motion, first_frame=0, last_frame=9, num_periods=1, start_phase=0.05)
        for motion in MOTIONS[number : number + 2]
    ]
    first, second = (object_poses([span], 10, travel=40, turn=2 * math.pi) for span in spans)
    for name in ("x", "y", "scale"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name)[::-1], atol=1e-4)
    np.testing.assert_allclose(np.cos(first.angle), np.cos(second.angle)[::-1], atol=1e-4)


# What happens


def test_action_fills_a_sixth_to_a_quarter_of_a_video():
    for number, scene in enumerate(scenes(200)):
        assert 0.16 <= sum(span.num_frames for span in scene.action) / 150 <= 0.26
        assert {span.motion for span in scene.action} == {MOTIONS[number % 8]}
        assert 2 <= len(scene.action) <= 3


@pytest.mark.parametrize("num_frames", [120, 150])
def test_cuts_lie_between_the_bursts_of_the_action(num_frames):
    for scene in scenes(200, num_frames):
        spans = sorted((*scene.action, *scene.away), key=lambda span: span.first_frame)
        ends = [(span.first_frame, span.last_frame) for span in spans]
        assert all(later - earlier > 3 for (_, earlier), (later, _) in itertools.pairwise(ends))
        assert ends[0][0] >= 0
        assert ends[-1][1] < num_frames
        assert scene.away
        assert scene.is_away(num_frames).sum() == sum(span.num_frames for span in scene.away)


def test_the_place_of_the_action_in_time_says_little():
    inside = np.zeros(150)
    for scene in scenes(800):
        for span in scene.action:
            inside[span.first_frame : span.last_frame + 1] += 1 / 800
    fifths = inside.reshape(5, 30).mean(1)
    assert fifths.max() < 1.35 * fifths.mean()


def test_disturbances_do_not_know_of_the_action():
    disturbed, acting, both = np.zeros(3), 0.0, np.zeros(3)
    for scene in scenes(800):
        action = np.zeros(150, bool)
        for span in scene.action:
            action[span.first_frame : span.last_frame + 1] = True
        acting += action.mean()
        for number, kind in enumerate(DISTURBANCES):
            shown = np.zeros(150, bool)
            for span in scene.disturbances:
                shown[span.first_frame : span.last_frame + 1] |= span.kind == kind
            disturbed[number] += shown.mean()
            both[number] += (shown & action).mean()
    np.testing.assert_allclose(both / disturbed, acting / 800, atol=0.04)


def test_the_bystander_moves_for_longer_than_the_actor():
    moving = [sum(span.num_frames for span in scene.elsewhere) for scene in scenes(200)]
    assert np.mean(moving) > 1.5 * np.mean([sum(span.num_frames for span in scene.action) for scene in scenes(200)])


def test_all_of_a_trimmed_clip_is_action_and_some_are_disturbed():
    drawn = [draw_trimmed_scene(3, 12, np.random.default_rng(seed)) for seed in range(200)]
    for scene in drawn:
        (span,) = scene.action
        assert (span.motion, span.first_frame, span.last_frame, scene.away, scene.tones) == ("down", 0, 11, (), None)
    shares = Counter(kind for scene in drawn for kind in {span.kind for span in scene.disturbances})
    assert all(0.05 < shares[kind] / 200 < 0.6 for kind in DISTURBANCES)
    assert 0.4 < np.mean([bool(scene.distractors) for scene in drawn]) < 0.8


# Sound


def test_sound_goes_with_the_action_in_some_videos_lies_elsewhere_in_others_and_is_absent_from_the_rest():
    drawn = scenes(400)
    silent = [scene for scene in drawn if scene.tones is None]
    helpful = [scene for scene in drawn if scene.tones == scene.action]
    misleading = [scene for scene in drawn if scene.tones not in (None, scene.action)]
    assert all(0.2 < len(group) / 400 < 0.55 for group in (silent, helpful, misleading))
    for scene in misleading:
        for tone, span in itertools.product(scene.tones, scene.action):
            assert tone.last_frame < span.first_frame or span.last_frame < tone.first_frame
    assert render_sound(silent[0], num_frames=150, fps=15, rng=np.random.default_rng(0)) is None


def test_a_tone_sounds_at_the_pitch_of_its_motion():
    tone = MotionSpan(motion="up", first_frame=30, last_frame=59, num_periods=2)
    scene = Scene(label=2, action=(), tones=(tone,))
    sound = render_sound(scene, num_frames=90, fps=15, rng=np.random.default_rng(0))
    assert (sound.shape, sound.dtype) == ((6 * SAMPLE_RATE,), np.float32)
    seconds = np.abs(np.fft.rfft(sound.reshape(3, -1), axis=1)).argmax(axis=1) / 2
    pitch = 220 * 2 ** (4 * MOTIONS.index("up") / 12)
    assert seconds[[0, 2]].tolist() == [50, 50]
    assert abs(math.log2(seconds[1] / pitch)) < 1 / 12


def test_a_bang_is_heard():
    bang = Span(kind="bang", first_frame=15, last_frame=29)
    sound = render_sound(
        Scene(label=0, action=(), tones=(), bangs=(bang,)), num_frames=45, fps=15, rng=np.random.default_rng(0)
    )
    loudness = sound.reshape(3, -1).std(1)
    assert loudness[1] > 1.2 * max(loudness[0], loudness[2])


# Pictures


def test_the_look_of_a_video_does_not_depend_on_its_motion():
    resting = [
        render(
            Scene(
                label=label,
                action=(MotionSpan(motion=motion, first_frame=5, last_frame=9, num_periods=1),),
                away=(Span(kind="away", first_frame=2, last_frame=3),),
            ),
            num_frames=10,
        )[:5]
        for label, motion in enumerate(MOTIONS)
    ]
    assert all((frames == resting[0]).all() for frames in resting)


def test_the_actor_is_warm_the_bystander_cold_and_the_other_place_has_no_actor():
    standing = MotionSpan(motion="up", first_frame=29, last_frame=29, num_periods=0)
    scene = Scene(label=0, action=(), elsewhere=(standing,), away=(Span(kind="away", first_frame=10, last_frame=19),))
    for seed in range(5):
        red, _, blue = np.moveaxis(render(scene, seed=seed).astype(int), -1, 0)
        warm, cold = (red - blue > 60).mean((1, 2)), (blue - red > 60).mean((1, 2))
        assert (warm[[5, 25]] > 0.02).all()
        assert cold[15] > 0.02
        assert warm[15] < 0.01 > cold[[5, 25]].max()


@pytest.mark.parametrize("kind", DISTURBANCES)
def test_a_disturbance_changes_more_pixels_than_the_action(kind):
    action = (MotionSpan(motion="left", first_frame=0, last_frame=13, num_periods=1),)
    disturbances = (Span(kind=kind, first_frame=15, last_frame=29),)
    ratios = []
    for seed in range(5):
        frames = render(Scene(label=0, action=action, disturbances=disturbances), seed=seed)
        coarse = frames.reshape(30, 15, 8, 20, 8, 3).mean(axis=(2, 4))  # camera noise averages out
        change = np.abs(np.diff(coarse, axis=0)).mean(axis=(1, 2, 3))
        ratios.append(change[15:].mean() / change[:13].mean())
    assert np.mean(ratios) > 1
