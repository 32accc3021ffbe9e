"""How to install what a part of the package needs beyond the rest."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec

_NAME = "fcos-lightning"


def absent(*modules: str) -> list[str]:
    """Return those modules that are not installed; none is imported."""
    return [name for name in modules if find_spec(name) is None]


def pip_install(extra: str) -> str:
    """Return the command that installs what an extra of ``pyproject.toml`` lists.

    It names the packages themselves: ``fcos-lightning[onnx]`` would be looked for in an index,
    where the package need not be.

    Args:
        extra: such as ``onnx``.
    """
    try:
        listed = requires(_NAME) or []
    except PackageNotFoundError:  # sources that nobody installed
        listed = []
    needed = [
        re.sub(r"[\s()]", "", line.split(";")[0])
        for line in listed
        if re.search(rf"extra\s*==\s*['\"]{extra}['\"]", line)
    ]
    return f"pip install {' '.join(f'{chr(39)}{one}{chr(39)}' for one in needed) or extra}"
