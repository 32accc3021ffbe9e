"""Whether a file can be read to its end, and files that are far larger than any of their kind."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fcos_lightning.errors import UserError

#: Bytes of what does not say how much it holds that are read at first.
_PIECE = 1 << 16


def is_pipe_or_device(path: Path) -> bool:
    """Tell whether opening a path could wait for ever: that of a pipe, a socket or a device."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # whoever opens it will say so
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def read_small(
    file: Path,
    most_bytes: int,
    *,
    named: str | None = None,
    advice: str = "",
    too_large: str | None = None,
) -> bytes:
    """Return the content of a file that should be small.

    Args:
        file: to read.
        most_bytes: a larger one is refused, however large, before more than this is read; a small
            one takes little memory, however large this is.
        named: what messages begin with; None: the file.
        advice: what a message that it cannot be read ends with.
        too_large: the message about a larger one; None: that it is refused.

    Raises:
        UserError: if it cannot be read or is too large.
    """
    named = str(file) if named is None else named
    try:
        with file.open("rb") as stream:
            # Python sets aside what it is asked for, so ask for what the file says it holds.
            content = stream.read(min(os.fstat(stream.fileno()).st_size, most_bytes) + 1)
            # A device says that it holds nothing, and a file may grow.
            while len(content) <= most_bytes and (
                more := stream.read(min(max(len(content), _PIECE), most_bytes + 1 - len(content)))
            ):
                content += more
    except OSError as error:
        raise UserError(f"{named} cannot be read: {error.strerror}{advice}") from None
    if len(content) > most_bytes:
        raise UserError(too_large or f"{named} is over {most_bytes} bytes: refused")
    return content
