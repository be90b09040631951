"""Video classifiers of Hugging Face's transformers, from a folder or its cache: VideoMAE, TimeSformer, ViViT ...

Nothing is downloaded, and no code that lies with a model is run. Frames, crops and classes are what the model's own
configuration and processor say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from vidselect_classifiers.base import ClipGeometry
from vidselect_classifiers.weights import WeightsError

HEAD = "classifier"  # what all video classifiers of transformers call their last layer

# Frames from one of a clip to the next where the published Kinetics weights were trained, which no file of theirs
# says: VideoMAE 16 x 4, ViViT 32 x 2, TimeSformer 8 x 32, and of its larger ones 16 x 16 and 96 x 4.
FRAME_STRIDES = {"videomae": {16: 4}, "vivit": {32: 2}, "timesformer": {8: 32, 16: 16, 96: 4}}


def video_classifier(place: str) -> nn.Module:
    """A model for `plain.build`: `AutoModelForVideoClassification` with its geometry and class names.

    Args:
        place: a folder that `save_pretrained` wrote, of a model and its processor, or a name in the cache.

    Raises:
        ImportError: transformers is not installed.
        WeightsError: the model or its processor is not there, or its weights lack some of the network's.
        ValueError: its configuration does not say how many frames it takes, or its processor which crop.
    """
    try:
        import transformers
    except ImportError as error:
        raise ImportError(f"classifier 'hf:{place}' needs transformers: pip install 'vidselect-env[hf]'") from error
    try:
        network, loading = transformers.AutoModelForVideoClassification.from_pretrained(
            place, local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        raise WeightsError(_what_to_do(place, error)) from error
    if loading["missing_keys"]:
        raise WeightsError(
            f"the weights of 'hf:{place}' lack {', '.join(sorted(loading['missing_keys']))}: they are not of a "
            "classifier, fine-tuned to name classes"
        )
    config = network.config
    network.geometry = clip_geometry(_processor(place).to_dict(), config, place=place)
    network.head_name = HEAD
    network.layout = "tchw"
    names = [config.id2label[label] for label in range(config.num_labels)]
    is_placeholder = names == [f"LABEL_{label}" for label in range(config.num_labels)]
    network.class_names = None if is_placeholder else tuple(names)
    return network.float()


def clip_geometry(processor: dict[str, Any], config: Any, *, place: str = "") -> ClipGeometry:
    """The geometry that a processor's settings and a model's configuration say.

    A processor computes (x * rescale_factor - offset - image_mean) / image_std of pixels x in 0 to 255; as mean and
    std of pixels in [0, 1] that is (offset + image_mean) / s and image_std / s with s = 255 * rescale_factor.

    Raises:
        ValueError: it is not said how many frames a clip has, or which crop of a frame is seen.
    """
    num_frames = getattr(config, "num_frames", getattr(config, "frames_per_clip", None))
    if num_frames is None:
        raise ValueError(f"the configuration of 'hf:{place}' ({config.model_type}) has no num_frames")
    resize = _size(processor.get("size")) if processor.get("do_resize", True) else None
    crop = _size(processor.get("crop_size")) if processor.get("do_center_crop") else resize
    crop = (crop, crop) if isinstance(crop, int) and processor.get("do_center_crop") else crop
    if not isinstance(crop, tuple):
        raise ValueError(
            f"the processor of 'hf:{place}' gives frames of no fixed size (size {processor.get('size')}, crop_size "
            f"{processor.get('crop_size')}): set do_center_crop and crop_size in its preprocessor_config.json"
        )
    scale = 255 * (processor["rescale_factor"] if processor.get("do_rescale", True) else 1.0)
    offset = 1.0 if processor.get("offset") else 0.0
    normalised = processor.get("do_normalize", True)
    mean, std = (processor["image_mean"], processor["image_std"]) if normalised else ((0.0,) * 3, (1.0,) * 3)
    return ClipGeometry(
        num_frames=num_frames,
        frame_stride=FRAME_STRIDES.get(config.model_type, {}).get(num_frames, 1),
        resize=crop if resize is None else resize,
        crop=crop,
        mean=_triple((offset + value) / scale for value in mean),
        std=_triple(value / scale for value in std),
    )


def _size(size: Any) -> int | tuple[int, int] | None:
    """Of a processor's dictionary: the short side, or (height, width)."""
    if not isinstance(size, dict):
        return size
    if size.get("shortest_edge"):
        return int(size["shortest_edge"])
    if size.get("height") and size.get("width"):
        return int(size["height"]), int(size["width"])
    return None


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


def _processor(place: str) -> Any:
    """The model's image processor, or, of the newest models, its video processor."""
    import transformers

    try:
        return transformers.AutoImageProcessor.from_pretrained(place, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as no_image_processor:
        try:
            return transformers.AutoVideoProcessor.from_pretrained(
                place, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, AttributeError):
            raise WeightsError(
                f"'hf:{place}' has no preprocessor_config.json, which says size, mean and std: take that of the model "
                f"it was fine-tuned from ({_first_line(no_image_processor)})"
            ) from no_image_processor


def _what_to_do(place: str, error: Exception) -> str:
    if Path(place).is_dir():
        return f"folder {place!r} does not hold a video classifier of transformers: {_first_line(error)}"
    from huggingface_hub.constants import HF_HUB_CACHE

    return (
        f"{place!r} is neither a folder nor in the cache {HF_HUB_CACHE}, and nothing is downloaded here: where there "
        f"is a network, run\n  hf download {place} --local-dir DIR\nand take hf:DIR, a folder with config.json, "
        f"preprocessor_config.json and model.safetensors ({_first_line(error)})"
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
