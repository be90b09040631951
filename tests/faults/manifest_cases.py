"""Lists of videos as people and programs write them, each with what it says, or with what is wrong in which line.

All truth here is by hand: nothing of it is computed by the code that it judges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Span = tuple[float, float]
Row = tuple[str, tuple[str, ...], float | None, float | None, tuple[Span, ...]]


@dataclass(frozen=True)
class Case:
    """data: the file's bytes, called `list` and `suffix`. split: that is asked for.

    rows: what it says: path, classes, start, end, spans; or None, where it is an error.
    line: that the error names, or None where no line is at fault. value: that it names.
    """

    title: str
    data: bytes
    rows: tuple[Row, ...] | None = None
    line: int | None = None
    value: str = ""
    split: str = "train"
    suffix: str = ".csv"
    classes: tuple[str, ...] | None = None
    warns: str = ""


def row(path: str, *labels: str, start: float | None = None, end: float | None = None, spans=()) -> Row:
    return path, labels, start, end, tuple(spans)


def right(title: str, text: str | bytes, *rows: Row, **others) -> Case:
    return Case(title, text if isinstance(text, bytes) else text.encode(), rows, **others)


def wrong(title: str, text: str | bytes, line: int | None, value: str, **others) -> Case:
    return Case(title, text if isinstance(text, bytes) else text.encode(), None, line, value, **others)


FULL = "path,label,split,start_s,end_s,action_start_s,action_end_s\n"
SHORT = "path,label,split\n"
FIRST = "a.mp4,walk,train\n"  # line 2 of what begins with SHORT
A = row("a.mp4", "walk")

NUMBERS = {"1": 1.0, " 1 ": 1.0, "+1": 1.0, "1.": 1.0, ".5": 0.5, "0.5": 0.5, "1e0": 1.0, "1E-1": 0.1, "2.50": 2.5,
           "007": 7.0, '"3"': 3.0, "1e1": 10.0, "0.30000000000000004": 0.30000000000000004,
           "1e-300": 1e-300}  # fmt: skip
NO_NUMBERS = ("nan", "NaN", "-nan", "inf", "-inf", "Infinity", "-1", "-0.001", "1e999", "-1e999", "1_0", "0x10", "1s",
              "00:01", "1:30", "--", "None", "null", "True", "1 0", "1e", "e1", "\u0661", "\u00b2", "\uff11", "1/2",
              "?", "9" * 400, '"1,5"', "1.2.3", "#N/A", "1;2")  # fmt: skip


def times() -> Iterator[Case]:
    """Every number and what is none in each of the four columns of times."""
    for text, value in NUMBERS.items():
        head, tail = FULL + "a.mp4,walk,train,", "\n"
        yield right(f"start_s {text}", f"{head}{text},,,{tail}", row("a.mp4", "walk", start=value))
        yield right(f"end_s {text}", f"{head},{text},,{tail}", row("a.mp4", "walk", end=value))
        spans = {"start": (value, 99.0), "end": (0.0, value)}
        yield right(f"action_start_s {text}", f"{head},,{text},99{tail}", row("a.mp4", "walk", spans=[spans["start"]]))
        yield right(f"action_end_s {text}", f"{head},,0,{text}{tail}", row("a.mp4", "walk", spans=[spans["end"]]))
    for text in NO_NUMBERS:
        head, value = FULL + "a.mp4,walk,train,,,,\nb.mp4,walk,train,", text.strip('"')
        named = {"-1e999": "-1e999", "1e999": "1e999", "9" * 400: "9" * 80}.get(value, value)
        yield wrong(f"start_s {text[:9]}", f"{head}{text},,,\n", 3, f"start_s ({named}")
        yield wrong(f"end_s {text[:9]}", f"{head},{text},,\n", 3, f"end_s ({named}")
        several = ";" in text  # is two spans, and of the other column there is one
        yield wrong(
            f"action_start_s {text[:9]}", f"{head},,{text},99\n", 3, named if several else f"action_start_s ({named}"
        )
        yield wrong(
            f"action_end_s {text[:9]}", f"{head},,0,{text}\n", 3, named if several else f"action_end_s ({named}"
        )


def segments() -> Iterator[Case]:
    head = FULL + "a.mp4,walk,train,"
    yield right("huge end", f"{head}0,1e300,,\n", row("a.mp4", "walk", start=0.0, end=1e300))
    yield right("from 0", f"{head}0,,,\n", row("a.mp4", "walk", start=0.0))
    yield right("minus 0", f"{head}-0,2,,\n", row("a.mp4", "walk", start=0.0, end=2.0))
    yield right("two spans", f"{head},,1;3,2;4\n", row("a.mp4", "walk", spans=[(1.0, 2.0), (3.0, 4.0)]))
    yield right("spaces in spans", f"{head},,1 ; 3,2; 4\n", row("a.mp4", "walk", spans=[(1.0, 2.0), (3.0, 4.0)]))
    yield right("cut short", f"{head}1,2\n", row("a.mp4", "walk", start=1.0, end=2.0))
    for title, cells, value in (
        ("end before start", "2,1,,", "end_s (1) must be after start_s (2)"),
        ("end is start", "2,2,,", "end_s (2) must be after start_s (2)"),
        ("empty from 0", ",0,,", "end_s (0) must be after start_s (0)"),
        ("action turned", ",,2,1", "action_end_s (1) must be after action_start_s (2)"),
        ("action of no length", ",,1,1", "action_end_s (1) must be after action_start_s (1)"),
        ("action without end", ",,1,", "action_start_s (1) and action_end_s ()"),
        ("action without start", ",,,1", "action_start_s () and action_end_s (1)"),
        ("two starts", ",,1;2,3", "action_start_s (1;2) and action_end_s (3)"),
        ("two ends", ",,1,2;3", "action_start_s (1) and action_end_s (2;3)"),
        ("a gap in spans", ",,1;;3,2;2;4", "action_start_s (1;;3)"),
        ("spans by bars", ",,1|3,2|4", "action_start_s (1|3)"),
        ("second span turned", ",,1;4,2;3", "action_end_s (3) must be after action_start_s (4)"),
    ):
        yield wrong(title, head + cells + "\n", 2, value)


def characters() -> Iterator[Case]:
    """Control characters in each column, and letters of the world, which are text."""
    cells = ["b.mp4", "walk", "train", "0", "1", "0", "1"]
    for column in range(7):
        for character in ("\0", "\x01", "\x1b", "\x7f", "\x0b", "\x85"):
            changed = [*cells]
            changed[column] = f"{cells[column]}{character}x"
            text = f"{FULL}a.mp4,walk,train,,,,\n{','.join(changed)}\n"
            yield wrong(f"{character!r} in column {column}", text, 3, repr(character))
    for text in ("\u00e9t\u00e9", "\u6b69\u304f", "\U0001f3c3", "\u05d4\u05dc\u05d9\u05db\u05d4", "a\u0301", "l'eau",
                 "[red]", "<b>", "{{ 1 }}", "%s", "$HOME", "=1+1", "a\\b", "\u201cx\u201d", "x\u2028y", "..",
                 "#x"):  # fmt: skip
        yield right(f"class {text}", f"{SHORT}a.mp4,{text},train\n", row("a.mp4", text))
        yield right(f"path {text}", f"{SHORT}{text}.mp4,walk,train\n", row(f"{text}.mp4", "walk"))


def quotes() -> Iterator[Case]:
    """Quotes in each column."""
    cells = ["b.mp4", "walk", "train", "0", "1", "0", "1"]
    for column in range(7):
        for title, changed in (
            ("opened", '"{}'),
            ("opened before spaces", '  "{}'),
            ("followed by text", '"{}"x'),
            ("doubled and opened", '"{}""'),
        ):
            row_cells = [*cells]
            row_cells[column] = changed.format(cells[column])
            text = f"{FULL}a.mp4,walk,train,,,,\n{','.join(row_cells)}\nc.mp4,walk,train,,,,\n"
            yield wrong(f"{title}, column {column}", text, 3, row_cells[column].strip())
        row_cells = [*cells]
        row_cells[column] = f'"{cells[column]}"'
        text = f"{FULL}{','.join(row_cells)}\n"
        yield right(f"quoted column {column}", text, row("b.mp4", "walk", start=0.0, end=1.0, spans=[(0.0, 1.0)]))
    yield right("a comma", f'{SHORT}"a, b.mp4",walk,train\n', row("a, b.mp4", "walk"))
    yield right("doubled quotes", f'{SHORT}"a ""b"".mp4",walk,train\n', row('a "b".mp4', "walk"))
    yield right("an inch", f'{SHORT}12" disc.mp4,walk,train\n', row('12" disc.mp4', "walk"))
    yield right("single quotes", f"{SHORT}'a.mp4',walk,train\n", row("'a.mp4'", "walk"))
    yield right("all quoted", '"path","label","split"\n"a.mp4","walk","train"\n', A)
    yield wrong("a quote over two lines", f'{SHORT}"a\n.mp4",walk,train\n', 2, '"a')
    yield wrong("a quote of the header", '"path,label,split\na.mp4,walk,train\n', 1, '"path')


def encodings() -> Iterator[Case]:
    text = SHORT + "a.mp4,walk,train\n"
    yield right("BOM", text.encode("utf-8-sig"), A)
    yield right("BOM and CRLF", text.replace("\n", "\r\n").encode("utf-8-sig"), A)
    yield right("CRLF", text.replace("\n", "\r\n"), A)
    yield right("CR", text.replace("\n", "\r"), A)
    yield right("mixed ends", SHORT.replace("\n", "\r\n") + FIRST + "b.mp4,run,train\r", A, row("b.mp4", "run"))
    yield right("no last end", text.rstrip("\n"), A)
    yield right("blank lines", "\n\n" + SHORT + "\n  \n" + FIRST + "\n\t\n", A)
    yield right("spaces around", " path , label , split \n a.mp4 , walk , train \n", A)
    yield right("UTF-8", f"{SHORT}\u00e9.mp4,\u00fc,train\n", row("\u00e9.mp4", "\u00fc"))
    yield right("tabs", "path\tlabel\tsplit\na.mp4\twalk\ttrain\n", A, suffix=".tsv")
    yield right("tabs, TSV", "path\tlabel\tsplit\na, b.mp4\twalk\ttrain\n", row("a, b.mp4", "walk"), suffix=".TSV")
    for name, letter, byte in (
        ("latin-1", "\u00e9", "0xe9"),
        ("cp1252", "\u20ac", "0x80"),
        ("mac-roman", "\u00e9", "0x8e"),
    ):
        yield wrong(name, f"{SHORT}{FIRST}{letter}.mp4,walk,train\n".encode(name), 3, byte)
    for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        yield wrong(name, text.encode(name), 1, "")
    yield wrong("Shift-JIS", f"{SHORT}\u6b69.mp4,walk,train\n".encode("shift-jis"), 2, "0x")
    yield wrong("UTF-8 cut", f"{SHORT}a.mp4,\u6b69".encode()[:-1], 2, "0xe6")
    yield wrong("surrogates", SHORT.encode() + b"\xed\xa0\x80.mp4,walk,train\n", 2, "0xed")
    yield wrong("overlong", SHORT.encode() + b"\xc0\xaf.mp4,walk,train\n", 2, "0xc0")
    yield wrong("BOM twice", b"\xef\xbb\xbf" + text.encode("utf-8-sig"), 1, "\\ufeffpath")
    yield wrong("BOM in the middle", f"{SHORT}\ufeffa.mp4,walk,train,x\n", 2, "4 values")
    yield wrong("packed", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", 1, "0x8b")
    yield wrong("a video", b"\x00\x00\x00\x20ftypisom" + bytes(range(256)), 2, "0x80")
    yield wrong("zeros", bytes(1000), 1, "'\\x00'")
    yield wrong("zeros at the end", text.encode() + bytes(100), 3, "'\\x00'")
    yield wrong("end of a DOS file", text + "\x1a", 3, "'\\x1a'")
    yield wrong("a workbook", b"PK\x03\x04" + bytes(30), 1, "'\\x03'")
    yield wrong("tabs in .csv", text.replace(",", "\t"), 1, "'\\t'")
    for suffix, other in ((".csv", ";"), (".csv", "|"), (".tsv", ","), (".tsv", ";")):
        yield wrong(f"{other!r} in {suffix}", text.replace(",", other), 1, "lacks the column label", suffix=suffix)
