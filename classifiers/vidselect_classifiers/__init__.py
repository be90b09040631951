"""Clip classifiers: uint8 clips in, logits and features out.

`make_classifier("r3d_18", weights="kinetics400")` makes one by name; `CLASSIFIERS` lists the names, and
`register_classifier` adds one. A plain `nn.Module` with a `ClipGeometry` is enough (`plain`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from vidselect_classifiers.base import ClipClassifier, ClipGeometry, ClipOutput
from vidselect_classifiers.cost import gmacs
from vidselect_classifiers.plain import PlainClassifier, build
from vidselect_classifiers.registry import lookup
from vidselect_classifiers.weights import WeightsError, holds_part, load_weights, save_weights, weights_sha256

__all__ = [
    "CLASSIFIERS",
    "ClipClassifier",
    "ClipGeometry",
    "ClipOutput",
    "PlainClassifier",
    "WeightsError",
    "gmacs",
    "load_weights",
    "make_classifier",
    "register_classifier",
    "save_weights",
    "weights_sha256",
]

# Named, not imported: torchvision takes a second to import, and an environment on a bank needs no classifier.
_HERE = "vidselect_classifiers"
CLASSIFIERS: dict[str, Any] = {
    "tiny_r3d": f"{_HERE}.tiny_r3d:tiny_r3d",
    "lip_tcn": f"{_HERE}.lip_tcn:lip_tcn",
    "r3d_18": f"{_HERE}.video_resnet:r3d_18",
    "r3d_34": f"{_HERE}.video_resnet:r3d_34",
    "mc3_18": f"{_HERE}.video_resnet:mc3_18",
    "r2plus1d_18": f"{_HERE}.video_resnet:r2plus1d_18",
    "r2plus1d_34": f"{_HERE}.video_resnet:r2plus1d_34",
    "s3d": f"{_HERE}.torchvision_models:s3d",
    "mvit_v2_s": f"{_HERE}.torchvision_models:mvit_v2_s",
    "swin3d_t": f"{_HERE}.torchvision_models:swin3d_t",
    "i3d": f"{_HERE}.i3d:i3d",
    "x3d_xs": f"{_HERE}.x3d:x3d_xs",
    "x3d_s": f"{_HERE}.x3d:x3d_s",
    "x3d_m": f"{_HERE}.x3d:x3d_m",
    "x3d_l": f"{_HERE}.x3d:x3d_l",
    "x3d_xl": f"{_HERE}.x3d:x3d_xl",
    "resnet3d_18_modified": f"{_HERE}.resnet3d:resnet3d_18_modified",
    "resnet3d_50": f"{_HERE}.resnet3d:resnet3d_50",
    "i3d_r50": f"{_HERE}.resnet3d:i3d_r50",
    "r2plus1d_50": f"{_HERE}.resnet3d:r2plus1d_50",
    "slowfast_4x16_r50": f"{_HERE}.slowfast:slowfast_4x16_r50",
    "slowfast_8x8_r18": f"{_HERE}.slowfast:slowfast_8x8_r18",
    "slowfast_8x8_r50": f"{_HERE}.slowfast:slowfast_8x8_r50",
    "frame_resnet18": f"{_HERE}.frame_resnet:frame_resnet18",
    "frame_resnet50": f"{_HERE}.frame_resnet:frame_resnet50",
    "tsn_resnet18": f"{_HERE}.tsn:tsn_resnet18",
    "tsn_resnet50": f"{_HERE}.tsn:tsn_resnet50",
    "tsn_resnet101": f"{_HERE}.tsn:tsn_resnet101",
    "tsn_bn_inception": f"{_HERE}.tsn:tsn_bn_inception",
    "tsm_resnet50": f"{_HERE}.tsm:tsm_resnet50",
}


_BUILT_IN = frozenset(CLASSIFIERS)
HUGGING_FACE = "hf:"


def register_classifier(name: str, builder: Callable[..., Any] | str) -> None:
    """Make a classifier known under a name.

    Args:
        builder: of `make_classifier`, or `package.module:builder` to import when it is asked for.

    Raises:
        ValueError: the name is taken.
    """
    if name in CLASSIFIERS:
        raise ValueError(f"classifier {name!r} is already registered")
    CLASSIFIERS[name] = builder


def make_classifier(
    name: str,
    *,
    num_classes: int | None = None,
    weights: str | os.PathLike[str] | None = None,
    replace_head: bool = False,
    sgs: Mapping[str, Any] | None = None,
    attention: str | None = None,
    **options: Any,
) -> ClipClassifier:
    """A classifier by name, in evaluation mode.

    Args:
        name: a key of `CLASSIFIERS`, an entry point in the group `vidselect.classifiers`, `package.module:builder`,
            or `hf:` and a folder or name of Hugging Face's. A builder takes `num_classes` and `options` as keywords,
            as far as it wants them, and makes a `ClipClassifier` or a plain `nn.Module` with a geometry (`plain`).
        num_classes: outputs of its head; None for those of the weights, and without weights those of the
            network's usual data set (400 Kinetics, 1000 ImageNet, 8 for tiny_r3d, 51 for lip_tcn).
        weights: path to a `.safetensors`, `.pt`, `.pth` or `.pyth` file, or a published name (`kinetics400`,
            `imagenet`, `default`); None for a fresh, untrained network. A classifier that is not of this package is
            left as its builder made it by None and by `default`.
        replace_head: take a new, untrained head of `num_classes` where the present one has another size.
        sgs: arguments of `with_sgs`, such as `{"after": "layer1"}`: similarity guided sampling inside it. The
            weights may be of such a classifier, or of one without, whose similarity network is then new.
        attention: the stage after which temporal attention stands (`with_attention`), likewise.
        options: fields of `ClipGeometry` to change (`num_frames=8`, `crop=(112, 112)`, `modality="flow"`), and what
            else the builder takes (`width` of tiny_r3d); None leaves the classifier's own.

    Raises:
        ValueError: unknown name, or a geometry that the network cannot take.
        WeightsError: weights that are not there or do not fit; a ValueError too.
    """
    builder, label = _builder(name)
    given = {name: value for name, value in (options | {"num_classes": num_classes}).items() if value is not None}
    classifier = build(builder, given, name=label)
    classifier.name = classifier.name or label
    if weights == "default" and name not in _BUILT_IN:
        weights = None
    if sgs is not None and attention is not None:
        raise ValueError(f"attention ({attention!r}) is what sgs ({dict(sgs)}) is compared with: take one of them")
    part = "sgs" if sgs is not None else "attention" if attention is not None else None
    is_first = part is not None and (weights is None or holds_part(classifier, weights, part=part))
    if is_first:
        classifier = _with_part(classifier, sgs=sgs, attention=attention)
    if weights is not None:
        load_weights(classifier, weights, num_classes=num_classes, replace_head=replace_head)
    elif num_classes is not None:
        _match_head(classifier, num_classes, replace=replace_head)
    if part is not None and not is_first:
        classifier = _with_part(classifier, sgs=sgs, attention=attention)
    return classifier.eval()


def _builder(name: str) -> tuple[Callable[..., Any], str]:
    """What makes the classifier, and what it is called."""
    if not name.startswith(HUGGING_FACE):
        return lookup(CLASSIFIERS, name, kind="classifier", group="vidselect.classifiers"), name
    from vidselect_classifiers.huggingface import video_classifier

    place = name.removeprefix(HUGGING_FACE)
    # Of a folder its own name alone: stored outputs stay those of the classifier when it moves.
    label = Path(place).resolve().name if Path(place).is_dir() else place
    return partial(video_classifier, place), HUGGING_FACE + label


def _match_head(classifier: ClipClassifier, num_classes: int, *, replace: bool) -> None:
    """Give a classifier whose builder left `num_classes` alone a new head of as many, where that is asked for."""
    if classifier.num_classes == num_classes:
        return
    if not replace:
        raise ValueError(
            f"classifier {classifier.name!r} has {classifier.num_classes} classes, and num_classes is {num_classes}: "
            "pass replace_head=True for a new, untrained head"
        )
    classifier.replace_head(num_classes)


def _with_part(classifier: ClipClassifier, *, sgs: Mapping[str, Any] | None, attention: str | None) -> ClipClassifier:
    """The classifier with sampling or attention inside it, where either is asked for."""
    if sgs is not None:
        from vidselect_classifiers.sgs import with_sgs

        return with_sgs(classifier, **sgs)
    if attention is not None:
        from vidselect_classifiers.attention import with_attention

        return with_attention(classifier, after=attention)
    return classifier
