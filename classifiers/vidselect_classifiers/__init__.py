"""Clip classifiers: uint8 clips in, logits and features out.

`make_classifier("r3d_18", weights="kinetics400")` makes one by name; `CLASSIFIERS` lists the names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from vidselect_classifiers.base import ClipClassifier, ClipGeometry, ClipOutput
from vidselect_classifiers.cost import gmacs
from vidselect_classifiers.registry import lookup
from vidselect_classifiers.weights import WeightsError, holds_sgs, load_weights, save_weights, weights_sha256

__all__ = [
    "CLASSIFIERS",
    "ClipClassifier",
    "ClipGeometry",
    "ClipOutput",
    "WeightsError",
    "gmacs",
    "load_weights",
    "make_classifier",
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
    "frame_resnet18": f"{_HERE}.frame_resnet:frame_resnet18",
    "frame_resnet50": f"{_HERE}.frame_resnet:frame_resnet50",
}


def make_classifier(
    name: str,
    *,
    num_classes: int | None = None,
    weights: str | os.PathLike[str] | None = None,
    replace_head: bool = False,
    sgs: Mapping[str, Any] | None = None,
    **options: Any,
) -> ClipClassifier:
    """A classifier by name, in evaluation mode.

    Args:
        name: a key of `CLASSIFIERS`, an entry point in the group `vidselect.classifiers`, or
            `package.module:builder`. A builder takes `num_classes` and `options` as keywords.
        num_classes: outputs of its head; None for those of the weights, and without weights those of the
            network's usual data set (400 Kinetics, 1000 ImageNet, 8 for tiny_r3d, 51 for lip_tcn).
        weights: path to a `.safetensors`, `.pt` or `.pth` file, or a published name (`kinetics400`,
            `imagenet`, `default`); None for a fresh, untrained network.
        replace_head: take a new, untrained head of `num_classes` where the weights' head has another size.
        sgs: arguments of `with_sgs`, such as `{"after": "layer1"}`: similarity guided sampling inside it. The
            weights may be of such a classifier, or of one without, whose similarity network is then new.
        options: fields of `ClipGeometry` to change (`num_frames=8`, `crop=(112, 112)`), and what else the
            builder takes (`width` of tiny_r3d); None leaves the classifier's own.

    Raises:
        ValueError: unknown name, or a geometry that the network cannot take.
        WeightsError: weights that are not there or do not fit; a ValueError too.
    """
    builder = lookup(CLASSIFIERS, name, kind="classifier", group="vidselect.classifiers")
    given = {name: value for name, value in (options | {"num_classes": num_classes}).items() if value is not None}
    classifier: ClipClassifier = builder(**given)
    classifier.name = classifier.name or name
    if sgs is not None and (weights is None or holds_sgs(classifier, weights)):
        classifier, sgs = _with_sgs(classifier, sgs), None
    if weights is not None:
        load_weights(classifier, weights, num_classes=num_classes, replace_head=replace_head)
    if sgs is not None:
        classifier = _with_sgs(classifier, sgs)
    return classifier.eval()


def _with_sgs(classifier: ClipClassifier, options: Mapping[str, Any]) -> ClipClassifier:
    from vidselect_classifiers.sgs import with_sgs

    return with_sgs(classifier, **options)
