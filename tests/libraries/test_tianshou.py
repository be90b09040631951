"""Tianshou's vector environments, and one of its algorithms, over the scalar environment."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

import vidselect_env  # noqa: F401 (registers the environments)

pytest.importorskip("tianshou", reason="Tianshou is not installed")


def maker(bank):
    return lambda: gymnasium.make(
        "VideoClipSelect-v0", bank=bank, observation="features", sections=1, clips=6, disable_env_checker=True
    )


@pytest.mark.parametrize("kind", ["DummyVectorEnv", "SubprocVectorEnv"])
def test_its_vector_environments_agree_with_one_environment(bank, kind):
    """The second forks processes, in which torch must not wait for threads that were not forked with them."""
    import tianshou.env

    envs = getattr(tianshou.env, kind)([maker(bank)] * 2)
    observations, _ = envs.reset(seed=0)
    _, rewards, terminated, truncated, _ = envs.step(np.array([0, 5]))
    envs.close()
    alone = maker(bank)()
    first, _ = alone.reset(seed=0)
    np.testing.assert_array_equal(observations[0], first)
    assert rewards[0] == pytest.approx(alone.step(0)[1])
    assert terminated.all()
    assert not truncated.any()
