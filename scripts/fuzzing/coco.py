"""Odd files of COCO's format: a sound one is drawn, then spoilt in its values and in its bytes."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any


@dataclass
class Raw:
    """A piece of JSON, valid or not, that is written as it is."""

    text: str


class Fields(list[tuple[Any, Any]]):
    """An object's fields in their order; a name may come twice."""


NUMBERS = (
    *("NaN", "Infinity", "-Infinity", "1e308", "-1e308", "1e309", "1e-400", "-0", "-0.0", "1.0"),
    *("01", "+1", "1.", ".5", "0x10", "1_0", "True", "0.5", "-1", "0", "1e0", "10e-1", "1e19"),
    *("9007199254740993", "9007199254740993.0", "9223372036854775807", "9223372036854775808"),
    *("-9223372036854775808", "-9223372036854775809", "18446744073709551616", "9" * 300),
    *("9" * 5000, "1" + "0" * 4299, "0." + "1" * 800, "2147483647", "2147483648", "1e38", "1e-320"),
)
TEXTS = (
    *('""', '"1"', '"01"', '" 7 "', '"1.0"', '"1e2"', '"nan"', '"1_0"', '"\\u0661"', '"true"'),
    *('"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\u001b[2J"', '"\\n"'),
    *('"a.png"', '"./a.png"', '"sub/../a.png"', '"sub\\\\c.png"', '"../outside.png"'),
    *('"link.png"', '"loop.png"', '"loop.png/a.png"', '"sub"', '"/etc/passwd"', '"e\\u0301.png"'),
    *(
        '"}, {"',
        '"}]"',
        '"\\"annotations\\": ["',
        '"${x}"',
        f'"{"x" * 200_000}"',
        f'"{"a/" * 3000}"',
    ),
)
OTHERS = (
    *("null", "true", "false", "[]", "{}", "[[]]", "[null]", "[1,2,3]", "[1,2,3,4]", "[1,2,3,4,5]"),
    *(
        '["1","2","3","4"]',
        "[true,2,3,4]",
        "[0,0,1e308,1e308]",
        "[-1e308,0,1.7e308,5]",
        "[null,0,5,5]",
    ),
    *("[0,0,NaN,5]", "[0,0,1e-320,5]", "[1e17,0,1,5]", "[59.9999999,39.9999999,1e-9,1e-9]"),
    *("[-5,-5,5.0000001,5.0000001]", "[0,0,18446744073709551616,5]", "[0,0,1e39,1e39]", "nul", ""),
    *(
        "[" * 400 + "]" * 400,
        "[" * 100_000,
        "[" * 5000 + "]" * 5000,
        '{"a":' * 300 + "1" + "}" * 300,
    ),
    *('{"counts":[1],"size":[2,3]}', '[{"image_id":1},{"image_id":2}]', "undefined", "'a'"),
)
BYTES = (
    *(b"\0", b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xef\xbb\xbf", b"\x0b", b"\xc2\xa0", b"/**/"),
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b" \t\r\n", b"1", b"null", b"},{"),
)
ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "latin-1", "cp1252")


def coco_file(chance: random.Random, case: int) -> bytes:
    """Return the file of a case; the first ones aim at what a reader in pieces may mistake."""
    if case < 24:
        return _aimed(case)
    tree = _sound(chance)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        _spoil(tree, chance)
    gap = chance.choice(["", " ", "\n  "])
    content = _written(tree, gap).encode("utf-8", "surrogatepass")
    return _damaged(content, chance) if chance.random() < 0.3 else content


def _sound(chance: random.Random) -> Fields:
    names = ("a.png", "b.png", "sub/c.png", "é.png")[: chance.choice([1, 3, 4])]
    images = [
        Fields([("id", number), ("file_name", name), ("height", 40), ("width", 60), ("license", 1)])
        for number, name in zip((1, 2, 3, 7), names, strict=False)
    ]
    annotations = []
    for number in range(chance.choice([0, 1, 4, 12])):
        x, y = chance.choice([0, 5.5, 59, -3]), chance.choice([0, 2.25, 30])
        fields = [
            ("segmentation", [[1, 2.5, 3, 4]]),
            ("area", chance.choice([1, 30.5, 12])),
            ("iscrowd", chance.choice([0, 0, 1])),
            ("image_id", chance.choice([1, 1, 2, 3, 9])),
            ("bbox", [x, y, chance.choice([1, 10.5, 50]), chance.choice([1, 4, 39])]),
            ("category_id", chance.choice([0, 7])),
            ("id", number),
        ]
        annotations.append(Fields(fields))
    parts = [
        ("info", Fields([("contributor", "nobody"), ("year", 2026)])),
        ("images", images),
        ("annotations", annotations),
        ("categories", [Fields([("id", 0), ("name", "x")]), Fields([("id", 7), ("name", "y")])]),
    ]
    if chance.random() < 0.2:
        chance.shuffle(parts)
    return Fields(parts)


def _spoil(tree: Fields, chance: random.Random) -> None:
    """Change one place of a tree."""
    holder, place = chance.choice(list(_places(tree)))
    odd = Raw(chance.choice(chance.choice([NUMBERS, TEXTS, OTHERS])))
    named = isinstance(holder, Fields)
    value = holder[place][1] if named else holder[place]
    how = chance.random()
    if how < 0.6:
        holder[place] = (holder[place][0], odd) if named else odd
    elif how < 0.72:
        del holder[place]
    elif how < 0.8:
        holder.insert(place, holder[place])
    elif how < 0.92 and named:
        name = holder[place][0]
        if chance.random() < 0.3 and isinstance(name, str):
            name = Raw(f'"\\u{ord(name[0]):04x}{name[1:]}"')
        holder.insert(chance.randrange(len(holder) + 1), (name, chance.choice([odd, value, []])))
    else:
        holder[place] = (holder[place][0], [value]) if named else [value]


def _places(value: Any) -> Any:  # noqa: ANN401  # any JSON
    """Every list and object of a tree, with each place in it."""
    if isinstance(value, list):
        for place, item in enumerate(value):
            yield value, place
            yield from _places(item[1] if isinstance(value, Fields) else item)


def _written(value: Any, gap: str) -> str:  # noqa: ANN401
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Fields):
        fields = [f"{_written(name, gap)}:{gap}{_written(item, gap)}" for name, item in value]
        return "{" + f",{gap}".join(fields) + "}"
    if isinstance(value, list):
        return "[" + f",{gap}".join(_written(item, gap) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


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
        return before + chance.choice(BYTES) + behind
    if how == 3:  # next to a sign that a reader in pieces looks for
        sign = chance.choice([b"}", b"{", b"]", b"[", b",", b":"])
        odd = chance.choice(BYTES)
        return content.replace(
            sign, chance.choice([sign + odd, odd + sign]), chance.choice([1, -1])
        )
    if how == 4:
        text = content.decode("utf-8", "replace")
        return text.encode(chance.choice(ENCODINGS), "replace")
    if how == 5:
        return content + chance.choice([b"{}", b"\0", b" \n", b"]", b"x", b" " * 10_000])
    return before + content[chance.randrange(len(content) + 1) :]


def _aimed(case: int) -> bytes:
    """A file that holds two lists of annotations, or what looks like the end of one."""
    one = b'{"id":1,"image_id":1,"category_id":0,"bbox":[1,1,5,5],"area":25,"iscrowd":0}'
    head = (
        b'{"images":[{"id":1,"file_name":"a.png","width":60,"height":40}],'
        b'"categories":[{"id":0,"name":"x"}],'
    )
    opening = head + b'"annotations":['
    within = head + b'"info":{"annotations":['
    tails = (
        b'],"annotations":[%d]}' % len(opening),  # where the list was cut out
        b"," + one + b'],"annotations":[' + one + b"]}",
        b'],"annotations":null}',
        b'],"annot\\u0061tions":[]}',
        b'],"info":{"annotations":[]}}',
        b",]}",
        b",\x0b" + one + b"]}",
        b"\x0c," + one + b"\x0b]}",
        b"\x1c]}",
        b'],"images":[{"id":5,"file_name":"b.png","width":60,"height":40}]}',
        b'],"x":"\xff"}',
        b'],"x":"\xed\xa0\x80"}',
    )
    spoilt = (
        one.replace(b'"iscrowd":0', b'"iscrowd":9223372036854775808'),
        one.replace(b'"iscrowd":0', b'"iscrowd":1.0'),
        one.replace(b'"image_id":1', b'"image_id":1.0'),
        one.replace(b'"image_id":1', b'"image_id":"1"'),
        one.replace(b"5,5]", b"9007199254740993,2.2250738585072011e-308]"),
        one.replace(b"25", b"123456789012345678.123456789e-3"),
        one[:-1] + b',"x":"},{"}',
        one[:-1] + b',"x":"\\"}]"}',
        one[:-1] + b',"segmentation":[{"a":1},{"b":[{}]}]}',
        one.replace(b'"bbox"', b'"bbox":[2,2,6,6],"bbox"'),
    )
    if case < len(tails):
        return opening + one + tails[case]
    if case < len(tails) + len(spoilt):
        return opening + b",".join([spoilt[case - len(tails)]] * 20) + b"]}"
    begin = within if case % 2 else head + b'"z":[{"annotations":['
    closing = b'],"annotations":[%d]}' % len(begin)
    return begin + one + (b"]}" if case % 2 else b"]}]") + closing[1:]
