"""The numbers that a page may show: those of the JSON beside it."""

from __future__ import annotations

import re
from collections.abc import Callable


def known_numbers(content: object, shown: Callable[[float], tuple[str, ...]]) -> set[str]:
    """Return every number in a tree of plain values, as a page may write it.

    Args:
        content: of a JSON file.
        shown: how a page may write a number.
    """
    if isinstance(content, dict):
        parts = [known_numbers(one, shown) for item in content.items() for one in item]
        return set().union(*parts)
    if isinstance(content, list):
        return set().union(*(known_numbers(item, shown) for item in content))
    if isinstance(content, str):
        return set(re.findall(r"\d+(?:\.\d+)?", content))
    return set() if content is None else set(shown(content))  # type: ignore[arg-type]  # a number
