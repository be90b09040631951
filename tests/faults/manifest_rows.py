"""More lists of videos: their columns, rows, duplicates, splits, classes and paths."""

from __future__ import annotations

from collections.abc import Iterator

from manifest_cases import FIRST, FULL, SHORT, A, Case, right, row, wrong

PARTS = "path,label,split,start_s,end_s\n"
B = row("b.mp4", "walk")


def columns() -> Iterator[Case]:
    yield wrong("nothing", "", 1, "lacks the column label, path: there are none")
    yield wrong("blank lines alone", "\n\n \n", 1, "lacks the column label, path")
    yield wrong("no header", "a.mp4,walk,train\n", 1, "'a.mp4', 'walk', 'train'")
    yield wrong("no path", "label,split\nwalk,train\n", 1, "lacks the column path: there are 'label', 'split'")
    yield wrong("no label", "path,split\na.mp4,train\n", 1, "lacks the column label: there are 'path', 'split'")
    yield wrong("header alone", SHORT, None, "unknown split 'train'")
    yield wrong("header below a blank line", "\nlabel,split\nwalk,train\n", 2, "lacks the column path")
    for name in ("Path", "PATH", "file", "video", "path ;", "pаth"):  # the last has a Cyrillic letter
        yield wrong(
            f"{name} for path", f"{name},label,split\na.mp4,walk,train\n", 1, f"column path: there are '{name}'"
        )
    for name in ("Label", "class", "labels", "label_name"):
        yield wrong(f"{name} for label", f"path,{name},split\na.mp4,walk,train\n", 1, f"'{name}'")
    for name in ("path", "label", "split"):
        yield wrong(f"{name} twice", f"{SHORT.strip()},{name}\na.mp4,walk,train,x\n", 1, f"'{name}' is there twice")
    for one in ("start_s", "end_s", "action_start_s", "action_end_s"):
        yield wrong(f"{one} alone", f"{SHORT.strip()},{one}\na.mp4,walk,train,1\n", 1, "it needs both or none")
        twice = f"{FULL.strip()},{one}\na.mp4,walk,train,,,,,\n"
        yield wrong(f"{one} twice", twice, 1, f"'{one}' is there twice")
    # Of the names a.mp4 to h.mp4 a hash puts b and e in test.
    names = "".join(f"{name}.mp4,walk\n" for name in "abcdefgh")
    yield right("no split: test", "path,label\n" + names, *(row(f"{n}.mp4", "walk") for n in "be"), split="test")
    for name in ("Split", "splits", "subset"):
        text = f"path,label,{name}\n" + "".join(f"{each}.mp4,walk,train\n" for each in "abcdefgh")
        rows = [row(f"{n}.mp4", "walk") for n in "be"]
        yield right(f"{name} for split", text, *rows, split="test", warns=f"unknown columns (such as {name!r})")
    yield right("a note", "path,label,split,note\na.mp4,walk,train,x\n", A, warns="such as 'note'")
    yield right("a last comma", "path,label,split,\na.mp4,walk,train,\n", A)
    yield right("any order", "split,label,path\ntrain,walk,a.mp4\n", A)


def rows() -> Iterator[Case]:
    yield wrong("a value too many", f"{SHORT}{FIRST}b.mp4,walk,train,1\n", 3, "4 values")
    yield wrong("a comma in a name", f"{SHORT}a, b.mp4,walk,train\n", 2, "4 values")
    yield wrong("no class", f"{SHORT}{FIRST}b.mp4,,train\n", 3, "needs a path and a label")
    yield wrong("no path", f"{SHORT}{FIRST},walk,train\n", 3, "needs a path and a label")
    yield wrong("no split", f"{SHORT}{FIRST}b.mp4,walk,\n", 3, "needs a split")
    yield wrong("cut before the split", f"{SHORT}{FIRST}b.mp4,walk\n", 3, "needs a split")
    yield wrong("cut before the class", f"{SHORT}{FIRST}b.mp4\n", 3, "needs a path and a label")
    yield wrong("commas alone", f"{SHORT}{FIRST},,\n", 3, "needs a path and a label")
    yield wrong("a comment", f"{SHORT}# of Monday\n{FIRST}", 2, "needs a path and a label")
    yield wrong("the header again", f"{SHORT}{FIRST}{SHORT}", None, "unknown split 'test'", split="test")
    yield wrong("empty quotes", f'{SHORT}{FIRST}"",walk,train\n', 3, "needs a path and a label")
    yield wrong("spaces for a path", f"{SHORT}{FIRST}   ,walk,train\n", 3, "needs a path and a label")
    yield wrong("after blank lines", f"{SHORT}\n\n{FIRST}\nb.mp4,,train\n", 6, "needs a path and a label")
    yield wrong("after CRLF", f"{SHORT}{FIRST}b.mp4,,train\n".replace("\n", "\r\n"), 3, "needs a path and a label")
    yield wrong("a cell of a megabyte", f"{SHORT}{FIRST}{'b' * 1_000_000},walk,train\n", 3, "field limit")
    yield right("a thousand rows", SHORT + "".join(f"{n}.mp4,walk,train\n" for n in range(1000)),
                *(row(f"{n}.mp4", "walk") for n in range(1000)))  # fmt: skip


def duplicates() -> Iterator[Case]:
    for title, first, second in (
        ("a row twice", "a.mp4,walk,train,,", "a.mp4,walk,train,,"),
        ("another class", "a.mp4,walk,train,,", "a.mp4,run,train,,"),
        ("from the folder", "a.mp4,walk,train,,", "./a.mp4,walk,train,,"),
        ("by way of another", "a.mp4,walk,train,,", "x/../a.mp4,walk,train,,"),
        ("two slashes", "x/a.mp4,walk,train,,", "x//a.mp4,walk,train,,"),
        ("a part twice", "a.mp4,walk,train,1,2", "a.mp4,walk,train,1,2"),
        ("a part in other digits", "a.mp4,walk,train,1,2", "a.mp4,walk,train,1.0,2e0"),
        ("a part, another class", "a.mp4,walk,train,1,2", "a.mp4,run,train,1,2"),
    ):
        yield wrong(title, f"{PARTS}{first}\nb.mp4,walk,train,,\n{second}\n", 4, "is listed already in line 2")
    for title, first, second in (
        ("in both splits", "a.mp4,walk,train,,", "a.mp4,walk,test,,"),
        ("in both, otherwise written", "a.mp4,walk,train,,", "./a.mp4,walk,test,,"),
        ("parts that overlap", "a.mp4,walk,train,0,2", "a.mp4,walk,test,1,3"),
        ("a part of a whole", "a.mp4,walk,train,,", "a.mp4,walk,test,1,3"),
        ("a part and the rest from before", "a.mp4,walk,train,2,", "a.mp4,walk,test,1,3"),
    ):
        yield wrong(title, f"{PARTS}{first}\nb.mp4,walk,train,,\n{second}\n", 4, "are one file in both")
    parts = f"{PARTS}a.mp4,walk,train,0,1\na.mp4,run,train,1,2\na.mp4,walk,test,2,3\n"
    of_train = row("a.mp4", "walk", start=0.0, end=1.0), row("a.mp4", "run", start=1.0, end=2.0)
    yield right("parts apart", parts, *of_train, warns="have parts in several splits")
    yield right("parts apart, test", parts, row("a.mp4", "walk", start=2.0, end=3.0), split="test", warns="several")
    overlapping = f"{PARTS}a.mp4,walk,train,0,2\na.mp4,walk,train,1,3\n"
    ends = row("a.mp4", "walk", start=0.0, end=2.0), row("a.mp4", "walk", start=1.0, end=3.0)
    yield right("overlapping parts of one split", overlapping, *ends)
    yield right(
        "names that differ in capitals", f"{SHORT}a.mp4,walk,train\nA.mp4,walk,train\n", A, row("A.mp4", "walk")
    )


def splits() -> Iterator[Case]:
    yield right("spaces", f"{SHORT}a.mp4,walk, train \n", A)
    yield right("all", f"{SHORT}{FIRST}b.mp4,walk,test\n", A, B, split="all")
    yield right("fit beside val", f"{SHORT}{FIRST}b.mp4,walk,val\n", A, split="fit")
    yield right("val that is listed", f"{SHORT}{FIRST}b.mp4,walk,val\n", B, split="val")
    for name in ("1", "split 1", "Ü", "validation", "train/test"):
        yield right(f"split {name}", f"{SHORT}a.mp4,walk,{name}\nb.mp4,walk,x\n", A, split=name)
    for name in ("Train", "TRAIN", "tRAIN"):
        yield wrong(f"{name} and train", f"{SHORT}{FIRST}b.mp4,walk,{name}\n", 3, f"'{name}' is written 'train'")
    yield wrong("called all", f"{SHORT}{FIRST}b.mp4,walk,all\n", 3, "'all'")
    for name in ("training", "treino", "1", "train;test"):
        yield wrong(f"no train but {name}", f"{SHORT}a.mp4,walk,{name}\n", None, f"there are {name}")
    for name in ("", "Train", "train ", "nan", "train,test", "*"):
        yield wrong(f"asked for {name!r}", f"{SHORT}{FIRST}", None, f"unknown split {name!r}", split=name)


def classes() -> Iterator[Case]:
    two = f"{SHORT}a.mp4,{{}},train\nb.mp4,{{}},train\n"
    for title, first, second, names in (
        ("numbers", "10", "9", ("9", "10")),
        ("negative numbers", "-1", "-10", ("-10", "-1")),
        ("numbers with zeros", "01", "1", ("01", "1")),
        ("a number and a word", "10", "a9", ("10", "a9")),
        ("digits of others", "\u0663", "1", ("1", "\u0663")),
        ("a square", "\u00b2", "1", ("1", "\u00b2")),
        ("two minus signs", "--5", "1", ("--5", "1")),
        ("a long number", "9" * 5000, "1", ("1", "9" * 5000)),
        ("fractions", "1.5", "1", ("1", "1.5")),
        ("capitals", "walk", "Walk", ("Walk", "walk")),
        ("words like nothing", "None", "nan", ("None", "nan")),
        ("true and false", "True", "False", ("False", "True")),
    ):
        text = two.format(first, second)
        yield right(title, text, row("a.mp4", first), row("b.mp4", second), classes=names)
    for text, names in (("walk;run", ("walk", "run")), ("walk; run ", ("walk", "run")), ("walk;", ("walk",)),
                        (";walk", ("walk",)), ("walk;walk", ("walk",)), ("walk;;run", ("walk", "run"))):  # fmt: skip
        yield right(f"classes {text}", f"{SHORT}a.mp4,{text},train\n", row("a.mp4", *names))
    for text in (";", " ; ", ";;", '""', '" "'):
        yield wrong(f"classes {text}", f"{SHORT}{FIRST}b.mp4,{text},train\n", 3, "needs a path and a label")
    both = f"{SHORT}a.mp4,walk,train\nb.mp4,run,test\n"
    yield right("classes of another split", both, A, classes=("run", "walk"))


def paths() -> Iterator[Case]:
    for path in ("x/a.mp4", "../a.mp4", "/tmp/a.mp4", "a b.mp4", "-a.mp4", "~/a.mp4", "C:/a.mp4", "a.MP4", ".a.mp4",
                 "a.mp4.part", "x/y/../a.mp4", "\u202eb.mp4", "*.mp4", "a;b.mp4", "a" * 300 + ".mp4", "x/" * 3000 + "a",
                 "s3://bucket/a.mp4", "memory://a.mp4", "file:///tmp/a.mp4", "a:b.mp4"):  # fmt: skip
        yield right(f"path {path[:30]}", f"{SHORT}{path},walk,train\n", row(path, "walk"))
    for url in ("nosuch://a.mp4", "S3X://a.mp4", "httpx://a/b.mp4"):
        yield wrong(f"path {url}", f"{SHORT}{FIRST}{url},walk,train\n", 3, f"{url!r} is of no known store")
    for url in ("reference://a::file:///b", "zip://a::reference:///b", "dask://a/b.mp4", "jupyter://a/b.mp4"):
        yield wrong(f"path {url}", f"{SHORT}{FIRST}{url},walk,train\n", 3, f"{url!r} is refused")
