"""Odd tables of boxes: names of columns, values, quotes, delimiters and encodings."""

from __future__ import annotations

import random

ORDERS = (
    ("filename", "xmin", "ymin", "xmax", "ymax", "class"),
    ("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"),
    ("image_path", "x1", "y1", "x2", "y2", "label", "more"),
    ("ymax", "xmax", "Class ", "ymin", "xmin", "FileName"),
    ("filename", "xmin", "ymin", "xmax", "class"),
    ("filename", "xmin", "ymin", "xmax", "ymax", "class", "class"),
)
VALUES = (
    *("", " ", "nan", "inf", "-1", "0", "1e308", "1e309", "9" * 400, "9" * 5000, "1,5", '"5"', "x"),
    *(
        "'",
        '"',
        '""',
        '"a,b"',
        "${oc.env:HOME}",
        "\x1b[2J",
        "\0",
        "\u0661",
        "1_0",
        "+5",
        "5.",
        "\\",
    ),
    *("2147483647", "2147483648", "9223372036854775808", "x" * 200_000, "\u202e", "\ufffd", "1.0"),
)
IMAGES = (
    *("a.png", "b.png", "sub/c.png", "é.png", "e\u0301.png", "images/a.png", "/home/x/a.png"),
    *(
        "../outside.png",
        "/etc/passwd",
        "link.png",
        "loop.png",
        "sub",
        "",
        ".",
        "a" * 5000,
        "C:\\a.png",
    ),
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-16-le", "utf-32")
BYTES = (b"\0", b"\xff", b"\xed\xa0\x80", b'"', b"\r", b"\n\n", b",,,,,,,", b"\x0b", b"\x85")


def csv_file(chance: random.Random) -> bytes:
    """Return the table of a case."""
    order = chance.choice([*ORDERS[:4], *ORDERS[:4], *ORDERS])
    rows: list[list[str]] = [list(order)] if chance.random() < 0.95 else []
    for _ in range(chance.choice([0, 2, 3, 3, 8, 8])):
        x, y = chance.choice([0, 5.5, 59, -3]), chance.choice([0, 2.25, 30])
        values = {
            "filename": chance.choice(["a.png", "a.png", "b.png", "sub/c.png"]),
            "class": chance.choice(["x", "y", "x "]),
            "width": "60",
            "height": "40",
            "xmin": str(x),
            "ymin": str(y),
            "xmax": str(x + chance.choice([1, 10.5, 50])),
            "ymax": str(y + chance.choice([1, 4, 39])),
        }
        named = {"image_path": "filename", "label": "class", "x1": "xmin", "y1": "ymin"}
        named |= {"x2": "xmax", "y2": "ymax"}
        keys = [key.strip().lower() for key in order]
        rows.append([values.get(named.get(key, key), "") for key in keys])
    for _ in range(chance.choice([0, 1, 1, 2])):
        if rows:
            row = chance.choice(rows[1:] if len(rows) > 1 and chance.random() < 0.9 else rows)
            row[chance.randrange(len(row))] = chance.choice(chance.choice([VALUES, IMAGES]))
    if rows and chance.random() < 0.15:
        chance.choice(rows).pop()
    text = "".join(chance.choice([",", ",", ",", ";", "\t"]).join(row) + "\n" for row in rows)
    if chance.random() < 0.9:
        delimiter = chance.choice([",", ";", "\t", "|"])
        end = chance.choice(["\n", "\r\n", "\r"])
        text = "".join(delimiter.join(row) + end for row in rows)
    encoding = chance.choice(["utf-8", "utf-8", "utf-8", chance.choice(ENCODINGS)])
    content = text.encode(encoding, "replace")
    if chance.random() < 0.1:
        place = chance.randrange(len(content) + 1)
        content = content[:place] + chance.choice(BYTES) + content[place:]
    return content
