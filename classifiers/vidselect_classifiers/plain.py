"""A plain `nn.Module` as a clip classifier: what it needs is a `ClipGeometry`, and the name of its last layer.

Shapes: B clips, T frames a clip, C classes, D feature values, H x W pixels.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vidselect_classifiers.base import ClipClassifier, ClipGeometry, ClipOutput

Layout = Literal["cthw", "tchw"]


class PlainClassifier(ClipClassifier):
    """A module of its own, from clips to logits, with a geometry; uint8 clips in, `ClipOutput` out.

    What the head is given is taken as features on its way there, so the module runs as it is, once. One clip runs
    through it, without values where it can, when the classifier is made: what does not fit is an error then.

    Args:
        network: takes normalised clips (B, 3, T, H, W) float, and gives logits (B, C), or something whose attribute
            `logits` they are.
        geometry: the clips it takes.
        head: name of its last layer (`fc`, `head.1`), an `nn.Linear` or an `nn.Conv3d` of kernel 1, whose output the
            logits are and whose input (B, D) the features. None: logits alone.
        layout: `tchw` for a network that takes (B, T, 3, H, W).
        class_names: the C classes, where known.
        name: for messages and tables.

    Raises:
        AttributeError: there is no layer of the head's name.
        TypeError: the head is another kind of layer, or the network gives no tensor of logits.
        ValueError: the network does not take such clips, or what it gives or its head is given has another shape;
            at the first batch: its logits are not what the head makes of the features.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        geometry: ClipGeometry,
        head: str | None = None,
        layout: Layout = "cthw",
        class_names: Sequence[str] | None = None,
        name: str = "",
    ) -> None:
        if layout not in get_args(Layout):
            raise ValueError(f"layout {layout!r} must be one of {', '.join(get_args(Layout))}")
        pool = partial(_features, head=head)
        super().__init__(network, head=head, pool=pool, geometry=geometry, name=name)
        self.layout = layout
        self._head_is_last = head is None  # nothing to check then
        self._num_outputs = self._try_one()[0].shape[1]
        self.set_class_names(class_names)

    @property
    def num_classes(self) -> int:
        return super().num_classes if self.has_features else self._num_outputs

    def preprocess(self, clips: Tensor) -> Tensor:
        """Normalise (B, T, 3, H, W) uint8 clips to the network's layout."""
        normalised = super().preprocess(clips)
        return normalised if self.layout == "cthw" else normalised.transpose(1, 2)

    def forward(self, clips: Tensor) -> ClipOutput:
        """Classify (B, T, 3, H, W) uint8 clips."""
        logits, features = run_with_features(self.network, self.preprocess(clips), head=self.head_name)
        if not self._head_is_last:
            self._check_head(logits, features)
        return ClipOutput(logits, features)

    def gmacs_per_clip(self) -> float:
        """Multiply-adds of one clip, in units of 1e9, counted as for the other classifiers."""
        return self._try_one()[1]

    @torch.no_grad()
    def _check_head(self, logits: Tensor, features: Tensor) -> None:
        """Heads are fitted on features and put in place of the head: what follows the head would be forgotten."""
        again = self.classify_features(features)
        tolerance = 0.02 * float(logits.detach().abs().max()) + 1e-5
        if not torch.allclose(again.float(), logits.float(), rtol=0, atol=tolerance, equal_nan=True):
            raise ValueError(
                f"the output of {self.label!r} is not what its head {self.head_name!r} makes of its input (a softmax "
                "after it?): the network must end with its head and give logits"
            )
        self._head_is_last = True

    def _try_one(self) -> tuple[Tensor, float]:
        """Logits (1, C) of one clip, and its multiply-adds in units of 1e9.

        On the meta device; a network that does not run without values runs on zeros. Attention is then taken
        apart into the products that it is made of: its kernel on a CPU is not counted.
        """
        try:
            logits, gmacs = _run_counted(copy.deepcopy(self).to("meta").eval())
        except Exception:  # whatever it is: the run with values says so if it is the network's fault
            modes = [(module, module.training) for module in self.modules()]
            try:
                with sdpa_kernel(SDPBackend.MATH):
                    logits, gmacs = _run_counted(self.eval())
            except (RuntimeError, ValueError, AssertionError) as error:
                raise ValueError(
                    f"network {self.label!r} does not take clips of its geometry, {self.input_shape} as "
                    f"{self.layout!r}: {error}"
                ) from error
            finally:
                for module, training in modes:
                    module.training = training
        if logits.ndim != 2 or logits.shape[0] != 1 or (self.has_features and logits.shape[1] != self.num_classes):
            wanted = f"(1, {self.num_classes})" if self.has_features else "(1, classes)"
            raise ValueError(
                f"network {self.label!r} gives {tuple(logits.shape)} for one clip: logits must be {wanted}"
            )
        return logits, gmacs


@torch.no_grad()
def _run_counted(classifier: PlainClassifier) -> tuple[Tensor, float]:
    """Logits of one clip of zeros, and multiply-adds in units of 1e9."""
    assert isinstance(classifier.mean, Tensor)
    clips = torch.zeros((1, *classifier.input_shape), dtype=torch.uint8, device=classifier.mean.device)
    counter = FlopCounterMode(display=False)
    with counter:
        logits, _ = run_with_features(classifier.network, classifier.preprocess(clips), head=classifier.head_name)
    return logits, counter.get_total_flops() / 2 / 1e9


def run_with_features(network: nn.Module, inputs: Tensor, *, head: str | None) -> tuple[Tensor, Tensor]:
    """Logits (B, C) of a network, and what its head was given, (B, D); (B, 0) without a head.

    Raises:
        TypeError: the network gives no tensor, nor anything with `logits`.
        ValueError: the head was not called just once, or its input is not (B, D).
    """
    if head is None:
        logits = _logits(network(inputs))
        return logits, logits.new_empty(len(inputs), 0)
    given: list[tuple[Any, ...]] = []
    layer: Any = network.get_submodule(head)
    with layer.register_forward_pre_hook(lambda _, arguments: given.append(arguments)):
        logits = _logits(network(inputs))
    if len(given) != 1 or not given[0]:
        raise ValueError(f"head {head!r} must be called once a batch, with the features; it was {len(given)} times")
    features = given[0][0]
    wanted = (len(inputs), layer.weight.shape[1])
    if features.numel() != wanted[0] * wanted[1] or features.shape[:2] != wanted:
        raise ValueError(f"head {head!r} is given {tuple(features.shape)}: features must be {wanted}")
    return logits, features.flatten(1)


def _features(network: nn.Module, inputs: Tensor, *, head: str | None) -> Tensor:
    return run_with_features(network, inputs, head=head)[1]


def _logits(output: Any) -> Tensor:
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor):
        raise TypeError(f"a network gave {type(output).__name__}: it must be a tensor of logits, or have `logits`")
    return logits


def build(builder: Callable[..., Any], options: Mapping[str, Any], *, name: str) -> ClipClassifier:
    """What a builder makes with options, as a classifier.

    It may make a `ClipClassifier`, or a plain `nn.Module` with these attributes: `geometry`, and where they are
    not None `head_name`, `layout` and `class_names`, as of `PlainClassifier`.

    Args:
        builder: takes what it likes of the options as keywords.
        options: fields of `ClipGeometry`, which a plain module's geometry takes where its builder does not, and what
            else the builder takes; `num_classes` is left to the caller where the builder does not take it.

    Raises:
        TypeError: it makes something else.
        ValueError: a plain module without a geometry, or an option that nobody takes.
    """
    if isinstance(builder, nn.Module):
        raise TypeError(f"classifier {name!r} is a module already: name the function or class that makes it")
    taken = {option: value for option, value in options.items() if _takes(builder, option)}
    made = builder(**taken)
    if not isinstance(made, nn.Module):
        raise TypeError(
            f"the builder of classifier {name!r} made {type(made).__name__}: it must make a ClipClassifier, or an "
            "nn.Module with a geometry"
        )
    left = {option: value for option, value in options.items() if option not in taken and option != "num_classes"}
    fields = {field.name for field in dataclasses.fields(ClipGeometry)}
    unknown = sorted(left if isinstance(made, ClipClassifier) else set(left) - fields)
    if unknown:
        raise ValueError(f"the builder of classifier {name!r} takes no {', '.join(unknown)}")
    return made if isinstance(made, ClipClassifier) else _as_classifier(made, left, name=name)


def _as_classifier(network: nn.Module, changes: Mapping[str, Any], *, name: str) -> PlainClassifier:
    geometry = getattr(network, "geometry", None)
    if not isinstance(geometry, ClipGeometry):
        raise ValueError(
            f"classifier {name!r} is a plain {type(network).__name__}, and its attribute geometry ({geometry!r}) is "
            "no ClipGeometry: say which clips it takes, geometry = ClipGeometry(num_frames=..., resize=..., crop=...)"
        )
    return PlainClassifier(
        network,
        geometry=dataclasses.replace(geometry, **changes),
        head=getattr(network, "head_name", None),
        layout=getattr(network, "layout", "cthw"),
        class_names=getattr(network, "class_names", None),
        name=name,
    )


def _takes(builder: Callable[..., Any], option: str) -> bool:
    """Whether a builder takes a keyword; one whose signature cannot be known is thought to."""
    try:
        parameters = inspect.signature(builder).parameters
    except (TypeError, ValueError):
        return True
    keywords = [p for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return any(p.kind is p.VAR_KEYWORD for p in parameters.values()) or option in {p.name for p in keywords}
