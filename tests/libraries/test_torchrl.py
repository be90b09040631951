"""TorchRL over the environments, scalar and batched."""

from __future__ import annotations

import gymnasium
import pytest

import vidselect_env  # noqa: F401 (registers the environments)

pytest.importorskip("torchrl", reason="TorchRL is not installed")

ENVIRONMENTS = ("VideoClipSelect-v0", "VideoFrameSelect-v0", "VideoClipSearch-v0")
SIZES = {"VideoFrameSelect-v0": {"frames": 6, "kept": 2}, "VideoClipSearch-v0": {"frames": 6}}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_its_check_passes_on_the_scalar_environments(bank, name):
    from torchrl.envs import GymEnv
    from torchrl.envs.utils import check_env_specs

    options = {"bank": bank, "observation": "features", **SIZES.get(name, {})}
    check_env_specs(GymEnv(name, disable_env_checker=True, **options))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_its_check_passes_on_the_batched_environments(bank, name):
    from torchrl.envs import GymWrapper
    from torchrl.envs.utils import check_env_specs

    options = {"bank": bank, "observation": "features", "output": "numpy", **SIZES.get(name, {})}
    envs = gymnasium.make_vec(name, num_envs=3, vectorization_mode="vector_entry_point", **options)
    check_env_specs(GymWrapper(envs))


def test_its_collector_gathers_steps_that_end(bank):
    from torchrl.collectors import Collector
    from torchrl.envs import GymEnv

    env = GymEnv("VideoClipSelect-v0", bank=bank, observation="features", disable_env_checker=True)
    collector = Collector(env, None, frames_per_batch=8, total_frames=16)
    batches = list(collector)
    collector.shutdown()
    assert [len(batch) for batch in batches] == [8, 8]
    for batch in batches:
        assert batch["next", "terminated"].all()  # an episode is one step
        assert not batch["next", "truncated"].any()
