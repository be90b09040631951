"""A picture of one context: its candidates in rows, the chosen ones framed."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from vidselect_env.envs.choice import OneInEach
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.rewards import label_probability
from vidselect_env.envs.sources.base import Source
from vidselect_env.video.clips import middle_frames
from vidselect_env.video.decode import FrameSize, read_frames
from vidselect_env.video.index import VideoIndex, index_video

_FRAME, _CAPTION, _GAP = 4, 16, 24
_COLUMNS = 5  # of candidates that are in no section
_RIGHT, _WRONG, _GROUND = (60, 170, 90), (215, 75, 65), (24, 24, 28)


def contact_sheet(problem: SelectionProblem, context: Tensor, selection: Tensor | None) -> np.ndarray:
    """The candidates of one context (1,), in rows (a section's in one): (H, W, 3) uint8.

    Under each stands the classifier's probability for the label; those of `selection` (1, K) bool are
    framed, green where the classifier is right and red where it is wrong.
    """
    video = int(problem.videos(context))
    candidates = problem.candidates(context)[0]
    images = thumbnails(problem.source, video, candidates).permute(0, 2, 3, 1).numpy()
    probabilities = problem.probabilities(context)[0]
    targets = problem.targets(context)[0]
    of_label = label_probability(probabilities, targets).tolist()
    right = targets[probabilities.argmax(-1)].tolist()
    chosen = [False] * len(images) if selection is None else selection[0].tolist()

    columns = problem.choice.num_clips if isinstance(problem.choice, OneInEach) else _COLUMNS
    rows = -(-len(images) // columns)
    blocks = 2 if rows > 3 else 1  # side by side: a tall sheet is hard to look at
    rows = -(-rows // blocks)
    height, width = images.shape[1:3]
    cell_height, cell_width = height + 2 * _FRAME + _CAPTION, width + 2 * _FRAME
    block_width = columns * cell_width + _GAP
    sheet = Image.new("RGB", (blocks * block_width - _GAP, rows * cell_height + _CAPTION), _GROUND)
    draw = ImageDraw.Draw(sheet)
    names = [problem.source.spec.class_names[i] for i in targets.nonzero().flatten().tolist()]
    draw.text((_FRAME, 2), f"video {video}: {', '.join(names)}", fill="white")
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        left = row // rows * block_width + column * cell_width
        top = row % rows * cell_height + _CAPTION
        colour = _RIGHT if right[place] else _WRONG
        if chosen[place]:
            box = (left, top, left + cell_width - 1, top + cell_height - _CAPTION - 1)
            draw.rectangle(box, fill=colour)
        sheet.paste(Image.fromarray(image), (left + _FRAME, top + _FRAME))
        draw.text((left + _FRAME, top + height + 2 * _FRAME + 1), f"p = {of_label[place]:.2f}", fill=colour)
    return np.asarray(sheet)


def thumbnails(source: Source, video: int, candidates: Tensor, *, height: int = 96) -> Tensor:
    """The middle frame of candidates (K,) of a video, read from its file: (K, 3, height, width) uint8."""
    index = video_index(source, video)
    grid = source.spec.grid
    middle = grid.frame_indices(index.info.num_frames)[candidates.cpu(), middle_frames(grid.num_frames, 1)]
    width = height * 4 // 3
    return read_frames(index.info.path, middle, sizes=[FrameSize((height, width), (height, width))], index=index)[0]


def video_index(source: Source, video: int) -> VideoIndex:
    """The frames of a video, or of the segment of its file that it is."""
    start_s, end_s = source.segments_s[video] if source.segments_s else (None, None)
    return index_video(source.video_paths[video], start_s=start_s, end_s=end_s, allow_corrupt=source.spec.allow_corrupt)
