"""Text that is data, kept as it stands where OmegaConf and Hydra would read more in it.

A class may be called ``${oc.env:SECRET}``, a folder ``a${b}``, a file ``???``. OmegaConf takes the
first two for something to look up and the last for something to fill in. What comes out of data,
checkpoints, file names and folders goes through ``opaque`` before it becomes part of a
configuration; what it looks up is then that very text, which OmegaConf does not read again.
"""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

_RESOLVER = "fcos_text"


def opaque(value: Any) -> Any:  # noqa: ANN401  # a tree of plain values, whatever it is
    """Return a tree of plain values of which OmegaConf gives back every string unchanged."""
    if isinstance(value, dict):
        return {key: opaque(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [opaque(item) for item in value]
    return opaque_text(value) if isinstance(value, str) else value


def opaque_text(text: str) -> str:
    """Return a string that OmegaConf resolves to ``text``; ``text`` itself where that is the same.

    Only ``${`` begins something that is looked up, and only ``???`` alone stands for a value that
    is missing.
    """
    if "${" not in text and text != "???":
        return text
    # In hex nothing has a meaning to any of the parsers it goes through; x: never a number.
    return f"${{{_RESOLVER}:x{text.encode('utf-8', 'surrogatepass').hex()}}}"


def _text(coded: str) -> str:
    return bytes.fromhex(coded[1:]).decode("utf-8", "surrogatepass")


OmegaConf.register_new_resolver(_RESOLVER, _text, replace=True)
