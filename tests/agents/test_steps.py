"""Optimizers, learning rates and starts of agents, by hand."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import resnet18

from vidselect_agents import agent_class, make_agent
from vidselect_agents.dsn import DSNConfig
from vidselect_agents.max_response import MaxResponseConfig
from vidselect_agents.scorers.candidates import R2D, fold_frames
from vidselect_agents.scorers.imagenet import first_convolution, load_resnet18
from vidselect_agents.steps import StepsConfig
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.experiment.banks import skim_spec
from vidselect_env.experiment.config import GridConfig


def make_env(bank, observation: str = "skim") -> SelectVectorEnv:
    problem = ClipSelectProblem(BankSource(bank), num_sections=2, num_clips=3, observation=observation)
    return SelectVectorEnv(problem, num_envs=4)


def test_rates_worked_out_by_hand():
    def rates(**options) -> list[float]:
        config = StepsConfig(learning_rate=1.0, **options)
        return [round(config.rate_share(step, total=10), 4) for step in range(10)]

    assert rates(decay="none") == [1] * 10
    assert rates(decay="steps", milestones=(0.5, 0.8), step_factor=0.1) == [1] * 5 + [0.1] * 3 + [0.01] * 2
    assert rates(decay="none", warmup=0.3) == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1]
    assert rates()[0] == 1
    assert rates()[5] == 0.5


def test_sgd_of_an_agent_has_momentum_and_batch_norm_may_stay_without_decay(bank):
    agent = make_agent("dsn", make_env(bank), optimizer="sgd", decay_norms=False, weight_decay=0.01)
    decayed, free = agent.config.make_optimizer(agent.scorer).param_groups
    assert decayed["momentum"] == free["momentum"] == 0.9
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.01, 0)
    assert {value.ndim for value in decayed["params"]} == {2, 4}
    assert {value.ndim for value in free["params"]} == {1}


@pytest.mark.parametrize("name", ["dsn", "max_response"])
def test_a_rate_that_has_fallen_to_nothing_moves_nothing(bank, name):
    """After the first of ten steps the rate is a billionth: plain SGD stays where the first step led."""
    settings = {"optimizer": "sgd", "decay": "steps", "milestones": (0.1,), "step_factor": 1e-12, "weight_decay": 0.0}
    ends = []
    for steps in (10, 20):
        agent = make_agent(name, make_env(bank, "features"), seed=0, learning_rate=0.01, **settings)
        agent.learn(make_env(bank, "features"), 4 * steps, callback=lambda agent: agent.num_timesteps < 4 * 2)
        ends.append(torch.cat([value.flatten() for value in agent.modules().parameters()]))
    fallen, not_yet = ends  # two steps each: the second at a billionth, and at the full rate
    assert not torch.equal(fallen, not_yet)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"milestones \(0.5, 45.0\) must be shares of training"):
        DSNConfig(milestones=(0.5, 45.0))
    with pytest.raises(ValueError, match=r"optimizer \('lamb'\) must be one of sgd, adamw, adam"):
        DSNConfig(optimizer="lamb")
    with pytest.raises(ValueError, match=r"warmup \(2.0\) must be at most 1"):
        MaxResponseConfig(warmup=2.0)
    with pytest.raises(ValueError, match=r"label_smoothing \(1.5\) must be at most 1"):
        MaxResponseConfig(label_smoothing=1.5)


def test_skims_keep_the_aspect_where_asked():
    squashed, cropped = (skim_spec(GridConfig(skim_size=112, skim_fit=fit)).frame_size for fit in ("squash", "crop"))
    assert squashed.resized(240, 320) == (112, 112)
    assert cropped.resized(240, 320) == (112, 149)
    assert squashed.crop == cropped.crop == (112, 112)


def test_imagenet_weights_see_a_still_picture_as_imagenet_does(tmp_path):
    """A clip that shows one picture: the first maps are the ResNet's own, but for a constant a channel."""
    torch.manual_seed(0)
    published = resnet18()
    torch.save(published.state_dict(), tmp_path / "resnet18.pth")
    network = R2D(4)
    load_resnet18(network, tmp_path / "resnet18.pth")
    picture = torch.randint(256, (1, 1, 3, 32, 32), dtype=torch.uint8)
    maps = torch.nn.functional.conv2d(fold_frames(picture.expand(-1, 4, -1, -1, -1)), network.stem[0].weight, stride=2)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    seen = (picture[:, 0].float() / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    expected = torch.nn.functional.conv2d(seen, published.conv1.weight, stride=2)
    difference = (maps - expected).flatten(2)
    torch.testing.assert_close(difference, difference.mean(-1, keepdim=True).expand_as(difference), atol=1e-4, rtol=0)
    for number, name in enumerate(("layer1", "layer2", "layer3", "layer4")):
        own, theirs = network.stages[number].state_dict(), getattr(published, name).state_dict()
        assert all(torch.equal(own[key], theirs[key]) for key in theirs)


def test_differences_share_the_mean_over_channels():
    weights = first_convolution(torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1), num_frames=3)
    assert weights.flatten()[3:].tolist() == [1.5] * 6  # 3, over two differences
    assert weights.flatten()[:3].tolist() == pytest.approx([1 / 0.458, 2 / 0.448, 6 / 0.45])


def test_weights_of_something_else_are_refused(tmp_path, bank):
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "half.pth")
    with pytest.raises(ValueError, match=r"half\.pth' holds no weights of a ResNet-18"):
        make_agent("dsn", make_env(bank), scorer="r2d18", scorer_weights=str(tmp_path / "half.pth"))
    with pytest.raises(ValueError, match="cannot be read"):
        make_agent("dsn", make_env(bank), scorer="r2d18", scorer_weights=str(tmp_path / "none.pth"))
    with pytest.raises(ValueError, match="scorer_weights are of scorer r2d18, not of MLP"):
        make_agent("dsn", make_env(bank, "features"), scorer_weights=str(tmp_path / "half.pth"))


def test_a_saved_agent_needs_the_file_no_more(tmp_path, bank):
    torch.save(resnet18().state_dict(), tmp_path / "resnet18.pth")
    agent = make_agent("dsn", make_env(bank), scorer="r2d18", scorer_weights=str(tmp_path / "resnet18.pth"))
    agent.save(tmp_path / "agent.safetensors")
    (tmp_path / "resnet18.pth").unlink()
    loaded = agent_class("dsn").load(tmp_path / "agent.safetensors")
    assert torch.equal(
        loaded.scorer.backbone.stages[0][0].conv1.weight, agent.scorer.backbone.stages[0][0].conv1.weight
    )
