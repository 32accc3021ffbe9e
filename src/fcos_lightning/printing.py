"""Text of data, checkpoints and file names, made fit for one line of a terminal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

#: What a line of a command's output may at most be long.
LONGEST_LINE = 600
#: What an error's line may at most be long; the beginning says what is wrong, the end what to do.
LONGEST_MESSAGE = 300
#: What a name of a class, an image or a file may at most take of a line.
LONGEST_NAME = 200
#: Of a name that has to give room to the rest of a message, at least so much stays.
_LEAST_NAME = 40
#: Of names in a row, each takes at most so much.
_LONGEST_IN_ROW = 40
_END = 300

#: Control characters, halves of characters, and Unicode's own ways to end a line.
_UNFIT = {"Cc", "Cs", "Zl", "Zp"}
#: Those that show what follows from right to left.
_REVERSING = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}


def printable(text: object, longest: int = LONGEST_NAME) -> str:
    """Return text that can be printed within a line, whatever it holds.

    A terminal obeys escape sequences, wherever they come from, so control characters are spelt
    out. Of a long text the middle is left out.

    Args:
        text: to be shown.
        longest: number of characters that may be left.
    """
    content = _cut(str(text), longest)  # before too, as escaping costs time
    return _cut("".join(_spelt(one) for one in content), longest)


def grouped(count: float) -> str:
    """Return a number as people read it on a page: ``12,345``. Files for programs have it plain."""
    return f"{count:,}"


#: Brackets as Roboflow writes them: ``rice bug -hama padi-``.
_BRACKETED = re.compile(r"(?:(?<=\s)|^)-([^-\s](?:[^-]*[^-\s])?)-(?=\s|$)")


def class_label(name: object, longest: int = 60) -> str:
    """Return the name of a class as people should see it; files keep the name that they have.

    Args:
        name: of the class.
        longest: number of characters that may be left.
    """
    tidy = _BRACKETED.sub(r"(\1)", " ".join(_cut(str(name), 4 * longest).split()))
    return printable(tidy or str(name), longest)


def message_line(text: object, longest: int = LONGEST_MESSAGE, whole: Collection[str] = ()) -> str:
    """Return a message as one line that people read to its end.

    Names, paths and values make a message long. So the longest of them give way first, each by its
    middle; only where that is not enough, the middle of the message itself is left out.

    Args:
        text: of the message.
        longest: number of characters that may be left, besides those of ``whole``.
        whole: parts of the message that nobody can use with a gap in them, as an address to fetch
            from. They stand as they are, while together they take no more than a line.
    """
    begun = _cut(str(text), 50 * LONGEST_LINE)  # a name may be as long as a file
    parts = _split_at(begun, whole)
    parts[::2] = ["".join(_spelt(one) for one in part) for part in parts[::2]]
    for room in (len(begun), *range(LONGEST_NAME, _LEAST_NAME - 1, -5)):
        shorter = [_with_words_of(part, room) for part in parts[::2]]
        if sum(map(len, shorter)) <= longest:
            break
    else:
        each = _even_share([len(part) for part in shorter], longest)
        shorter = [_cut(part, each) for part in shorter]
    parts[::2] = shorter
    return "".join(parts)


def _split_at(text: str, whole: Collection[str]) -> list[str]:
    """Return a text in parts, of which every second is one that stands whole."""
    fit = sorted((one for one in set(whole) if one and printable(one, len(one)) == one), key=len)
    kept: list[str] = []
    taken = 0
    for one in fit:
        taken += len(one) * text.count(one)
        if taken > LONGEST_LINE:
            break
        kept.insert(0, re.escape(one))  # the longest first, as one may begin another
    return re.split(f"({'|'.join(kept)})", text) if kept else [text]


def _even_share(lengths: Collection[int], longest: int) -> int:
    """Return what each part may take, so that all take ``longest`` and only long ones give way."""
    return max(one for one in range(longest + 1) if sum(min(one, n) for n in lengths) <= longest)


def _with_words_of(line: str, longest: int) -> str:
    return re.sub(rf"\S{{{longest + 1},}}", lambda word: _cut(word[0], longest), line)


def some_of(
    names: Collection[str], most: int = 8, room: int = 120, longest: int = _LONGEST_IN_ROW
) -> str:
    """Return names in a row, and how many more there are: ``cat, dog and 3 more``.

    Args:
        names: as files, data or checkpoints have them.
        most: so many are named.
        room: so many characters they take together; the first is named anyway.
        longest: so many characters each may take.
    """
    row: list[str] = []
    for name in list(names)[:most]:
        cut = _cut(name, longest)
        if row and len(", ".join((*row, cut))) > room:
            break
        row.append(cut)
    left = len(names) - len(row)
    return ", ".join(row) + (f" and {left} more" if left else "")


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    end = min(_END, longest // 3)
    begin = max(longest - end - 5, 1)
    return f"{text[:begin]} ... {text[-end:]}"


def _spelt(character: str) -> str:
    fit = unicodedata.category(character) not in _UNFIT and ord(character) not in _REVERSING
    return character if fit else character.encode("unicode_escape").decode("ascii")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its kind where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
