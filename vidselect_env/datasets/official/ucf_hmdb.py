"""UCF101 (Soomro et al., 2012) and HMDB51 (Kuehne et al., ICCV 2011): trimmed, three official splits each."""

from __future__ import annotations

from pathlib import PurePosixPath

from vidselect_env.datasets.official.files import malformed, read_lines
from vidselect_env.datasets.official.listing import Entry, Listing, Report, check_num_classes, located
from vidselect_env.datasets.official.tree import Tree, folder_and_stem

UNUSED, TRAIN, TEST = "0", "1", "2"  # marks of HMDB51
_ABSENT = {"val": "its authors made none"}


def read_ucf101(tree: Tree, number: str, report: Report) -> Listing:
    """UCF101 by `ucfTrainTestlist/{classInd,trainlist0N,testlist0N}.txt`.

    `classInd.txt` has lines `1 ApplyEyeMakeup`, counted from 1; the lists have paths `CLASS/v_CLASS_g08_c01.avi`,
    those of training followed by the class's number, which must be that of the path's class. Upper and lower case do
    not count in names of files: `v_HandStandPushups_g01_c01` is also spelt `v_HandstandPushups_g01_c01`.
    """
    classes = read_class_index(tree, "ucfTrainTestlist/classInd.txt", "classInd.txt")
    check_num_classes(report, classes.values(), 101)
    paths = located(tree.videos, folder_and_stem, report)
    spelling = {key.lower(): key for key in paths}
    splits = {}
    for split in ("train", "test"):
        name = f"{split}list0{number}.txt"
        file = tree.need(f"ucfTrainTestlist/{name}", name)
        entries, torn = [], []
        for line_number, line in read_lines(file):
            path, *class_numbers = line.split()
            label = PurePosixPath(path).parent.name
            if not label or len(class_numbers) > 1 or not all(each.isdigit() for each in class_numbers):
                raise malformed(file, line_number, "CLASS/v_CLASS_g01_c01.avi 1")
            torn += [line for each in class_numbers if classes.get(int(each)) != label]
            key = folder_and_stem(path)
            entries.append(Entry(spelling.get(key.lower(), key), (label,)))
        report.contradiction(f"class numbers of {name} that are not those of the path's class", torn)
        splits[split] = entries
    class_names = tuple(classes[key] for key in sorted(classes))
    return Listing(class_names=class_names, splits=splits, paths=paths, absent=_ABSENT)


def read_hmdb51(tree: Tree, number: str, report: Report) -> Listing:
    """HMDB51 by `testTrainMulti_7030_splits/CLASS_test_splitN.txt`, one file a class.

    Lines are `NAME.avi 1`, of training; 2, of testing; or 0, of neither. Classes are in alphabetical order.
    """
    ending = f"_test_split{number}.txt"
    names = sorted({PurePosixPath(path).name for path in tree.annotations if path.endswith(ending)})
    if not names:
        raise ValueError(f"there is no file 'brush_hair{ending}', or of another class, under {tree.root!r}")
    classes = tuple(sorted(name.removesuffix(ending) for name in names))
    check_num_classes(report, classes, 51)
    splits: dict[str, list[Entry]] = {"train": [], "test": []}
    for label in classes:
        file = tree.need(f"testTrainMulti_7030_splits/{label}{ending}", f"{label}{ending}")
        for line_number, line in read_lines(file):
            path, _, mark = line.rpartition(" ")
            if mark not in (UNUSED, TRAIN, TEST) or not path:
                raise malformed(file, line_number, "NAME.avi 1")
            if mark != UNUSED:
                key = folder_and_stem(f"{label}/{path.strip()}")
                splits["train" if mark == TRAIN else "test"].append(Entry(key, (label,)))
    paths = located(tree.videos, folder_and_stem, report)
    return Listing(class_names=classes, splits=splits, paths=paths, absent=_ABSENT)


def read_class_index(tree: Tree, *names: str) -> dict[int, str]:
    """Classes by their numbers, from lines such as `1 ApplyEyeMakeup`.

    Raises:
        ValueError: no such file, another form, or a number or name that occurs twice.
    """
    file = tree.need(*names)
    classes: dict[int, str] = {}
    for line_number, line in read_lines(file):
        number, _, label = line.partition(" ")
        label = label.strip()
        if not number.isdigit() or not label:
            raise malformed(file, line_number, "1 ApplyEyeMakeup")
        if int(number) in classes or label in classes.values():
            raise ValueError(f"{file!r}, line {line_number}: {line!r} is there twice")
        classes[int(number)] = label
    return classes
