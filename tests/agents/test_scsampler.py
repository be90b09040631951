"""SCSampler, ranking and the empirical reference on banks made by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from vidselect_agents import make_agent
from vidselect_agents.scorers.frames import stream_network
from vidselect_env.bank import ClipBank
from vidselect_env.envs.batched import SelectVectorEnv
from vidselect_env.envs.clip_select import ClipSelectProblem
from vidselect_env.envs.frame_select import FrameSelectProblem
from vidselect_env.envs.sources import BankSource
from vidselect_env.evaluation.evaluate import evaluate, selection_of
from vidselect_env.video.errors import VideoError

COMBINATIONS = ("visual", "audio", "convex_score", "convex_list", "union", "intersect", "joint")


def scsampler(env: SelectVectorEnv, **options):
    return make_agent("scsampler", env, **({"streams": ("vectors",)} | options))


def scores_of(agent, env: SelectVectorEnv, contexts: torch.Tensor) -> torch.Tensor:
    return agent.scores(env.problem.looks(contexts, agent.needs.fields))


@pytest.fixture(scope="module")
def env(signal_bank, frames_env) -> SelectVectorEnv:
    return frames_env(signal_bank())


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_every_combination_learns_where_the_action_is(env, combination):
    agent = scsampler(env, combination=combination).learn(env, 20 * 30)
    ours, uniform = (evaluate(each, env.problem, name="x") for each in (agent, make_agent("uniform", env)))
    assert ours.top1 > uniform.top1 + 0.15
    assert ours.clips_per_video == 2
    assert 0 < ours.scorer_gmacs < 0.1


@pytest.mark.parametrize("objective", ["ac", "sal_rank", "sal_cl"])
def test_every_objective_serves_both_senses(env, objective):
    for options in (
        {"combination": "visual", "objective": objective},
        {"combination": "audio", "audio_objective": objective},
    ):
        agent = scsampler(env, **options).learn(env, 20 * 30)
        assert evaluate(agent, env.problem, name="x").top1 > 0.8


def test_saliency_lies_between_0_and_1(env):
    contexts = torch.arange(10)
    for combination in ("visual", "audio", "convex_score", "joint"):
        scores = scores_of(scsampler(env, combination=combination), env, contexts)
        assert ((scores >= 0) & (scores <= 1)).all()


def test_a_silent_video_is_judged_by_sight(signal_bank, frames_env):
    env = frames_env(signal_bank(silent=(0, 3)))
    both = scsampler(env, combination="union", visual_share=0.0, seed=3)
    sight = scsampler(env, combination="visual", seed=3)
    sight.networks["vectors"].load_state_dict(both.networks["vectors"].state_dict())
    chosen = [selection_of(agent, env.problem, torch.arange(6)) for agent in (both, sight)]
    assert torch.equal(chosen[0][[0, 3]], chosen[1][[0, 3]])
    assert not torch.equal(chosen[0], chosen[1])
    assert both.learn(env, 40).num_timesteps == 40  # and its silence teaches nothing: the loss stays finite
    with pytest.raises(VideoError, match=r"video 0.*has no sound"):
        selection_of(scsampler(env, combination="audio"), env.problem, torch.arange(2))


def test_every_second_clip_is_scored_for_half_the_cost(env):
    contexts = torch.arange(5)
    whole, half = scsampler(env), scsampler(env, every=2)
    assert half.cost_gmacs(env.shapes) == pytest.approx(whole.cost_gmacs(env.shapes) / 2)
    chosen = selection_of(half, env.problem, contexts)
    assert not chosen[:, 1::2].any()
    assert (chosen.sum(-1) == 2).all()
    # Of every fifth there are two, and no more than what is looked at is chosen.
    assert (selection_of(scsampler(env, every=5), env.problem.with_kept(3), contexts).sum(-1) == 2).all()


def test_a_bank_without_its_signals_is_refused(make_bank, frames_env):
    env = frames_env(make_bank(num_clips=8))
    with pytest.raises(ValueError, match="no 'vectors' to look at: there are logits"):
        scsampler(env)


def test_a_saved_sampler_serves_another_classifier(env, tmp_path, signal_bank, frames_env):
    agent = scsampler(env, combination="visual").learn(env, 20 * 30)
    agent.save(tmp_path / "agent.safetensors")
    bank = signal_bank(seed=1)
    other = ClipBank.from_tensors(
        torch.cat([bank.field("logits").joined().view(60, 8, 3), torch.zeros(60, 8, 2)], -1),  # of five classes
        bank.targets.int().argmax(-1).tolist(),
        skim=bank.field("skim").joined().view(60, 8, 3, 3, 8, 8),
        signals={"vectors": bank.field("vectors").joined().view(60, 8, 2, 2, 4, 5)},
    )
    loaded = type(agent).load(tmp_path / "agent.safetensors")
    assert loaded.config.num_classes == 3
    contexts = torch.arange(60)
    torch.testing.assert_close(
        scores_of(loaded, frames_env(other), contexts), scores_of(agent, frames_env(bank), contexts)
    )


@pytest.mark.parametrize("network", ["small", "resnet18", "shufflenet"])
def test_networks_take_every_stream(network, capsys):
    for stream, shape in (("vectors", (2, 2, 8, 10)), ("residual", (2, 3, 64, 64)), ("mel", (40, 200))):
        module = stream_network(stream, shape, num_outputs=4, network=network, pretrained=False)
        assert not module.is_pretrained
        module.eval()
        channels = {"vectors": 2, "residual": 3, "mel": 1}[stream]
        assert module(torch.zeros(2, channels, *shape[-2:])).shape == (2, 4)
    sound = stream_network("mel", (40, 200), num_outputs=4, network="resnet18", pretrained=False)
    linear = [module for module in sound.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(linear) == 18


def test_training_from_scratch_is_said(monkeypatch, capsys):
    import torch.hub

    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    network = stream_network("residual", (2, 3, 64, 64), num_outputs=4, network="resnet18", pretrained=True)
    assert not network.is_pretrained
    assert "trained from scratch" in "".join(capsys.readouterr())


def test_pretrained_layers_learn_slowly_also_after_saving_and_loading(env, monkeypatch, tmp_path):
    monkeypatch.setattr("vidselect_agents.scorers.frames._load_imagenet", lambda network, name: True)
    agent = scsampler(env, combination="union", network="resnet18")
    agent.save(tmp_path / "agent.safetensors")
    loaded = type(agent).load(tmp_path / "agent.safetensors")
    for each in (agent, loaded):
        slow, fast = sorted(each.parameter_groups(), key=lambda group: group["lr"])
        assert slow["lr"] == pytest.approx(fast["lr"] / 100)
        assert len(slow["params"]) == len(list(each.networks["vectors"].parameters())) - 2  # all but the last layer


def test_a_union_is_the_same_whichever_videos_stand_beside(signal_bank, frames_env):
    """Of 2 and 38 candidates, 10 are kept; the short video must not shrink the other's K'."""
    whole = signal_bank(num_videos=2, num_clips=20)
    bank = dataclasses.replace(whole, offsets=torch.tensor([0, 2, 40]))
    env = frames_env(bank, num_candidates=None, num_kept=10)
    agent = scsampler(env, combination="union", visual_share=0.5)
    together = selection_of(agent, env.problem, torch.tensor([0, 1]))[1]
    assert torch.equal(together, selection_of(agent, env.problem, torch.tensor([1]))[0])


def test_a_union_leaves_room_for_sound_unless_it_is_given_none(env):
    contexts = torch.arange(60)
    agent = scsampler(env, combination="union", visual_share=0.8)
    chosen = selection_of(agent, env.problem, contexts)  # round(0.8 * 2) is both: K' < K makes it one
    sight, sound = scsampler(env, combination="visual"), scsampler(env, combination="audio")
    sight.networks["vectors"].load_state_dict(agent.networks["vectors"].state_dict())
    sound.networks["mel"].load_state_dict(agent.networks["mel"].state_dict())
    best = [scores_of(each, env, contexts).argmax(-1) for each in (sight, sound)]
    assert all(chosen.gather(1, place[:, None]).all() for place in best)
    only = scsampler(env, combination="union", visual_share=1.0)
    only.networks.load_state_dict(agent.networks.state_dict())
    assert torch.equal(selection_of(only, env.problem, contexts), selection_of(sight, env.problem, contexts))


def test_scoring_in_pieces_is_scoring_at_once(env, monkeypatch):
    agent = scsampler(env, combination="convex_score")
    whole = scores_of(agent, env, torch.arange(10))
    monkeypatch.setattr("vidselect_agents.scsampler.FRAMES_AT_ONCE", 7)
    torch.testing.assert_close(scores_of(agent, env, torch.arange(10)), whole)


def test_ranking_learns_the_order_of_the_largest_logits(env, signal_bank, frames_env):
    skims = frames_env(signal_bank(), observation="skim")
    agent = make_agent("ranking", skims, worth="label", learning_rate=3e-3).learn(skims, 20 * 60)
    ours, uniform = (evaluate(each, skims.problem, name="x").top1 for each in (agent, make_agent("uniform", skims)))
    assert ours > uniform + 0.15
    with pytest.raises(ValueError, match=r"worth \('x'\) must be one of largest_logit"):
        make_agent("ranking", skims, worth="x")


def test_empirical_draws_where_the_oracle_chose():
    logits = torch.zeros(50, 10, 2)
    logits[:, [2, 7], 1] = 5  # class 1 shows at these places only
    bank = ClipBank.from_tensors(logits, [1] * 50, features=torch.zeros(50, 10, 1))
    env = SelectVectorEnv(FrameSelectProblem(BankSource(bank), num_candidates=10, num_kept=2), num_envs=2)
    agent = make_agent("empirical", env).learn(env, 1)
    assert agent.histogram.nonzero().flatten().tolist() == [5, 15]
    chosen = selection_of(agent, env.problem, torch.arange(50))
    assert chosen.nonzero()[:, 1].unique().tolist() == [2, 7]
    assert (chosen.sum(-1) == 2).all()


def test_scorers_also_choose_one_a_section(signal_bank):
    problem = ClipSelectProblem(BankSource(signal_bank(num_clips=8)), num_sections=2, num_clips=4)
    env = SelectVectorEnv(problem, num_envs=4)
    for name, options in (("scsampler", {"streams": ("vectors",)}), ("mgsampler", {}), ("ranking", {})):
        chosen = selection_of(make_agent(name, env, **options), problem, torch.arange(6)).view(6, 2, 4)
        assert (chosen.sum(-1) == 1).all(), name


def test_silence_does_not_change_the_audio_network(signal_bank, frames_env):
    env = frames_env(signal_bank(silent=tuple(range(60))))
    agent = scsampler(env, combination="union").learn(env, 40)
    norms = [m for m in agent.networks["mel"].modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(int(norm.num_batches_tracked) == 0 for norm in norms)


def test_sound_is_learned_alike_from_the_same_seed_whatever_torch_drew_before(env):
    weights = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        agent = scsampler(env, combination="audio", seed=5).learn(env, 40)  # its network has dropout
        weights.append(torch.cat([parameter.flatten() for parameter in agent.networks.parameters()]))
    assert torch.equal(*weights)


def test_scores_and_lists_have_weights_of_their_own(env):
    contexts = torch.arange(5)
    made = {
        name: scsampler(env, combination="convex_score", **options)
        for name, options in (
            ("default", {}),
            ("sight", {"score_weight": 1.0}),
            ("sound", {"score_weight": 0.0}),
            ("lists", {"visual_weight": 0.1}),
        )
    }
    scores = {name: scores_of(agent, env, contexts) for name, agent in made.items()}
    # The paper's 0.9 of the visual score (its Table 5), and 0.8 of the visual list.
    torch.testing.assert_close(scores["default"], 0.9 * scores["sight"] + 0.1 * scores["sound"])
    assert torch.equal(scores["default"], scores["lists"])
    assert made["default"].config.visual_weight == 0.8
