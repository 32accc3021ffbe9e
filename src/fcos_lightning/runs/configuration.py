"""Where the configuration of a run comes from."""

from __future__ import annotations

from pathlib import Path


def config_dir() -> Path:
    """Return the folder ``conf/``: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"
