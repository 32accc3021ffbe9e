"""Text of data, checkpoints and file names, made fit for one line of a terminal."""

from __future__ import annotations

import re
import unicodedata

#: What an error's line may at most be long; the beginning says what is wrong, the end what to do.
LONGEST_LINE = 600
#: What a name of a class, an image or a file may at most take of a line.
LONGEST_NAME = 200
_END = 300
_LONG_WORD = re.compile(rf"\S{{{LONGEST_NAME + 1},}}")

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


def message_line(text: object) -> str:
    """Return a message as one line, in which no name or value is longer than ``LONGEST_NAME``."""
    begun = _cut(str(text), 50 * LONGEST_LINE)  # a name may be as long as a file
    return printable(_LONG_WORD.sub(lambda word: _cut(word[0], LONGEST_NAME), begun), LONGEST_LINE)


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
