"""Odd files of VOC's layout: XML of two images and the list that names them."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

TAGS = (
    *("name", "difficult", "bndbox", "xmin", "ymin", "xmax", "ymax", "size", "width", "height"),
    *("object", "annotation", "depth"),
)
VALUES = (
    *("", " ", "nan", "inf", "-Infinity", "1e308", "1e309", "0", "-0", "-1", "1", "1.5", "1_000"),
    *(
        "0x10",
        "\u0661\u0662",
        "\uff11\uff12",
        " 5 ",
        "\n5\n",
        "5,5",
        "five",
        "9" * 400,
        "9" * 5000,
        "True",
        "None",
    ),
    *("Unspecified", "&amp;", "&#0;", "&#x1F600;", "&#xD800;", "<b/>", "<b>5</b>", "5<b/>6"),
    *("<!-- c -->5", "<![CDATA[5]]>", "<?pi x?>5", "&none;", "2147483647", "2147483648", "3e9"),
    *("1.0000001", "61", "60", "x" * 100_000, "\0", "\x1b[2J", "a\nb", "${x}", "\u202e", "\ufffd"),
)
HEADS = (
    *("<?xml version='1.0' encoding='utf-16'?>", "<?xml version='1.1'?>", "\n\n", "\ufeff"),
    *("<?xml version='1.0' encoding='bogus'?>", "<?xml version='1.0' encoding='utf-7'?>"),
    *("<?xml version='1.0' encoding='gbk'?>", "<?xml version='1.0' encoding='ascii'?>"),
    *("<?xml version='1.0' encoding='zlib'?>", "<?xml version='1.0' standalone='maybe'?>"),
    *("<!DOCTYPE a>", "<!DOCTYPE a [<!ENTITY b 'c'>]>", "<!DOCTYPE a SYSTEM 'file:///etc/passwd'>"),
    "\n<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]>",
)
ROOTS = ("<annotation xmlns='urn:x'>", "<x>", "<annotation a='1' a='2'>", "<a:annotation>")
LISTS = (
    *(
        b"a\n",
        b"a 1\nb -1\n",
        b"a -1\n",
        b"../outside\n",
        b"/etc/passwd\n",
        b"\xff\xfe\n",
        b"a\0\n",
    ),
    *(b"", b"\n", b"a\r\nb\r\n", b"a\na\n", b"\xef\xbb\xbfa\n", b"a/../a\n", b"a\x0bb\n", b"..\n"),
    *(b"x" * 5000, b".\n", b"-\n", b"*\n", b"\x1b[2J\n", b"a.png\nb.jpg\n", b"JPEGImages\\a.png\n"),
    *(b"C:\\x\\a.png\n", b"loop\n", b"link.png\n", b"sub/c\n", b"-1\n", b"a b -1\n", b"a.xml 1\n"),
)


def voc_files(chance: random.Random, stems: Sequence[str]) -> dict[str, bytes]:
    """Return the files of a case by their names: the first stem's XML is spoilt, or the list."""
    boxes = ((5, 5, 20, 20), (1, 1, 60, 40), (60, 1, 60, 40), (0, 0, 5, 5), (-5, -5, 3, 3))
    objects = [
        _object(chance.choice("xyz"), chance.choice(boxes))
        for _ in range(chance.choice([0, 1, 2, 5]))
    ]
    text = _document(objects)
    for _ in range(chance.choice([1, 1, 2, 3])):
        text = _spoilt(text, chance)
    content = text.encode("utf-8", "surrogatepass")
    if chance.random() < 0.2:
        content = _damaged(content, chance)
    first, *others = stems
    listed = "".join(f"{stem}\n" for stem in stems).encode()
    return {
        f"Annotations/{first}.xml": content,
        **{
            f"Annotations/{stem}.xml": _document([_object("x", boxes[0])]).encode()
            for stem in others
        },
        "ImageSets/Main/t.txt": chance.choice(LISTS) if chance.random() < 0.15 else listed,
    }


def _object(name: str, corners: Sequence[int]) -> str:
    box = "".join(
        f"<{key}>{value}</{key}>"
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"<object><name>{name}</name><difficult>0</difficult><bndbox>{box}</bndbox></object>"


def _document(objects: Sequence[str]) -> str:
    size = "<size><width>60</width><height>40</height><depth>3</depth></size>"
    return f"<annotation><filename>a.png</filename>{size}{''.join(objects)}</annotation>"


def _spoilt(text: str, chance: random.Random) -> str:
    """Change one place of a document."""
    tag = chance.choice(TAGS)
    found = list(re.finditer(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL))
    how = chance.random()
    if how < 0.55 and found:
        one = chance.choice(found)
        return text[: one.start(1)] + chance.choice(VALUES) + text[one.end(1) :]
    if how < 0.65 and found:
        return text[: found[0].start()] + text[found[0].end() :]
    if how < 0.72 and found:
        return text[: found[0].end()] + found[0].group() + text[found[0].end() :]
    if how < 0.78:
        return text.replace("<annotation>", chance.choice(ROOTS), 1)
    if how < 0.86:
        return chance.choice(HEADS) + text
    if how < 0.93:
        depth = chance.choice([10, 1000, 60_000])
        return text.replace("</annotation>", "<p>" * depth + "</p>" * depth + "</annotation>")
    more = _object("x", (5, 5, 20, 20)) * chance.choice([100, 5000])
    return text.replace("</annotation>", more + "</annotation>")


def _damaged(content: bytes, chance: random.Random) -> bytes:
    """Change a file in its bytes."""
    place = chance.randrange(len(content) + 1)
    before, behind = content[:place], content[place:]
    how = chance.randrange(7)
    if how == 0:
        return before
    if how == 1:
        return before + bytes([chance.randrange(256)]) + behind[1:]
    if how == 2:
        return before + chance.choice([b"\0", b"\xff", b"\xed\xa0\x80", b"\xc0\x80"]) + behind
    if how == 3:
        return content + b"x" * chance.choice([1, 1_100_000])
    if how == 4:
        encoding = chance.choice(["utf-16", "utf-16-le", "gb18030", "latin-1", "utf-32"])
        return content.decode("utf-8", "replace").encode(encoding, "replace")
    return content * 2 if how == 5 else b""
