"""Words of a command line: those that give paths, and which were given."""

from __future__ import annotations

import re
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from fcos_lightning.runs.opaque import opaque_text


def quoted_path(word: str, keys: tuple[str, ...]) -> str:
    """Quote an override that gives a path, so that Hydra takes ``photo (1).jpg`` or ``007`` as is.

    Words of other keys, and values that are quoted, null or refer to other values, stay as they
    are.
    """
    key, equals, value = word.partition("=")
    if not equals or key not in keys or value in ("", "null") or "${" in value:
        return word
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return word
    return quoted(key, value)


def quoted(key: str, value: str) -> str:
    """Return the override that gives ``key`` this very string, also one with ``${`` in it."""
    # In Hydra's quoted strings a backslash means itself unless it stands before a quote.
    escaped = re.sub(
        r"(\\*)('|\Z)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), opaque_text(value)
    )
    return f"{key}='{escaped}'"


def chosen_by_user(key: str) -> bool:
    """Tell whether the command line gives ``key``, be it with the value that it has anyway."""
    words: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return any(word.split("=", 1)[0].lstrip("+") == key for word in words)
