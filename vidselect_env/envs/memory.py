"""Keeping freed memory between steps: called by the commands that train, of whose process it is a setting."""

from __future__ import annotations

import ctypes
import math
import sys

import gymnasium
import numpy as np

from vidselect_env.envs.wrappers import BatchedEnv

# glibc's names, from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
LARGEST_BATCH_BYTES = 32 << 20  # glibc allocates nothing larger from its heap


def keep_freed_batches(env: BatchedEnv) -> None:
    """Have glibc keep the memory of freed observations of `env` instead of giving it to the kernel.

    A fresh batch a step would otherwise be taken from the kernel page by page, which costs more than filling
    it does (a factor of two to four on features of some megabytes). The process then keeps up to 256 MiB
    that it does not use. Without glibc, or for batches of more than 32 MiB, nothing is changed.
    """
    space = env.single_observation_space
    parts = space.spaces.values() if isinstance(space, gymnasium.spaces.Dict) else [space]
    batch_bytes = max(env.num_envs * math.prod(part.shape or ()) * np.dtype(part.dtype).itemsize for part in parts)
    if not 128 << 10 < batch_bytes <= LARGEST_BATCH_BYTES:
        return
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_MMAP_THRESHOLD, LARGEST_BATCH_BYTES)
        mallopt(_TRIM_THRESHOLD, 8 * LARGEST_BATCH_BYTES)
