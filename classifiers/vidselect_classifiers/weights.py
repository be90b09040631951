"""Loading, saving and identifying a classifier's weights.

Weights are a file (`.safetensors`, or `.pt`/`.pth`/`.pyth` read with `weights_only=True`) or a published name
(`kinetics400`). What does not fit is an error, never a silent skip.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from vidselect_classifiers.base import ClipClassifier
from vidselect_classifiers.checkpoint_names import own_names
from vidselect_classifiers.flow import adapted

CHECKPOINTS = Path(__file__).parent / "checkpoints"
NUM_LISTED_KEYS = 8
SGS_STATE = "sgs._extra_state"  # what similarity guided sampling says of itself

# Classifier -> published name -> a file in `CHECKPOINTS`, or the name of torchvision's weights.
PUBLISHED: dict[str, dict[str, str]] = {
    "tiny_r3d": {"default": "tiny_r3d.safetensors", "synthetic-v1": "tiny_r3d_v1.safetensors"},
    "lip_tcn": {"default": "lip_tcn.safetensors"},
    "r3d_18": {"kinetics400": "R3D_18_Weights.KINETICS400_V1"},
    "mc3_18": {"kinetics400": "MC3_18_Weights.KINETICS400_V1"},
    "r2plus1d_18": {"kinetics400": "R2Plus1D_18_Weights.KINETICS400_V1"},
    "s3d": {"kinetics400": "S3D_Weights.KINETICS400_V1"},
    "mvit_v2_s": {"kinetics400": "MViT_V2_S_Weights.KINETICS400_V1"},
    "swin3d_t": {"kinetics400": "Swin3D_T_Weights.KINETICS400_V1"},
    "frame_resnet18": {"imagenet": "ResNet18_Weights.IMAGENET1K_V1"},
    "frame_resnet50": {"imagenet": "ResNet50_Weights.IMAGENET1K_V1"},
    "tsn_resnet18": {"imagenet": "ResNet18_Weights.IMAGENET1K_V1"},
    "tsm_resnet50": {"imagenet": "ResNet50_Weights.IMAGENET1K_V1"},
    "tsn_resnet50": {"imagenet": "ResNet50_Weights.IMAGENET1K_V1"},
    "tsn_resnet101": {"imagenet": "ResNet101_Weights.IMAGENET1K_V1"},
}


class WeightsError(ValueError):
    """Weights that cannot be found or read, or do not fit the network."""


def load_weights(
    classifier: ClipClassifier,
    weights: str | os.PathLike[str],
    *,
    num_classes: int | None = None,
    replace_head: bool = False,
) -> None:
    """Put weights into a classifier, in place.

    The classifier takes the weights' class names where these have any, and else keeps its own. Parameter names of
    other libraries are translated (`checkpoint_names`). A classifier of optical flow takes weights of colours too.

    Args:
        classifier: made by a builder; its `name` says which published names there are.
        weights: path to a `.safetensors`, `.pt`, `.pth` or `.pyth` file, or a published name. A `.pt` file holds the
            network's state dict, or one under the key `state_dict`, `model_state` or `model`.
        num_classes: outputs the head must have; None for as many as the weights have.
        replace_head: keep a freshly initialised head of `num_classes` where the weights' head is of another
            size or absent.

    Raises:
        WeightsError: no such weights, or keys are missing, unexpected or mis-shaped (the message lists them).
        ValueError: `replace_head` without `num_classes`, or another head for a classifier that has none.
    """
    if replace_head and num_classes is None:
        raise ValueError("replace_head=True needs num_classes: how many outputs the new head has")
    state, class_names = _read(classifier.name, weights)
    try:
        state = own_names(state, classifier.network.state_dict(), name=classifier.name)
    except ValueError as error:
        raise WeightsError(f"{weights} does not fit {classifier.name}: {error}") from error
    if classifier.geometry.modality == "flow":
        state = adapted(state, classifier.network)
    head_weight = state.get(f"{classifier.head_name}.weight")
    num_given = None if head_weight is None else head_weight.shape[0]
    num_wanted = num_classes or num_given or classifier.num_classes
    if num_wanted != classifier.num_classes:
        classifier.replace_head(num_wanted)
    if num_given != num_wanted:
        if replace_head:
            fresh = classifier.head.state_dict(prefix=f"{classifier.head_name}.")
            state, class_names = {**state, **fresh}, None
        elif num_given is not None:
            raise WeightsError(
                f"{weights} has a head of {num_given} classes, and num_classes is {num_wanted}: "
                "pass replace_head=True for a new, untrained head"
            )
    _check_fit(state, classifier, weights)
    _check_numbers(state, weights)
    # Not strict, for one reason: checkpoints without batch norm's count of batches, which nothing here reads.
    classifier.network.load_state_dict(state, strict=False)
    if class_names is not None:
        try:
            classifier.set_class_names(class_names)
        except ValueError as error:
            raise WeightsError(f"{weights}: {error}") from error


def holds_part(classifier: ClipClassifier, weights: str | os.PathLike[str], *, part: str) -> bool:
    """Whether weights are of a classifier with a part inside it: `sgs`, or `attention`.

    Raises:
        WeightsError: no such weights, or they cannot be read.
    """
    return any(key.startswith(f"{part}.") for key in _read(classifier.name, weights)[0])


def save_weights(classifier: ClipClassifier, path: str | os.PathLike[str]) -> None:
    """Write the network's parameters and buffers under its own names, and its class names, as safetensors.

    The file appears whole or not at all.

    Raises:
        ValueError: the path does not end in `.safetensors`, or a number is nan.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path ({path}) must end in .safetensors")
    state = {key: value.contiguous() for key, value in classifier.network.state_dict().items()}
    # One entry at most: safetensors writes several in no fixed order, and equal weights should be equal files.
    metadata = None if classifier.class_names is None else {"class_names": json.dumps(classifier.class_names)}
    _check_numbers(state, path)
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        aside.write_bytes(save(state, metadata))
        _sync(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    _sync(path.parent)  # so that no loss of power takes the name back


def weights_sha256(classifier: ClipClassifier) -> str:
    """Hash of the network's parameters and buffers: names, dtypes, shapes and bytes, sorted by name.

    Two classifiers with the same hash say the same of the same clips, whatever file they came from; stored
    outputs are tied to a classifier by it.
    """
    digest = hashlib.sha256()
    for name, value in sorted(classifier.network.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _read(name: str, weights: str | os.PathLike[str]) -> tuple[dict[str, Tensor], Sequence[str] | None]:
    """State dict and class names of a file or a published name."""
    published = PUBLISHED.get(name, {})
    if weights in published:
        entry = published[str(weights)]
        if entry.endswith(".safetensors"):
            return _read_file(CHECKPOINTS / entry)
        return _read_torchvision(entry, name=str(weights))
    path = Path(weights)
    if path.suffix not in (".safetensors", ".pt", ".pth", ".pyth"):
        names = ", ".join(repr(key) for key in published) or "none"
        hint = (
            "; PySlowFast's .pkl are Caffe2's: PySlowFast reads them and saves .pyth" if path.suffix == ".pkl" else ""
        )
        raise WeightsError(
            f"unknown weights {str(weights)!r} of {name}: published are {names}; "
            f"a file must end in .safetensors, .pt, .pth or .pyth{hint}"
        )
    return _read_file(path)


def _read_file(path: Path) -> tuple[dict[str, Tensor], Sequence[str] | None]:
    if not path.is_file():
        raise WeightsError(f"weights file {path} does not exist")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                class_names = json.loads((file.metadata() or {}).get("class_names", "null"))
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if class_names is not None and not all(isinstance(name, str) for name in class_names):
                raise ValueError(f"its class names ({str(class_names)[:80]}) must be texts")
            return state, class_names
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"weights file {path} cannot be read: {error}\n  Where it holds more than tensors, open it with the "
            "library that wrote it and save its state dict alone"
        ) from error
    except Exception as error:  # whatever a damaged file makes of its readers
        raise WeightsError(f"weights file {path} cannot be read: {error or type(error).__name__}") from error
    for key in ("state_dict", "model_state", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(
            f"weights file {path} must hold tensors by name, or under 'state_dict', 'model_state' or 'model'"
        )
    return dict(content), None


def _read_torchvision(entry: str, *, name: str) -> tuple[dict[str, Tensor], Sequence[str]]:
    from torchvision.models import get_weight  # takes a second to import

    weights = get_weight(entry)
    try:
        state = weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        cache = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
        raise WeightsError(
            f"weights {name!r} ({weights}) could not be downloaded from {weights.url} ({error}): "
            f"put that file at {cache}, or give the path of another as weights"
        ) from error
    return dict(state), weights.meta["categories"]


def _check_fit(state: Mapping[str, Tensor], classifier: ClipClassifier, weights: str | os.PathLike[str]) -> None:
    own = classifier.network.state_dict()
    if SGS_STATE in own and SGS_STATE in state:  # one line on how it was made says more than the shapes that follow
        if state[SGS_STATE].ndim != 1 or len(state[SGS_STATE]) < 4:
            raise WeightsError(f"{SGS_STATE} of {weights} must be four numbers or more")
        classifier.network.get_submodule("sgs").set_extra_state(state[SGS_STATE])
    missing = [key for key in own if key not in state and not key.endswith(".num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    mis_shaped = [
        f"{key} {tuple(state[key].shape)} must be {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "mis-shaped": mis_shaped}
    problems = [f"{kind} ({len(keys)}): {_listed(keys)}" for kind, keys in kinds.items() if keys]
    if any(key.startswith("sgs.") for key in unexpected):
        problems.append("they are of a classifier with similarity guided sampling: say after which stage it stands")
    if any(key.startswith("sgs.embed.") for key in mis_shaped):
        problems.append("their similarity network is of another size, by its `network`, `embedding_dim` or `per_step`")
    if problems:
        raise WeightsError("\n  ".join([f"{weights} does not fit {classifier.name}:", *problems]))


def _check_numbers(state: Mapping[str, Tensor], weights: str | os.PathLike[str]) -> None:
    """Whoever holds nan says nan of every clip; infinities may be meant, in masks."""
    for key, value in state.items():
        if value.is_floating_point() and value.isnan().any():
            raise WeightsError(f"{key} of {weights} has numbers that are nan")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _listed(keys: Sequence[str]) -> str:
    more = len(keys) - NUM_LISTED_KEYS
    return ", ".join(keys[:NUM_LISTED_KEYS]) + (f" and {more} more" if more > 0 else "")
