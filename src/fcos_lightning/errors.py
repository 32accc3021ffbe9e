"""The one exception that means: the user can mend this, and here is how."""

from __future__ import annotations

from reprlib import Repr

#: What a whole message is cut to; each foreign text in it is cut by ``shown`` before that.
MESSAGE_CHARACTERS = 1000


class UserError(ValueError):
    """Wrong input from the user: a single line saying what is wrong, where, and what to do.

    The commands print it after ``error:`` and exit with status 2; no traceback is shown. What
    does not belong on a terminal's line, as an escape sequence in a file's name, is escaped here,
    and a message is cut to ``MESSAGE_CHARACTERS``.
    """

    def __init__(self, message: str = "") -> None:
        # A loader process's error comes back with the lines of its traceback around it.
        super().__init__(message if message.startswith("Caught ") else _one_line(message))


def shown(value: object, limit: int = 80) -> str:
    """Return what a message repeats of a foreign value: as Python writes it, at most ``limit``."""
    short = Repr()
    short.maxstring = short.maxlong = short.maxother = limit
    try:
        text = short.repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return f"a {type(value).__name__} too long to show"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _one_line(message: str) -> str:
    text = message.encode("utf-8", "backslashreplace").decode()
    if not text.isprintable():
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    if len(text) <= MESSAGE_CHARACTERS:
        return text
    # What to do stands at the end.
    end = MESSAGE_CHARACTERS // 3
    return f"{text[: MESSAGE_CHARACTERS - end - 5]} ... {text[-end:]}"
