"""The one exception that means: the user can mend this, and here is how."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from reprlib import Repr

from fcos_lightning.printing import LONGEST_LINE, LONGEST_MESSAGE, message_line, printable, some_of

#: What a whole message is cut to; each foreign text in it is cut by ``shown`` before that.
MESSAGE_CHARACTERS = LONGEST_MESSAGE
#: What it is cut to where it holds all that may be chosen, or what must be copied as it stands.
CHOICES_CHARACTERS = LONGEST_MESSAGE + LONGEST_LINE
#: What each choice may take; they are our own words, or names of files of a configuration.
_LONGEST_CHOICE = 100


#: What errors say, and what they say in its place.
_CALLED: ContextVar[tuple[str, str] | None] = ContextVar("called", default=None)


@contextmanager
def calling(path: str, name: str) -> Iterator[None]:
    """Let errors say a name where their messages say a path, as of a copy that nobody knows of.

    It is exchanged before a message is cut to its length, so that none of the path is left over.
    """
    token = _CALLED.set((path, name))
    try:
        yield
    finally:
        _CALLED.reset(token)


class UserError(ValueError):
    """Wrong input from the user: a single line saying what is wrong, where, and what to do.

    The commands print it after ``error:`` and exit with status 2; no traceback is shown. What
    does not belong on a terminal's line, as an escape sequence in a file's name, is escaped here,
    and a message is cut to ``MESSAGE_CHARACTERS``.

    Args:
        message: the line; with choices, its end leads to them.
        choices: names of this program that may be given instead, all of which are shown.
        pasted: words for the user's next command line; whole, or not at all where they are longer
            than a line.
        whole: parts of the message that are of no use with a gap in them, as an address and where
            its file belongs; see ``message_line``. Never what somebody else wrote.
    """

    def __init__(
        self,
        message: str = "",
        choices: Collection[str] = (),
        pasted: str = "",
        whole: Collection[str] = (),
    ) -> None:
        if called := _CALLED.get():
            message = message.replace(*called)
            whole = [one.replace(*called) for one in whole]
        # A loader process's error comes back with the lines of its traceback around it.
        line = message if message.startswith("Caught ") else message_line(message, whole=whole)
        if choices:
            line += f" {some_of(choices, len(choices), LONGEST_LINE - 20, _LONGEST_CHOICE)}"
        if pasted:
            fits = len(pasted) <= LONGEST_LINE and printable(pasted, LONGEST_LINE) == pasted
            line += f" {pasted}" if fits else " KEY=VALUE of each"
        super().__init__(line)

    def __reduce__(self) -> tuple[object, ...]:
        """Go to another process as it is."""
        return _again, (type(self), *self.args)


def _again(kind: type[UserError], *args: object) -> UserError:
    error = kind.__new__(kind)
    error.args = args
    return error


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
