"""Numbers, flags and texts of annotations, as tools write them.

What can mean one thing only is read: digits in quotes are a number, ``True`` is a flag. Anything
else gives None, and the reader says where it stands.
"""

from __future__ import annotations

import math
import re

# ASCII only: Python's ``float`` also takes 1_000 and digits of other scripts.
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
#: Above it a float no longer tells neighbouring integers apart.
_EXACT = 2**53

# LabelImg, VoTT, CVAT and others; "Unspecified" is VOC's own word for what nobody looked at.
_WORDS = {
    **dict.fromkeys(("", "0", "false", "no", "none", "null", "unspecified"), False),
    **dict.fromkeys(("1", "true", "yes"), True),
}


def number(value: object) -> float | None:
    """Return a number, which may be NaN or infinite; None where there is none."""
    if isinstance(value, str):
        text = value.strip()
        return float(text) if _DECIMAL.fullmatch(text) or _NOT_FINITE.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        return math.inf if value > 0 else -math.inf


def whole(value: object) -> int | None:
    """Return a whole number; tables exported by pandas write it as 1.0."""
    if type(value) is int:
        return value
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    found = number(value)
    if found is None or not abs(found) < _EXACT or found != int(found):
        return None
    return int(found)


def flag(value: object) -> bool | None:
    """Return yes or no; nothing at all is no."""
    if value is None or isinstance(value, bool):
        return bool(value)
    if isinstance(value, str) and value.strip().lower() in _WORDS:
        return _WORDS[value.strip().lower()]
    return {0: False, 1: True}.get(-1 if (found := whole(value)) is None else found)


def spelt(name: str) -> str:
    """Return the name of a class less what tools change about it."""
    return re.sub(r"[\s_-]+", "", name.casefold())


def is_text(value: str) -> bool:
    """Tell whether a text can be written: half of a pair of surrogates cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
