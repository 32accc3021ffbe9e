"""Odd files of the YOLO family: text files, a data.yaml, lists of names and of images."""

from __future__ import annotations

import random
from collections.abc import Sequence

NUMBERS = (
    *("0.5", "0", "1", "-0.1", "1.0000001", "nan", "inf", "-inf", "1e308", "-1e308", "1e309"),
    *(
        "1e-320",
        "9" * 400,
        "9" * 5000,
        "0x10",
        "1_0",
        "\u0661",
        "0,5",
        "half",
        "300",
        "1e17",
        "+.5",
    ),
)
CLASSES = ("0", "1", "2", "7", "-1", "1.0", "1.5", "cat", "", "1e3", "9" * 30, "99999", "\u0661")
LINES = (
    *(b"\xff\xfe0\x00 \x00", b"\xef\xbb\xbf0 .5 .5 .2 .2\n", b"\0\n", b"\xff\n", b"\r", b" \t \n"),
    *(b"0 .5 .5 .2 .2\r0 .4 .4 .1 .1\r\n", b"0 .5 .5 .2 .2\n" * 3, b"0\t.5\t.5\t.2\t.2", b"#x\n"),
    *(b"0 .5 .5 .2 .2\x0b1 .5 .5 .2 .2\n", b"x" * 200_000, b"0 " + b".5 " * 20_000, b"\x1b[2J\n"),
)
YAMLS = (
    *("names: [x, y]", "names: {0: x, 7: y}", "names: {0: x, a: y}", "names: x", "names: [[x]]"),
    *("names: [yes, 1e3, ~, 2001-01-01]", "names: []", "names: ['']", "names: {-1: x}", "nc: 2"),
    *("names: [x, x]", "names: ['${oc.env:HOME}', '\\e[2J']", 'names: ["\\ud800", y]', "names:"),
    *("train: images", "train: ../images", "train: [images, nowhere]", "train: /etc", "train: 3"),
    *(
        "train: ../../..",
        "train: {a: b}",
        "train: images\nval: images",
        "train: list.txt",
        "path: /",
    ),
    *("train: images\ntrain: sub", "path: ../x", "path: [a]", "train: link", "train: loop.png"),
    *("kpt_shape: [17, 3]", "a: &a [x]\nb: *a", "!!python/object:os.system x", "[" * 4000, "\t"),
    *("- names", "names: &n {<<: *n}", "x: " + "{a: " * 60 + "1" + "}" * 60, "names: !!binary x"),
    *("? [a]\n: b", "%TAG ! x", "'", "\0", "train: '\\0'", "train: " + "../" * 3000 + "images"),
)
NAMES = (
    *(
        b"x\ny\n",
        b"x\n\ny\n",
        b"",
        b"\n",
        b"\xff\xfex\x00\n\x00",
        b"\xff",
        b"x\r\ny\r\nz",
        b"${x}\n",
    ),
    *(b"x" * 9_000_000, b"\x1b[2J\ny\n", b"\0\n", b"\xef\xbb\xbfx\ny\n", b"x\x0by\n"),
)
LISTS = (
    *(b"images/a.png\n", b"data/images/a.png\nb.png\n", b"../outside.png\n", b"/etc/passwd\n"),
    *(b"link.png\nloop.png\n", b"C:\\x\\images\\a.png\n", b"\xff\n", b"", b"a.png\0\n", b"..\n.\n"),
)


def yolo_files(chance: random.Random, stems: Sequence[str]) -> dict[str, bytes | None]:
    """Return the files of a case by their names; None for one that is not there."""
    files: dict[str, bytes | None] = {}
    for stem in stems:
        lines = [_line(chance) for _ in range(chance.choice([0, 1, 2, 6]))]
        files[f"labels/{stem}.txt"] = "\n".join(lines).encode()
    if chance.random() < 0.3:
        files[f"labels/{stems[0]}.txt"] = chance.choice(LINES)
    if chance.random() < 0.1:
        files[f"labels/{stems[1]}.txt"] = None
    files["classes.txt"] = chance.choice([b"x\ny\nz\n", b"x\ny\nz\n", None, chance.choice(NAMES)])
    pieces = ["names: [x, y, z]", "train: images"]
    for _ in range(chance.choice([0, 1, 1, 2])):
        pieces.insert(chance.randrange(len(pieces) + 1), chance.choice(YAMLS))
        if chance.random() < 0.6:
            pieces.remove(chance.choice(pieces))
    files["data.yaml"] = "\n".join(pieces).encode() if chance.random() < 0.6 else None
    files["list.txt"] = chance.choice(LISTS)
    return files


def _line(chance: random.Random) -> str:
    words = [chance.choice(["0", "1", "2"])]
    words += [f"{chance.uniform(0.1, 0.9):.4f}" for _ in range(chance.choice([4, 4, 4, 6, 8, 9]))]
    if chance.random() < 0.12:
        words[chance.randrange(1, len(words))] = chance.choice(NUMBERS)
    if chance.random() < 0.05:
        words[0] = chance.choice(CLASSES)
    if chance.random() < 0.03:
        del words[chance.randrange(len(words))]
    return chance.choice([" ", " ", "  ", "\t"]).join(words)
