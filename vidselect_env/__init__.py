"""Registers the environments with Gymnasium: `gymnasium.make("VideoClipSelect-v0")`."""

import os
import sys

from gymnasium import register


def _one_thread() -> None:
    """In a forked child torch would wait for ever for the threads of its parent, which were not forked with it."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # a system without fork needs none
    os.register_at_fork(after_in_child=_one_thread)

register(
    "VideoClipSelect-v0",
    entry_point="vidselect_env.envs.clip_select:ClipSelectEnv",
    vector_entry_point="vidselect_env.envs.clip_select:ClipSelectVectorEnv",
)
register(
    "VideoFrameSelect-v0",
    entry_point="vidselect_env.envs.frame_select:FrameSelectEnv",
    vector_entry_point="vidselect_env.envs.frame_select:FrameSelectVectorEnv",
)
