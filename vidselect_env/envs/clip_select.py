"""`VideoClipSelect-v0`: one clip a section, as in DSN.

Shapes: B contexts, M sections a context, N clips a section, C classes, S samples.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from vidselect_env.bank import ClipBank
from vidselect_env.bank.cached import resolve_bank
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.choice import OneInEach
from vidselect_env.envs.options import naming, showing
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.rewards import clip_rewards, is_correct
from vidselect_env.envs.scalar import SelectEnv
from vidselect_env.envs.sections import NUM_DRAWS, Sections
from vidselect_env.envs.sources.bank import BankSource
from vidselect_env.envs.sources.base import Source

OBSERVATIONS = ("skim", "mel", "features")


class ClipSelectProblem(SelectionProblem):
    """Choose one of N clips in each of M sections.

    Args:
        source: where contexts and classifier outputs come from.
        num_sections: M.
        num_clips: N.
        observation: `skim` (M * N, T, 3, h, w) uint8, `mel` (M * N, 40, 200) float32, the sound, or `features`
            (M * N, D) float32; the candidates of section m are rows m * N to m * N + N - 1.
        penalty: of a wrongly classified clip, gamma of DSN's Eq. 6.
        per_section: a context is one section of a video, not the whole video: observations have N rows,
            the action is `Discrete(N)`.
        draw_candidates: an environment offers clips that are drawn at random, each within its part of its section, so
            that it comes to show all candidates of the source; evaluations, and `video_index`, offer the middle ones.
    """

    environment = "VideoClipSelect-v0"

    def __init__(
        self,
        source: Source,
        *,
        num_sections: int = 6,
        num_clips: int = 3,
        observation: str = "skim",
        penalty: float = 0.5,
        per_section: bool = False,
        draw_candidates: bool = False,
    ) -> None:
        if penalty < 0:
            raise ValueError(f"penalty ({penalty}) must be at least 0")
        if observation not in OBSERVATIONS:
            raise ValueError(f"unknown observation {observation!r}: it is {', '.join(OBSERVATIONS)}")
        self.source = source
        self.num_sections = num_sections
        self.num_clips = num_clips
        self.choice = OneInEach(num_clips)
        self.observation, self.penalty, self.per_section = observation, penalty, per_section
        self.draw_candidates = draw_candidates
        self.description = f"one of {num_clips} clips in each of {num_sections} sections, seen by {observation}"
        self.decisions = 1 if per_section else num_sections
        self._sections = Sections(
            source.num_candidates, num_sections, num_clips, per_context=self.decisions, device=source.device
        )
        self.num_contexts, self.num_candidates = self._sections.num_contexts, self.decisions * num_clips
        self._arms: Tensor | None = None
        if source.knows_all:
            everything = torch.arange(self.num_contexts, device=source.device)
            self._arms = torch.cat([self._arm_rewards(part) for part in everything.split(4096)])
            self._best = self._arms.amax(-1).mean(-1)

    def with_sections(self, num_sections: int) -> ClipSelectProblem:
        """The same problem with another M."""
        return self._changed(num_sections, per_section=self.per_section)

    def whole_videos(self) -> ClipSelectProblem:
        return self._changed(self.num_sections, per_section=False) if self.per_section else self

    def _changed(self, num_sections: int, *, per_section: bool) -> ClipSelectProblem:
        return ClipSelectProblem(
            self.source,
            num_sections=num_sections,
            num_clips=self.num_clips,
            observation=self.observation,
            penalty=self.penalty,
            per_section=per_section,
            draw_candidates=self.draw_candidates,
        )

    def budgets(self) -> dict[int, SelectionProblem]:
        """M = 1 to 10 (DSN, Fig. 4), as far as a video has M x N different candidates."""
        fitting = int(self.source.num_candidates.min()) // self.num_clips
        return {sections: self.with_sections(sections) for sections in range(1, max(min(10, fitting), 1) + 1)}

    def repeats(self) -> str | None:
        """What is to be said where videos have fewer candidates than the sections offer; None where all differ."""
        fewest, offered = int(self.source.num_candidates.min()), self.num_sections * self.num_clips
        if fewest >= offered:
            return None
        return (
            f"sections ({self.num_sections}) x clips ({self.num_clips}) are {offered}, more than the {fewest} "
            "candidates of a video: some are offered more than once"
        )

    @property
    def num_drawable(self) -> int:
        return self.num_contexts * NUM_DRAWS if self.draw_candidates else self.num_contexts

    def videos(self, contexts: Tensor) -> Tensor:
        contexts = contexts % self.num_contexts if self.draw_candidates else contexts
        return contexts // self.num_sections if self.per_section else contexts

    def candidates(self, contexts: Tensor) -> Tensor:
        return self._offered(contexts).flatten(1)

    def _offered(self, contexts: Tensor) -> Tensor:
        """Candidates that each section offers, (B, M, N)."""
        return self._sections.drawn(contexts) if self.draw_candidates else self._sections.offered(contexts)

    def action_masks(self, contexts: Tensor) -> Tensor:
        """False for the later copies of a candidate that a section offers more than once: (B, M * N)."""
        candidates = self._offered(contexts)
        is_new = torch.ones_like(candidates, dtype=torch.bool)
        is_new[..., 1:] = candidates[..., 1:] != candidates[..., :-1]
        return is_new.flatten(1)

    def full_information(self, contexts: Tensor) -> Tensor:
        """Rewards of all arms: (B, M, N); (B, 1, N) with `per_section`."""
        if self._arms is None or self.draw_candidates:
            return self._arm_rewards(contexts)
        return self._arms.index_select(0, contexts)

    def decision_rewards(self, contexts: Tensor, actions: Tensor) -> Tensor:
        actions = actions.view(*actions.shape[:1], len(contexts), self.decisions)
        if self._arms is not None:
            arms = self.full_information(contexts).expand(len(actions), -1, -1, -1)
            return arms.gather(-1, actions[..., None]).squeeze(-1)
        # One batch for a classifier that is asked now.
        together = actions.transpose(0, 1).flatten(1)
        rewards, _ = self._rewards(contexts, self._offered(contexts).repeat(1, len(actions), 1), together)
        return rewards.unflatten(1, (len(actions), -1)).transpose(0, 1)

    def outcome(self, contexts: Tensor, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        actions = actions.view(len(contexts), self.decisions).long()
        section_rewards, probabilities = self._rewards(contexts, self._offered(contexts), actions)
        reward = section_rewards.mean(1)
        infos = {
            "video_index": self.videos(contexts),
            "section_rewards": section_rewards,
            "is_correct": is_correct(probabilities.mean(1), self.targets(contexts)),
        }
        if self._arms is not None:
            infos["oracle_reward"] = self._best_rewards(contexts)
            infos["regret"] = infos["oracle_reward"] - reward
        return reward, infos

    def _rewards(self, contexts: Tensor, offered: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Rewards (B, M) of actions (B, M) among offered (B, M, N), and the chosen clips' probabilities (B, M, C)."""
        chosen = offered.gather(-1, actions[..., None]).squeeze(-1)
        probabilities = self.source.probabilities(self.videos(contexts), chosen)
        targets = self.targets(contexts)[:, None].expand_as(probabilities)
        return clip_rewards(probabilities, targets, penalty=self.penalty), probabilities

    def _best_rewards(self, contexts: Tensor) -> Tensor:
        """What the best arms earn, (B,)."""
        drawn = self.draw_candidates
        return self._arm_rewards(contexts).amax(-1).mean(-1) if drawn else self._best.index_select(0, contexts)

    def _arm_rewards(self, contexts: Tensor) -> Tensor:
        probabilities = self.probabilities(contexts)
        targets = self.targets(contexts)[:, None].expand_as(probabilities)
        rewards = clip_rewards(probabilities, targets, penalty=self.penalty)
        return rewards.view(len(contexts), self.decisions, self.num_clips)


def clip_select_problem(
    bank: str | ClipBank | None = None,
    *,
    device: str = "cpu",
    sections: int = 6,
    clips: int = 3,
    observation: str = "skim",
    penalty: float = 0.5,
    per_section: bool = False,
    draw_candidates: bool = False,
    **unknown: object,
) -> ClipSelectProblem:
    """The problem on a bank, with the command line's names: an opened one, its folder, or None for a small one."""
    with naming(ClipSelectProblem.environment, clip_select_problem, unknown):
        problem = ClipSelectProblem(
            BankSource(resolve_bank(bank), device=device),
            num_sections=sections,
            num_clips=clips,
            observation=observation,
            penalty=penalty,
            per_section=per_section,
            draw_candidates=draw_candidates,
        )
    if (repeats := problem.repeats()) is not None:
        warnings.warn(f"{problem.environment}: {repeats}", stacklevel=3)
    return problem


class ClipSelectEnv(SelectEnv):
    """Choose one clip in each section of a video.

    ## Observation
    `observation="skim"`: uint8 (M * N, T, 3, h, w), a low-resolution look at each of the N clips of the
    first section, then of the second, and so on. `observation="features"`: float32 (M * N, D).

    ## Action
    `MultiDiscrete([N] * M)`: the clip chosen in each section; `Discrete(N)` where M = 1 or `per_section`.

    ## Reward
    The mean over sections of DSN's Eq. 6: the probability of the true class if the chosen clip is
    classified correctly, else `-penalty`.

    ## Episode
    One video (one section with `per_section`), one step, which terminates it.
    `reset(options={"video_index": i})` chooses the video.

    ## Info
    `video_index`; after a step also `section_rewards` (M,), `is_correct` (of the fused prediction,
    Eq. 4), and, from a bank, `oracle_reward` and `regret`.

    Args:
        bank: folder of a bank, or None for a small synthetic one, built on first use and cached.
        device: where classifier outputs are kept.
        sections: M. clips: N. observation, penalty, per_section: see above.
        draw_candidates: see `ClipSelectProblem`.
        render_mode: `rgb_array`, a contact sheet of the candidates with the chosen ones framed.
    """

    @showing(clip_select_problem)
    def __init__(self, bank: str | ClipBank | None = None, *, render_mode: str | None = None, **options: Any) -> None:
        super().__init__(clip_select_problem(bank, **options), render_mode=render_mode)


class ClipSelectVectorEnv(SelectVectorEnv):
    """`ClipSelectEnv` for many videos at once, in torch; see there and `SelectVectorEnv`."""

    @showing(clip_select_problem)
    def __init__(
        self,
        num_envs: int = 1,
        bank: str | ClipBank | None = None,
        *,
        repeat_context: int = 1,
        render_mode: str | None = None,
        output: str = "torch",
        **options: Any,
    ) -> None:
        problem = clip_select_problem(bank, **options)
        super().__init__(
            problem, num_envs=num_envs, repeat_context=repeat_context, render_mode=render_mode, output=output
        )
