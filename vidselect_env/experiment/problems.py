"""From a configuration and a source to the problem that is learned or tested on."""

from __future__ import annotations

from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.contract import Needs
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.problem import SelectionProblem
from vidselect_env.envs.search.batched import SearchVectorEnv
from vidselect_env.envs.search.problem import SearchProblem
from vidselect_env.envs.sources.base import Source
from vidselect_env.experiment.config import ProblemConfig

USUAL = {"VideoClipSelect-v0": "skim", "VideoFrameSelect-v0": "features+predictions", "VideoClipSearch-v0": "skim"}


def make_problem(
    config: ProblemConfig,
    source: Source,
    needs: Needs,
    *,
    num_sections: int | None = None,
    training: bool = False,
) -> SelectionProblem:
    """The problem of a configuration on a source, with what it leaves open as a selector `needs` it.

    Args:
        num_sections: M, where not the configuration's.
        training: candidates are drawn, if the configuration says so.
    """
    environment = environment_of(config, needs)
    observation = observation_of(config, needs)
    if environment == "VideoFrameSelect-v0":
        return FrameSelectProblem(
            source,
            num_candidates=config.frames,
            num_kept=config.kept,
            observation=observation,
            reward=reward_of(config, needs),
            omega=config.omega,
            alpha=config.alpha,
        )
    if environment == "VideoClipSearch-v0":
        return SearchProblem(
            source,
            num_candidates=config.frames,
            observation=observation,
            price=config.price,
            price_range=config.price_range,
            max_clips=config.max_clips,
        )
    return ClipSelectProblem(
        source,
        num_sections=num_sections or config.sections,
        num_clips=config.clips,
        observation=observation,
        penalty=config.penalty,
        per_section=needs.per_section,
        draw_candidates=training and config.draw_candidates,
    )


def batched(problem: SelectionProblem, *, num_envs: int, share: tuple[int, int] = (0, 1)) -> SelectVectorEnv:
    """The batched environment of a problem, of one step or of several; `share` as in `SelectVectorEnv`."""
    if isinstance(problem, SearchProblem):
        return SearchVectorEnv(problem, num_envs=num_envs)
    return SelectVectorEnv(problem, num_envs=num_envs, share=share)


def environment_of(config: ProblemConfig, needs: Needs) -> str:
    """The environment that a configuration names, or that a selector is made for."""
    if config.environment != "auto":
        return config.environment
    return needs.environment or "VideoClipSelect-v0"


def observation_of(config: ProblemConfig, needs: Needs) -> str:
    """What is shown: as the configuration says, as a selector needs it in its own environment, or as usual."""
    environment = environment_of(config, needs)
    if config.observation != "auto":
        return config.observation
    if needs.observation is not None and needs.environment in (None, environment):
        return needs.observation
    return USUAL[environment]


def fields_of(config: ProblemConfig, needs: Needs) -> tuple[str, ...]:
    """The fields that a selector looks at: its own, or those that are shown."""
    return needs.fields if needs.fields is not None else tuple(observation_of(config, needs).split("+"))


def reward_of(config: ProblemConfig, needs: Needs) -> str:
    """What keeping frames is rewarded by: as the configuration says, as a selector needs it, or as usual."""
    return config.reward if config.reward != "auto" else needs.reward or "attention"


def steps_of(problem: SelectionProblem, num_videos: int) -> int:
    """Steps of sub-environments in which so many videos are seen."""
    return num_videos * problem.num_contexts // len(problem.source.video_paths)


OPTIONS_OF = {
    "VideoClipSelect-v0": ("sections", "clips", "test_sections", "draw_candidates", "penalty"),
    "VideoFrameSelect-v0": ("frames", "kept", "reward", "omega", "alpha"),
    "VideoClipSearch-v0": ("frames", "price", "price_range", "max_clips"),
}


def check_options(config: ProblemConfig, needs: Needs) -> None:
    """See that nobody was told something that is of another environment than his.

    Raises:
        ValueError: an option of another environment is not at its default.
    """
    usual = vars(ProblemConfig())
    check_given(
        environment_of(config, needs), **{name: value for name, value in vars(config).items() if value != usual[name]}
    )


def check_given(environment: str, **given: object) -> None:
    """See that options are of an environment; None is none.

    Raises:
        ValueError: one is of another.
    """
    for name, value in given.items():
        owners = [owner for owner, names in OPTIONS_OF.items() if name in names]
        if value is not None and owners and environment not in owners:
            option = name.replace("_", "-")
            raise ValueError(
                f"--{option} {value} is no option of {environment}, but of {' and '.join(owners)} (a setting of the "
                f"agent's own that has this name is called --agent-{option})"
            )
