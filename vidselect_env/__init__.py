"""Registers the environments with Gymnasium: `gymnasium.make("VideoClipSelect-v0")`."""

from gymnasium import register

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
register(
    "VideoClipSearch-v0",
    entry_point="vidselect_env.envs.search.scalar:ClipSearchEnv",
    vector_entry_point="vidselect_env.envs.search.batched:ClipSearchVectorEnv",
)
