"""SCSampler: salient clips from compressed video and sound (Korbar, Tran and Torresani, ICCV 2019).

Shapes: B contexts, K candidates a context, n of them in a training step, S frames of a candidate, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidselect_agents.combine import convex_list, convex_score, intersect_list, union_list
from vidselect_agents.ranking_losses import saliency_class_loss, saliency_ranking_loss
from vidselect_agents.scorers.frames import CHANNELS, scaled, stream_network
from vidselect_agents.steps import StepsConfig
from vidselect_agents.supervised import SupervisedAgent
from vidselect_classifiers import gmacs
from vidselect_env.datasets.labels import label_shares
from vidselect_env.envs.contract import Answers, Looks, LookShapes, MissingLook, Needs
from vidselect_env.envs.rewards import label_probability
from vidselect_env.envs.wrappers import BatchedEnv
from vidselect_env.seeding import seeded
from vidselect_env.settings import check_settings

COMBINATIONS = ("visual", "audio", "convex_score", "convex_list", "union", "intersect", "joint")
OBJECTIVES = ("ac", "sal_rank", "sal_cl")
FRAMES_AT_ONCE = 512  # that a network scores


@dataclass(frozen=True, kw_only=True)
class SCSamplerConfig(StepsConfig):
    """SCSampler's settings; the defaults are the paper's best, with small networks for small frames.

    Args:
        combination: visual or audio alone, or convex_score, convex_list, union, intersect or joint.
        streams: what the visual scorers see, of vectors, residual and intra.
        objective: of the visual scorers: ac, action classification; sal_rank, ranking; sal_cl, being of the oracle's.
        audio_objective: of the audio scorer.
        visual_weight: of the visual list in convex_list, its alpha.
        score_weight: of the visual score in convex_score, its alpha.
        visual_share: of the K clips of a union, those that the visual scorer takes (K' / K); below 1, K' < K.
        network: auto, small, resnet18 or shufflenet.
        pretrained: begin resnet18 and shufflenet with ImageNet weights, if they can be had.
        num_classes: of the scorers trained by ac; None for the dataset's.
        margin: eta of Eq. 2.
        clips_per_video: candidates of each video in a training step.
        every: score only every so many candidates (appendix E).
        pretrained_rate: of pretrained layers, times the learning rate (appendix B.1).
    """

    combination: str = "union"
    streams: tuple[str, ...] = ("vectors", "residual")
    objective: str = "ac"
    audio_objective: str = "sal_rank"
    visual_weight: float = 0.8
    score_weight: float = 0.9
    visual_share: float = 0.8
    network: str = "auto"
    pretrained: bool = True
    num_classes: int | None = None
    margin: float = 0.1
    clips_per_video: int = 6
    every: int = 1
    learning_rate: float = 3e-3
    pretrained_rate: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (
            ("combination", COMBINATIONS),
            ("objective", OBJECTIVES),
            ("audio_objective", OBJECTIVES),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} ({getattr(self, name)!r}) must be one of {', '.join(known)}")
        unknown = set(self.streams) - (set(CHANNELS) - {"mel"})
        if unknown or not self.streams:
            raise ValueError(f"streams {self.streams} must be some of vectors, residual, intra")
        shares = dict.fromkeys(("visual_weight", "score_weight", "visual_share"), 1)
        amounts = dict.fromkeys((*shares, "margin", "pretrained_rate"), 0)
        check_settings(
            self,
            at_least=amounts | {"every": 1, "num_classes": 1, "clips_per_video": 2},
            at_most=shares,
        )

    @property
    def signals(self) -> tuple[str, ...]:
        """The fields of a bank that it looks at."""
        sight = () if self.combination == "audio" else self.streams
        return sight if self.combination == "visual" else (*sight, "mel")


class SCSampler(SupervisedAgent):
    """Scores every candidate from motion vectors, residuals or I-frames, and from its sound; keeps the K best.

    Each stream has a network of its own, trained by itself. `ac`: it classifies the action; the saliency of a
    clip is the largest class probability, of the mean over frames and streams. `sal_rank`, `sal_cl`: one output, whose
    sigmoid is the saliency. A video without sound is judged by sight alone.
    """

    name = "scsampler"
    # What its environment shows is of no interest to it: it looks at signals, and is charged for these.
    made_for = Needs(environment="VideoFrameSelect-v0", observation="predictions")
    config_class = SCSamplerConfig
    config: SCSamplerConfig

    def __init__(
        self,
        shapes: LookShapes,
        *,
        config: SCSamplerConfig | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__(shapes, config=config, seed=seed, device=device)
        num_classes = self.config.num_classes or shapes.num_classes
        self.config = dataclasses.replace(self.config, num_classes=num_classes)
        self.networks = nn.ModuleDict()
        with seeded(seed, self.device):
            for stream in self.config.signals:
                self.networks[stream] = stream_network(
                    stream,
                    shapes.shape(stream),
                    num_outputs=num_classes if self._objective(stream) == "ac" else 1,
                    network=self.config.network,
                    pretrained=self.config.pretrained,
                )
        self.networks.to(self.device)

    @classmethod
    def needs_with(cls, config: SCSamplerConfig) -> Needs:
        return dataclasses.replace(cls.made_for, fields=config.signals)

    @classmethod
    def reloaded(cls, config: SCSamplerConfig) -> SCSamplerConfig:
        """Its networks come from the file, so nothing is downloaded for them."""
        return dataclasses.replace(config, pretrained=False)

    def modules(self) -> nn.ModuleDict:
        return self.networks

    def parameter_groups(self) -> Sequence[dict]:
        """Heads and fresh networks at the learning rate; ImageNet's layers at a hundredth of it."""
        groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for network in self.networks.values():
            for name, parameter in network.named_parameters():
                groups[bool(network.is_pretrained) and not name.startswith("fc.")].append(parameter)
        rate = self.config.learning_rate
        return [
            {"params": groups[is_slow], "lr": rate * (self.config.pretrained_rate if is_slow else 1)}
            for is_slow in groups
            if groups[is_slow]
        ]

    def loss(self, env: BatchedEnv, *, done: float) -> Tensor:
        whole = env.looks(())
        among = self._draw(whole.valid)
        kept = (whole.uniform().sum(-1) / whole.valid.sum(-1)).to(self.device)
        looks, answers = env.looks(self.config.signals, among=among), env.answers(among=among)
        everyone = torch.ones(len(looks), dtype=torch.bool, device=self.device)
        sounding = has_sound(looks).to(self.device) if "mel" in self.config.signals else everyone
        if self.config.combination == "joint" and done >= 0.5:  # first alone, then fine-tuned together
            return self._loss(self.config.signals, looks, answers, rows=sounding, kept=kept)
        losses = []
        for stream in self.config.signals:
            rows = sounding if stream == "mel" else everyone  # silence teaches nothing
            losses.append(self._loss((stream,), looks, answers, rows=rows, kept=kept))
        return torch.stack(losses).sum()

    def _loss(self, streams: Sequence[str], looks: Looks, answers: Answers, *, rows: Tensor, kept: Tensor) -> Tensor:
        """Of one stream by its own objective, or of several by the ranking of their mean saliency.

        rows: (B,) bool, the contexts that count. kept: (B,) the share of a video's candidates that are chosen.
        """
        if not rows.any():
            return torch.zeros((), device=self.device, requires_grad=True)
        here = rows.to(looks.valid.device)
        outputs = {stream: self._outputs(stream, looks.field(stream)[here]) for stream in streams}
        is_own, targets = looks.valid[here].to(self.device), answers.targets[here].to(self.device)
        if len(streams) == 1 and self._objective(streams[0]) == "ac":
            shares = label_shares(targets)[:, None, None].expand_as(outputs[streams[0]])
            return F.cross_entropy(outputs[streams[0]][is_own].flatten(0, 1), shares[is_own].flatten(0, 1))
        if len(streams) == 1:
            scores = saliency([outputs[streams[0]]], self._objective(streams[0]))
        else:
            scores = (self._visual(outputs) + self._audio(outputs)) / 2
        truth = label_probability(answers.probabilities[here].to(self.device), targets[:, None])
        if len(streams) == 1 and self._objective(streams[0]) == "sal_cl":
            num_salient = (kept[rows] * is_own.sum(-1)).round().clamp(min=1)
            return saliency_class_loss(scores, truth, num_salient=num_salient, valid=is_own)
        return saliency_ranking_loss(scores, truth, margin=self.config.margin, valid=is_own)

    @torch.no_grad()
    def scores(self, looks: Looks) -> Tensor:
        self.networks.eval()
        outputs = {
            stream: self._outputs(stream, looks.field(stream)[:, :: self.config.every])
            for stream in self.config.signals
        }
        scores = torch.full(looks.valid.shape, -torch.inf, device=self.device)
        scores[:, :: self.config.every] = self._combined(looks, outputs)
        return scores

    def cost_gmacs(self, shapes: LookShapes) -> float:
        looked_at = -(-shapes.num_candidates // self.config.every)
        total = 0.0
        for stream, network in self.networks.items():
            shape = shapes.shape(stream)
            frames = shape[0] if stream in ("vectors", "residual") else 1
            total += looked_at * frames * gmacs(network, (1, CHANNELS[stream], *shape[-2:]))
        return total

    def _objective(self, stream: str) -> str:
        return self.config.audio_objective if stream == "mel" else self.config.objective

    def _combined(self, looks: Looks, outputs: dict[str, Tensor]) -> Tensor:
        """Scores (B, n) of the candidates that were looked at; of padding -inf."""
        combination = self.config.combination
        is_padding = ~looks.valid[:, :: self.config.every].to(self.device)
        visual = None
        if combination != "audio":
            visual = self._visual(outputs).masked_fill(is_padding, -torch.inf)
            if combination == "visual":
                return visual
        audio = self._audio(outputs).masked_fill(is_padding, -torch.inf)
        sounding = has_sound(looks).to(self.device)
        if visual is None:
            if not sounding.all():
                silent = int((~sounding).nonzero()[0])
                raise MissingLook(silent, "it has no sound, and combination 'audio' looks at nothing else")
            return audio
        if combination == "union":
            kept = looks.uniform().sum(-1, keepdim=True).to(self.device)
            by_sight = (self.config.visual_share * kept).round()
            if self.config.visual_share < 1:
                by_sight = by_sight.minimum(kept - 1)  # the paper's K' < K
            found = union_list(visual, audio, num_visual=by_sight)
        elif combination == "intersect":
            found = intersect_list(visual, audio)
        elif combination == "convex_list":
            found = convex_list(visual, audio, alpha=self.config.visual_weight)
        else:
            alpha = 0.5 if combination == "joint" else self.config.score_weight
            found = convex_score(visual, audio, alpha=alpha)
        return torch.where(sounding[:, None], found, visual)

    def _visual(self, outputs: dict[str, Tensor]) -> Tensor:
        """s in [0, 1] from the visual streams, (B, n): the mean over frames and streams."""
        return saliency([outputs[stream] for stream in self.config.streams], self.config.objective)

    def _audio(self, outputs: dict[str, Tensor]) -> Tensor:
        return saliency([outputs["mel"]], self.config.audio_objective)

    def _outputs(self, stream: str, values: Tensor) -> Tensor:
        """What a stream's network says of every frame of candidates (B, n, ...): (B, n, S, C or 1)."""
        if stream in ("intra", "mel"):  # one picture a candidate
            values = values.unsqueeze(2)
        if stream == "mel":
            values = values.unsqueeze(3)
        network = self.networks[stream]
        frames = values.flatten(0, 2)
        # Training normalises by the statistics of all frames; otherwise memory is bounded, whatever the videos' length.
        parts = (frames,) if network.training else frames.split(FRAMES_AT_ONCE)
        outputs = [network(torch.nan_to_num(scaled(stream, part.to(self.device)))) for part in parts]
        return torch.cat(outputs).view(*values.shape[:3], -1)

    def _draw(self, valid: Tensor) -> Tensor:
        """Which candidates of each context to learn from, (B, n), at random; padding comes last."""
        keys = torch.rand(valid.shape, generator=self.generator, device=self.device)
        keys = keys.to(valid.device).masked_fill(~valid, -1)
        return keys.topk(min(self.config.clips_per_video, keys.shape[1]), dim=-1).indices


def saliency(outputs: Sequence[Tensor], objective: str) -> Tensor:
    """s in [0, 1] of n clips, (B, n), from the outputs of several streams (B, n, S, C) or (B, n, S, 1)."""
    if objective == "ac":
        return torch.stack([output.softmax(-1).mean(2) for output in outputs]).mean(0).amax(-1)
    return torch.stack([output.sigmoid().mean((2, 3)) for output in outputs]).mean(0)


def has_sound(looks: Looks) -> Tensor:
    """Which contexts' videos have a sound track, (B,) bool."""
    return ~looks.field("mel")[:, :1].isnan().flatten(1).any(-1)
