"""The one exception that means: the user can mend this, and here is how."""

from __future__ import annotations

from reprlib import Repr

from fcos_lightning.printing import LONGEST_LINE, message_line

#: What a whole message is cut to; each foreign text in it is cut by ``shown`` before that.
MESSAGE_CHARACTERS = LONGEST_LINE


class UserError(ValueError):
    """Wrong input from the user: a single line saying what is wrong, where, and what to do.

    The commands print it after ``error:`` and exit with status 2; no traceback is shown. What
    does not belong on a terminal's line, as an escape sequence in a file's name, is escaped here,
    and a message is cut to ``MESSAGE_CHARACTERS``.
    """

    def __init__(self, message: str = "") -> None:
        # A loader process's error comes back with the lines of its traceback around it.
        super().__init__(message if message.startswith("Caught ") else message_line(message))


class SharedError(UserError):
    """An error that all processes of a run raise at the same step; only the first prints it."""


def shown(value: object, limit: int = 80) -> str:
    """Return what a message repeats of a foreign value: as Python writes it, at most ``limit``."""
    short = Repr()
    short.maxstring = short.maxlong = short.maxother = limit
    try:
        text = short.repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return f"a {type(value).__name__} too long to show"
    return text if len(text) <= limit else text[: limit - 3] + "..."
