"""From a configuration to live sources: a classifier that is trained on the videos of a dataset, or tested there."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from vidselect_classifiers import ClipClassifier
from vidselect_env.bank.build import bank_spec
from vidselect_env.datasets import LabelledVideo, VideoDataset, load_dataset
from vidselect_env.envs.sources import LiveSource
from vidselect_env.experiment.banks import dataset_bank, keep_known_classes, needs_head, skim_spec
from vidselect_env.experiment.config import ExperimentConfig
from vidselect_env.fitting.head import bank_head
from vidselect_env.video.errors import VideoError
from vidselect_env.video.index import index_video


def starting_classifier(config: ExperimentConfig, fit_set: VideoDataset, *, seed: int = 0) -> ClipClassifier:
    """The classifier that joint training starts with, for the classes of a dataset.

    Where the weights know other classes, it gets a linear head that is fitted on the videos that it will be trained on.
    """
    classifier = config.classifier.make_classifier(seed=seed)
    keep_known_classes(config.fitting, classifier, fit_set.class_names)
    if needs_head(config.fitting, classifier, fit_set.class_names):
        bank = dataset_bank(config, fit_set, classifier=classifier, signals=(), progress=True)
        classifier.cpu().put_head(bank_head(bank), fit_set.class_names)
    elif classifier.class_names is None:
        classifier.set_class_names(fit_set.class_names)
    return classifier


def live_source(
    config: ExperimentConfig,
    dataset: VideoDataset,
    classifier: ClipClassifier,
    *,
    views: str = "centre",
    whole_frames: bool = False,
    mixed_precision: bool = False,
    keep_videos: int = 64,
) -> LiveSource:
    """The readable videos of a dataset, with the grid and skims of a configuration; see `LiveSource`."""
    readable = readable_videos(dataset, num_workers=config.grid.num_workers)
    spec = bank_spec(
        readable,
        classifier,
        num_clips=config.grid.num_clips,
        fields=("logits", "skim"),
        skim=skim_spec(config.grid),
    )
    return LiveSource(
        readable,
        classifier,
        spec=spec,
        device=config.classifier.torch_device,
        num_workers=config.grid.num_workers,
        keep_videos=keep_videos,
        views=views,
        whole_frames=whole_frames,
        mixed_precision=mixed_precision,
    )


def load_split(config: ExperimentConfig, split: str) -> VideoDataset:
    """One split of a configuration's dataset."""
    data = config.data
    return load_dataset(data.dataset, split=split, num_videos=data.num_videos, seed=data.data_seed)


def readable_videos(dataset: VideoDataset, *, num_workers: int) -> VideoDataset:
    """The dataset without the videos that cannot be indexed, each of which is named.

    Raises:
        ValueError: none is left.
    """

    def is_readable(video: LabelledVideo) -> bool:
        try:
            index_video(video.path, start_s=video.start_s, end_s=video.end_s)
        except VideoError as error:
            tqdm.write(f"left out {error}")
            return False
        return True

    with ThreadPoolExecutor(num_workers) as pool:
        kept = list(pool.map(is_readable, dataset.videos))
    videos = tuple(video for video, is_kept in zip(dataset.videos, kept, strict=True) if is_kept)
    if not videos:
        raise ValueError(f"dataset {dataset.name!r}, split {dataset.split!r}: no video can be read")
    return dataclasses.replace(dataset, videos=videos)
