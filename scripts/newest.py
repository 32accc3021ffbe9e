#!/usr/bin/env python
"""List what the project needs without upper bounds: pip install -U $(python scripts/newest.py).

A bound of ours says what was tried. This is for trying what came after it; a version that is
pinned with `==` stays, since something else than age decided on it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]


def without_bounds(requirements: Iterable[str]) -> list[str]:
    """Return requirements as `torch` or `albumentations==2.0.8`, each once, in order of name."""
    kept = set()
    for requirement in requirements:
        name = re.match(r"[\w.-]+(\[[\w,-]+\])?", requirement)
        assert name, requirement
        kept.add(requirement.replace(" ", "") if "==" in requirement else name[0])
    return sorted(kept)


def main() -> int:
    """Print what is needed to run the tests, one to a line."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    print(
        "\n".join(without_bounds(project["dependencies"] + project["optional-dependencies"]["dev"]))
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
