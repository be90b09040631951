"""Sports-1M (Karpathy et al., CVPR 2014) and its part miniSports (SCSampler, section 4.2): untrimmed, multi-label."""

from __future__ import annotations

from collections.abc import Mapping

from vidselect_env.datasets.official.files import malformed, read_lines
from vidselect_env.datasets.official.listing import Entry, Listing, Report, check_num_classes, located
from vidselect_env.datasets.official.tree import Tree, stem

FOLDS = tuple("0123456789")  # of its cross-validation
_ABSENT = {"val": "its authors made none"}


def read_sports1m(tree: Tree, variant: str, report: Report) -> Listing:
    """Sports-1M by `original/{train,test}_partition.txt`, or a fold N by `cross-validation/sportsN_{train,test}.txt`.

    Lines are `https://www.youtube.com/watch?v=ID 168,169`, counted from 0 in `labels.txt`; the lists may be packed
    (`.gz`), as they are distributed. Videos are `ID.mp4`, or of another suffix. With several labels, a video may be in
    both splits of a fold.
    """
    names = {}
    for split in ("train", "test"):
        name = f"{split}_partition.txt" if variant == "original" else f"sports{variant}_{split}.txt"
        names[split] = (f"{'original' if variant == 'original' else 'cross-validation'}/{name}", name)
    return _listing(tree, report, names)


def read_mini_sports(tree: Tree, variant: str, report: Report) -> Listing:
    """miniSports by lists of Sports-1M's form. SCSampler's authors publish none: `minisports_{train,test}.txt`,
    or `{train,test}_minisports1m.txt`, as others name theirs.
    """
    names = {split: (f"minisports_{split}.txt", f"{split}_minisports1m.txt") for split in ("train", "test")}
    return _listing(tree, report, names)


def _listing(tree: Tree, report: Report, names: Mapping[str, tuple[str, ...]]) -> Listing:
    class_names = tuple(line for _, line in read_lines(tree.need("sports-1m-dataset/labels.txt", "labels.txt")))
    check_num_classes(report, class_names, 487)
    splits = {
        split: _read_list(tree.need(*(f"{name}{packed}" for name in of_split for packed in ("", ".gz"))), class_names)
        for split, of_split in names.items()
    }
    paths = located(tree.videos, stem, report)
    return Listing(
        class_names=class_names, splits=splits, paths=paths, absent=_ABSENT, is_multilabel=True, may_share=True
    )


def _read_list(file: str, class_names: tuple[str, ...]) -> list[Entry]:
    names = dict(enumerate(class_names))
    entries = []
    for number, line in read_lines(file):
        address, _, indices = line.rpartition(" ")
        _, mark, identifier = address.rpartition("?v=")
        key = identifier.partition("&")[0].strip() if mark else ""
        try:
            labels = tuple(names.get(int(index), f"class {index}") for index in indices.split(","))
        except ValueError:
            labels = ()
        if not key or not labels:
            raise malformed(file, number, "https://www.youtube.com/watch?v=UDqivjS-lpI 168,169")
        entries.append(Entry(key, labels))
    return entries
