"""The classification step of DSN's joint training (Algorithm 1): the classifier learns from selected clips.

Shapes: B videos, M selected clips each, C classes, T frames a clip.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from vidselect_agents.steps import StepsConfig
from vidselect_env.datasets.labels import label_shares
from vidselect_env.envs.sources import LiveSource
from vidselect_env.fitting.augmentation import ClipJitter, mirrored
from vidselect_env.fitting.processes import ALONE, Processes, share_norms
from vidselect_env.seeding import seeded


def selected_loss(logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the averaged predictions of the selected clips (DSN, Eqs. 4 and 5), the mean over videos.

    The L2 term of Eq. 5 is the optimizer's weight decay.

    Args:
        logits: (B, M, C) with gradient.
        targets: (B, C) bool; several labels share a video equally.
        label_smoothing: share of the target that is spread over all classes.

    Example: two clips that give the label 0.8 and 0.4 -> -log 0.6.
    """
    num_clips, num_classes = logits.shape[1:]
    averaged = logits.float().log_softmax(-1).logsumexp(1) - math.log(num_clips)
    wanted = (1 - label_smoothing) * label_shares(targets) + label_smoothing / num_classes
    return -(wanted * averaged).sum(-1).mean()


class ClassifierSteps:
    """Trains the classifier of a live source by gradient steps, one a batch.

    All that it has beside the configuration is in its `state_dict`, so that training goes on exactly.

    Args:
        source: of the training videos.
        config: of the classifier's steps.
        total: gradient steps in all, of its schedule.
        jitter: what training changes of a clip. flip: mirror half of them.
        seed: of augmentation and dropout.
        processes: that train it together, each on as many videos; what they do is what one would on all of these.
    """

    def __init__(
        self,
        source: LiveSource,
        *,
        config: StepsConfig,
        total: int,
        jitter: ClipJitter,
        flip: bool = False,
        label_smoothing: float = 0.0,
        seed: int = 0,
        processes: Processes = ALONE,
    ) -> None:
        if jitter.takes_whole_frames and not source.whole_frames:
            raise ValueError("scale_jitter and random_crop need a live source with whole_frames=True")
        self.source, self.jitter, self.flip, self.label_smoothing = source, jitter, flip, label_smoothing
        self.processes = processes
        if processes.count > 1:
            processes.same(source.classifier)
            share_norms(source.classifier, on_gpu=source.device.type == "cuda")
        self.optimizer = config.make_optimizer(source.classifier)
        self.schedule = config.make_schedule(self.optimizer, total=total)
        self.generator = torch.Generator().manual_seed(seed)

    def step(self, videos: Tensor, selected: Tensor) -> Tensor:
        """Learn from candidates (B, M) of videos (B,), and leave the classifier in evaluation mode; the loss.

        Of several processes each has its own B videos, and the loss is that of all.
        """
        source, rank, count = self.source, self.processes.rank, self.processes.count
        self._pass_over(rank * selected.numel())
        clips = source.training_clips(videos, selected, augment=self._augmented, generator=self.generator)
        self._pass_over((count - 1 - rank) * selected.numel())
        source.classifier.train()
        with seeded(int(torch.randint(2**31, (), generator=self.generator)) + rank, source.device):  # dropout
            logits = source.classify(clips).logits
        loss = selected_loss(
            logits.view(*selected.shape, -1), source.targets[videos], label_smoothing=self.label_smoothing
        )
        of_all = self.processes.mean(loss.detach())
        if of_all.isfinite():
            self.optimizer.zero_grad()
            (loss / count).backward()
            self.processes.add_gradients(source.classifier.parameters())
            self.optimizer.step()
            self.schedule.step()
        source.classifier.eval()
        return of_all

    def state_dict(self) -> dict[str, Any]:
        return {
            "classifier": self.source.classifier.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was asked for."""
        self.source.classifier.load_state_dict(state["classifier"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"].cpu())

    def _pass_over(self, num_clips: int) -> None:
        """Draw what other processes draw for so many of their clips."""
        torch.randint(2**62, (num_clips,), generator=self.generator)

    def _augmented(self, clip: Tensor, generator: torch.Generator) -> Tensor:
        """A clip (T, 3, h, w), jittered, cropped and perhaps mirrored."""
        if not self.jitter.takes_whole_frames:
            clip = self.source.centre(clip)
        clip = self.jitter(clip, crop=self.source.spec.clip_crop, generator=generator)
        if not self.flip or torch.rand((), generator=generator) >= 0.5:
            return clip
        return mirrored(clip, modality=self.source.classifier.geometry.modality)
