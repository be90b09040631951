"""Claims of the index arithmetic: clips lie inside the video, in order, as worked out by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidselect_env.video.clips import ClipGrid, middle_frames, section_candidates, section_parts

counts = st.integers(1, 40)


@given(num_clips=st.none() | counts, num_frames=counts, stride=st.integers(1, 8), video=st.integers(1, 500))
def test_frames_of_a_grid_are_in_the_video_and_in_order(num_clips, num_frames, stride, video):
    grid = ClipGrid(num_clips=num_clips, num_frames=num_frames, frame_stride=stride)
    frames = grid.frame_indices(video)
    assert frames.shape == (len(grid.starts(video)), num_frames)
    assert frames.min() >= 0
    assert frames.max() < video
    assert (frames.diff(dim=1) >= 0).all()
    assert (frames[:, 0].diff() >= 0).all()


@given(num_clips=st.integers(2, 40), num_frames=counts, stride=st.integers(1, 8), video=st.integers(1, 500))
def test_first_clip_starts_with_the_video_and_last_ends_with_it(num_clips, num_frames, stride, video):
    grid = ClipGrid(num_clips=num_clips, num_frames=num_frames, frame_stride=stride)
    frames = grid.frame_indices(video)
    assert len(frames) == num_clips
    assert frames[0, 0] == 0
    assert frames[-1, -1] == min(video - 1, frames[-1, 0] + grid.span - 1)
    if video >= grid.span:
        assert frames[-1, -1] == video - 1
        gaps = frames[:, 0].diff()
        assert gaps.max() - gaps.min() <= 1


@given(num_frames=counts, stride=st.integers(1, 8), video=st.integers(1, 500))
def test_clips_end_to_end_do_not_overlap_and_leave_less_than_a_clip(num_frames, stride, video):
    grid = ClipGrid(num_clips=None, num_frames=num_frames, frame_stride=stride)
    starts = grid.starts(video)
    assert (starts.diff() == grid.span).all()
    assert video - (starts[-1] + grid.span) < grid.span


@pytest.mark.parametrize(
    ("num_clips", "num_frames", "stride", "video", "expected"),
    [
        (3, 3, 2, 11, [[0, 2, 4], [3, 5, 7], [6, 8, 10]]),
        (None, 2, 1, 5, [[0, 1], [2, 3]]),
        (1, 3, 1, 9, [[3, 4, 5]]),
        (2, 4, 1, 2, [[0, 1, 1, 1], [0, 1, 1, 1]]),
    ],
)
def test_grid_lies_where_worked_out_by_hand(num_clips, num_frames, stride, video, expected):
    grid = ClipGrid(num_clips=num_clips, num_frames=num_frames, frame_stride=stride)
    assert grid.frame_indices(video).tolist() == expected


def test_short_clip_repeats_its_last_frame():
    assert ClipGrid(num_clips=1, num_frames=4, frame_stride=2).frame_indices(4).tolist() == [[0, 2, 3, 3]]


def test_grid_of_an_empty_video_is_refused():
    with pytest.raises(ValueError, match=r"num_video_frames \(0\)"):
        ClipGrid(num_clips=3, num_frames=4).starts(0)


@pytest.mark.parametrize("name", ["num_clips", "num_frames", "frame_stride"])
def test_grid_refuses_a_count_of_zero(name):
    with pytest.raises(ValueError, match=name):
        ClipGrid(**{"num_clips": 1, "num_frames": 1, "frame_stride": 1, name: 0})


def test_sections_offer_the_middles_of_their_parts():
    assert section_candidates(30, 3, 2).tolist() == [[2, 7], [12, 17], [22, 27]]
    assert section_candidates(2, 2, 2).tolist() == [[0, 0], [1, 1]]


@given(num_candidates=st.integers(1, 200), sections=st.integers(1, 20), clips=st.integers(1, 20))
def test_sections_offer_sorted_candidates_of_their_own_part(num_candidates, sections, clips):
    offered = section_candidates(num_candidates, sections, clips)
    assert offered.shape == (sections, clips)
    assert offered.min() >= 0
    assert offered.max() < num_candidates
    assert (offered.flatten().diff() >= 0).all()
    if num_candidates >= sections * clips:
        assert len(offered.unique()) == sections * clips
    # Section m covers [m, m + 1) * num_candidates / sections of the grid; both sides times `sections`.
    section = torch.arange(sections)[:, None]
    assert (offered * sections < (section + 1) * num_candidates).all()
    assert ((offered + 1) * sections > section * num_candidates).all()


def test_sections_refuse_a_count_of_zero():
    with pytest.raises(ValueError, match="num_sections"):
        section_candidates(10, 0, 2)


def test_middle_frames_are_worked_out_by_hand():
    assert middle_frames(32, 8).tolist() == list(range(12, 20))
    assert middle_frames(4, 8).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert middle_frames(5, 5).tolist() == [0, 1, 2, 3, 4]


@given(num_frames=st.integers(1, 100), length=st.integers(1, 100))
def test_middle_frames_are_in_the_clip_in_order_and_central(num_frames, length):
    frames = middle_frames(num_frames, length)
    assert len(frames) == length
    assert (frames.diff() >= 0).all()
    left, right = int(frames[0]), num_frames - 1 - int(frames[-1])
    assert left >= 0
    assert right - left in (0, 1) if num_frames >= length else right >= 0


@given(candidates=st.integers(1, 60), sections=st.integers(1, 8), clips=st.integers(1, 5))
def test_every_candidate_belongs_to_one_part_and_the_middle_to_its_own(candidates, sections, clips):
    parts = section_parts(candidates, sections, clips).view(-1, 2)
    middles = section_candidates(candidates, sections, clips).flatten()
    assert ((parts[:, 0] <= middles) & (middles < parts[:, 1])).all()
    if candidates >= sections * clips:
        edges = parts.flatten().tolist()
        assert edges[0] == 0
        assert edges[-1] == candidates
        assert edges[1:-1:2] == edges[2::2]


def test_parts_of_a_section_worked_out_by_hand():
    assert section_parts(10, 2, 2).tolist() == [[[0, 2], [2, 5]], [[5, 7], [7, 10]]]
    assert section_parts(2, 1, 3).tolist() == [[[0, 1], [1, 2], [1, 2]]]
