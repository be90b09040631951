"""`VideoFrameSelect-v0`: keep or drop each of T candidates, as in attention-aware sampling (AS).

Shapes: B contexts, T candidates, C classes, D features, S samples.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vidselect_env.bank import ClipBank
from vidselect_env.bank.cached import resolve_bank
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.choice import BestOf
from vidselect_env.envs.options import naming, showing
from vidselect_env.envs.problem import SelectionProblem, spread_candidates
from vidselect_env.envs.rewards import GAINS, REWARDS, attention_rewards, gain_rewards, is_correct, prediction_worth
from vidselect_env.envs.scalar import SelectEnv
from vidselect_env.envs.sources.bank import BankSource
from vidselect_env.envs.sources.base import Source

OBSERVATIONS = ("features+predictions", "features", "predictions", "skim", "mel")


class FrameSelectProblem(SelectionProblem):
    """Keep some of T candidates, evenly spread over the video, and average what the classifier says of them.

    T may be all of a video's candidates, of which videos have different numbers (SCSampler's L): contexts are
    then padded to the longest by repeating their last candidate, which `valid` tells and nobody can keep.

    A selection that keeps nothing predicts nothing, and counts as wrong: AS's reward punishes it by `-omega`, as a
    turn from right to wrong, another by the worth of a prediction that knows nothing. (With `alpha` above 0 nothing
    is ever dropped altogether, so an empty selection is the plain mean.)

    Args:
        source: where contexts and classifier outputs come from.
        num_candidates: T; a grid with fewer candidates is refused. None for all candidates of each video.
        num_kept: m of AS's Eq. 9 and Algorithm 2, K of SCSampler: how many a selector keeps.
        observation: `features+predictions` (T, D + C) float32, or either part alone (AS, Table 2); or `skim`
            (T, S, 3, h, w) uint8.
        reward: `attention`: AS's (Eqs. 2 and 4), by `omega`; what the fused prediction is worth: `correct`, `log_prob`
            or `margin` (`prediction_worth`); or what it gains over that of all: `gain` or `confidence`
            (`gain_rewards`).
        omega: reward of turning a wrong prediction right (Eq. 4).
        alpha: weight of a dropped candidate (Eq. 10), in [0, 1).

    Raises:
        ValueError: a setting out of range, or a video with fewer than T candidates.
    """

    environment = "VideoFrameSelect-v0"

    def __init__(
        self,
        source: Source,
        *,
        num_candidates: int | None = 18,
        num_kept: int = 6,
        observation: str = "features+predictions",
        reward: str = "attention",
        omega: float = 10.0,
        alpha: float = 0.0,
    ) -> None:
        self._asked = num_candidates
        table, valid = spread_candidates(source.num_candidates, num_candidates)
        num_candidates = table.shape[1]
        if alpha and not valid.all():
            raise ValueError(f"alpha ({alpha}) must be 0 where videos have different numbers of candidates")
        if num_kept < 1 or (self._asked is not None and num_kept > num_candidates):
            raise ValueError(f"num_kept ({num_kept}) must be 1 to num_candidates ({num_candidates})")
        if not 0 <= alpha < 1:
            raise ValueError(f"alpha ({alpha}) must be at least 0 and less than 1")
        if observation not in OBSERVATIONS:
            raise ValueError(f"unknown observation {observation!r}: it is {', '.join(OBSERVATIONS)}")
        self.source = source
        self.num_candidates, self.num_kept = num_candidates, num_kept
        self.choice = BestOf(num_kept)
        if reward not in REWARDS:
            raise ValueError(f"reward ({reward!r}) must be one of {', '.join(REWARDS)}")
        self.observation, self.reward, self.omega, self.alpha = observation, reward, omega, alpha
        self.description = f"{num_kept} of {num_candidates} candidates, seen by {observation}"
        self._table, self._valid = table.to(source.device), valid.to(source.device)
        self.num_contexts = len(self._table)

    @property
    def is_ragged(self) -> bool:
        return not bool(self._valid.all())

    def with_kept(self, num_kept: int) -> FrameSelectProblem:
        """The same problem with another m."""
        return self._changed(self.source, num_kept)

    def with_source(self, source: Source) -> FrameSelectProblem:
        """The same problem on other answers of the classifier."""
        return self._changed(source, self.num_kept)

    def _changed(self, source: Source, num_kept: int) -> FrameSelectProblem:
        return FrameSelectProblem(
            source,
            num_candidates=self._asked,
            num_kept=num_kept,
            observation=self.observation,
            reward=self.reward,
            omega=self.omega,
            alpha=self.alpha,
        )

    def budgets(self) -> dict[int, SelectionProblem]:
        """About eight numbers of kept candidates from 1 to T."""
        step = max(self.num_candidates // 8, 1)
        kept = sorted({1, *range(step, self.num_candidates, step), self.num_kept, self.num_candidates})
        return {number: self.with_kept(number) for number in kept}

    def videos(self, contexts: Tensor) -> Tensor:
        return contexts

    def candidates(self, contexts: Tensor) -> Tensor:
        return self._table.index_select(0, contexts)

    def valid(self, contexts: Tensor) -> Tensor:
        return self._valid.index_select(0, contexts)

    @property
    def dropped_weight(self) -> float:
        return self.alpha

    def fusion_weights(self, selection: Tensor) -> Tensor:
        """1 for a kept candidate and alpha for a dropped one (Eq. 10)."""
        return self.alpha + (1 - self.alpha) * selection.float()

    def decision_rewards(self, contexts: Tensor, actions: Tensor) -> Tensor:
        probabilities = self.probabilities(contexts)
        targets = self.targets(contexts)
        kept = actions.bool() & self.valid(contexts)
        return self._rewards(probabilities, targets, kept, self.valid(contexts))[0][..., None]

    def outcome(self, contexts: Tensor, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        selection = self.selection(contexts, actions)
        targets = self.targets(contexts)
        rewards, fused, is_empty = self._rewards(self.probabilities(contexts), targets, selection, self.valid(contexts))
        return rewards, {
            "video_index": contexts,
            "is_correct": is_correct(fused, targets) & ~is_empty,
            "num_kept": selection.sum(-1),
        }

    def _rewards(
        self, probabilities: Tensor, targets: Tensor, selection: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rewards (...), fused probabilities (..., C) (Eq. 3) and emptiness (...), of selections (..., B, T)."""
        weights = self.fusion_weights(selection)
        total = weights.sum(-1, keepdim=True)
        fused = torch.einsum("...bt,btc->...bc", weights, probabilities) / total.clamp(min=1e-9)
        is_empty = total.squeeze(-1) == 0
        before = (torch.einsum("bt,btc->bc", valid.float(), probabilities) / valid.sum(1, keepdim=True)).expand_as(
            fused
        )
        targets = targets.expand(fused.shape)
        if self.reward == "attention":
            rewards = attention_rewards(before, fused, targets, omega=self.omega)
            return torch.where(is_empty, -self.omega, rewards), fused, is_empty
        if self.reward in GAINS:
            return gain_rewards(self.reward, before, fused, targets), fused, is_empty
        worth = prediction_worth(self.reward, fused, targets)
        return torch.where(is_empty, 0.0, worth) if self.reward == "correct" else worth, fused, is_empty


def frame_select_problem(
    bank: str | ClipBank | None = None,
    *,
    device: str = "cpu",
    frames: int | None = 18,
    kept: int = 6,
    observation: str = "features+predictions",
    reward: str = "attention",
    omega: float = 10.0,
    alpha: float = 0.0,
    **unknown: object,
) -> FrameSelectProblem:
    """The problem on a bank, with the command line's names: an opened one, its folder, or None for a small one."""
    with naming(FrameSelectProblem.environment, frame_select_problem, unknown):
        return FrameSelectProblem(
            BankSource(resolve_bank(bank), device=device),
            num_candidates=frames,
            num_kept=kept,
            observation=observation,
            reward=reward,
            omega=omega,
            alpha=alpha,
        )


class FrameSelectEnv(SelectEnv):
    """Keep or drop each of T candidates of a video.

    ## Observation
    float32 (T, D + C): the classifier's features and its probabilities for each candidate; either part
    alone with `observation="features"` or `"predictions"`. `observation="skim"`: uint8 (T, S, 3, h, w),
    `observation="mel"`: float32 (T, 40, 200), the sound.

    ## Action
    `MultiBinary(T)`: 1 keeps a candidate.

    ## Reward
    AS, Eqs. 2 to 4: `omega` when the mean over the kept candidates is right and the mean over all is wrong,
    `-omega` the other way round or when nothing is kept, else the sign of the label's change of probability. Others by
    `reward`: see `FrameSelectProblem`.

    ## Episode
    One video, one step, which terminates it. `reset(options={"video_index": i})` chooses the video.

    ## Info
    `video_index`; after a step also `is_correct` (of the fused prediction) and `num_kept`.

    Args:
        bank: folder of a bank, or None for a small synthetic one, built on first use and cached.
        device: where classifier outputs are kept.
        frames: T, None for all candidates. kept: m. observation: see above.
        reward, omega, alpha: see `FrameSelectProblem`.
        render_mode: `rgb_array`, a contact sheet of the candidates with the kept ones framed.
    """

    @showing(frame_select_problem)
    def __init__(self, bank: str | ClipBank | None = None, *, render_mode: str | None = None, **options: Any) -> None:
        super().__init__(frame_select_problem(bank, **options), render_mode=render_mode)


class FrameSelectVectorEnv(SelectVectorEnv):
    """`FrameSelectEnv` for many videos at once, in torch; see there and `SelectVectorEnv`."""

    @showing(frame_select_problem)
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
        problem = frame_select_problem(bank, **options)
        super().__init__(
            problem, num_envs=num_envs, repeat_context=repeat_context, render_mode=render_mode, output=output
        )
