"""A folder with a page that finds boxes in a photo, in any browser."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from fcos_lightning.errors import UserError

#: Of the npm package onnxruntime-web, in its folder ``dist``.
RUNTIME = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_OURS = ("index.html", "shown.js", "detect.js")
#: Of what a model says about itself, what the page needs.
_NEEDED = ("class_names", "size", "version", "license")
#: More than any of them has.
_LARGEST = 100_000_000


def page_files(model: bytes, about: Mapping[str, str]) -> dict[str, bytes]:
    """Return the files of the page by name, without those of ``RUNTIME``.

    Args:
        model: an ONNX model that takes images and gives boxes.
        about: what it says about itself.
    """
    texts = ("version", "license")
    needed = {key: about[key] if key in texts else json.loads(about[key]) for key in _NEEDED}
    folder = files("fcos_lightning.inference.deployed") / "page"
    ours = {name: (folder / name).read_bytes() for name in _OURS}
    return {**ours, "about.json": json.dumps(needed).encode(), "model.onnx": model}


def runtime_files(given: str | None) -> dict[str, bytes]:
    """Return the files of onnxruntime-web by name; none where nobody has installed it.

    Args:
        given: the folder that holds them; None: that of npm in the current folder.

    Raises:
        UserError: if a folder was given, and a file is missing in it or cannot be one of these.
    """
    folder = Path(given).expanduser() if given else Path("node_modules/onnxruntime-web/dist")
    if given is None and not folder.is_dir():
        return {}
    found = {}
    for name in RUNTIME:
        file = folder / name
        if not file.is_file():
            raise UserError(
                f"onnxruntime_web={folder}: {name} is missing there; give the folder dist of the "
                "npm package onnxruntime-web"
            )
        if file.stat().st_size > _LARGEST:
            raise UserError(f"onnxruntime_web={folder}: {name} is larger than any such file")
        found[name] = file.read_bytes()
    return found
