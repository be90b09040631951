"""A picture of one search: its candidates, those classified framed, and the fused prediction after each.

Shapes: K candidates, C classes.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image, ImageDraw

from vidselect_env.envs.render import contact_sheet
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.envs.search.state import SearchState

_LINE, _RIGHT, _WRONG, _GROUND = 14, (60, 170, 90), (215, 75, 65), (24, 24, 28)


def search_sheet(problem: SearchProblem, state: SearchState, row: int) -> np.ndarray:
    """The sheet of search `row` of a state, with a line for each classified clip under it: (H, W, 3) uint8."""
    one = SearchState(**{f.name: getattr(state, f.name)[row : row + 1] for f in dataclasses.fields(state)})
    sheet = contact_sheet(problem, one.contexts, one.classified)
    told = said_in_order(problem, one)
    image = Image.new("RGB", (sheet.shape[1], sheet.shape[0] + _LINE * (len(told) + 1)), _GROUND)
    image.paste(Image.fromarray(sheet))
    draw = ImageDraw.Draw(image)
    for number, (text, right) in enumerate(told):
        draw.text((4, sheet.shape[0] + _LINE * number), text, fill=_RIGHT if right else _WRONG)
    end = f"{int(one.num_clips)} clips at a price of {float(one.price):.3g}: earned {float(one.earned):.3f}"
    draw.text((4, sheet.shape[0] + _LINE * len(told)), end, fill="white")
    return np.asarray(image)


def said_in_order(problem: SearchProblem, state: SearchState) -> list[tuple[str, bool]]:
    """For each classified clip of a single search, what the fused prediction then was, and whether it was right."""
    order, probabilities = state.order[0], problem.probabilities(state.contexts)[0]
    targets, names = problem.targets(state.contexts)[0], problem.source.spec.class_names
    places = order.argsort()[order.sort().values > 0]
    told = []
    for count in range(1, len(places) + 1):
        fused = probabilities[places[:count]].mean(0)
        label = int(fused.argmax())
        text = f"{count}. candidate {int(places[count - 1])}: {names[label]}, {float(fused[label]):.2f}"
        told.append((text, bool(targets[label])))
    return told
