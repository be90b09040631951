"""ActivityNet (Heilbron et al., CVPR 2015), releases 1.3 and 1.2: untrimmed; rarely more than one label a video."""

from __future__ import annotations

from vidselect_env.datasets.official.files import read_json
from vidselect_env.datasets.official.listing import (
    Entry,
    Listing,
    Report,
    check_num_classes,
    faulty_spans,
    located,
    merged_spans,
)
from vidselect_env.datasets.official.tree import Tree, stem

SUBSETS = {"training": "train", "validation": "val", "testing": "test"}
NUM_CLASSES = {"1.3": 200, "1.2": 100}


def read_activitynet(tree: Tree, release: str, report: Report) -> Listing:
    """ActivityNet by `activity_net.v1-3.min.json`; videos are `v_ID` or `ID`, of any suffix.

    The classes are the leaves of the file's taxonomy in alphabetical order. The labels of `testing` are withheld.
    Segments become spans, cut where `duration` ends; a few are empty.
    """
    file = tree.need(f"activity_net.v{release.replace('.', '-')}.min.json")
    data = read_json(file)
    try:
        parents = {node["parentId"] for node in data["taxonomy"]}
        class_names = tuple(sorted(node["nodeName"] for node in data["taxonomy"] if node["nodeId"] not in parents))
        splits, faulty = _read_database(data["database"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file!r} is not of ActivityNet's form: {error!r} in database or taxonomy") from error
    check_num_classes(report, class_names, NUM_CLASSES[release])
    report.note("segments outside their videos, left out", faulty)
    without = [entry.key for split in ("train", "val") for entry in splits[split] if not entry.labels]
    report.note("without a label, left out", without)
    labelled = {split: [entry for entry in entries if entry.labels] for split, entries in splits.items()}
    absent = {} if labelled["test"] else {"test": "its labels are withheld; evaluate on val"}
    return Listing(
        class_names=class_names,
        splits={split: entries for split, entries in labelled.items() if entries or split != "test"},
        paths=located(tree.videos, _identifier, report),
        absent=absent,
        is_multilabel=True,
    )


def _read_database(database: dict[str, dict]) -> tuple[dict[str, list[Entry]], list[str]]:
    """The videos of every split, with or without labels; and segments that have no part in their video."""
    splits: dict[str, list[Entry]] = {split: [] for split in SUBSETS.values()}
    faulty: list[str] = []
    for identifier, video in database.items():
        spans = [(float(start), float(stop)) for start, stop in (each["segment"] for each in video["annotations"])]
        labels = tuple(dict.fromkeys(each["label"] for each in video["annotations"]))
        duration_s = float(video["duration"])
        faulty += faulty_spans(identifier, spans, duration_s=duration_s)
        entry = Entry(identifier, labels, merged_spans(spans, duration_s=duration_s))
        splits[SUBSETS[video["subset"]]].append(entry)
    return splits, faulty


def _identifier(path: str) -> str:
    """`ID` of `v_ID.mp4` or `ID.mkv`: identifiers of YouTube have 11 characters."""
    name = stem(path)
    return name[2:] if len(name) == 13 and name.startswith("v_") else name
