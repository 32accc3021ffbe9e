"""Has matplotlib keep its list of fonts whole or not at all.

As soon as anything draws, and already as torchmetrics is imported, matplotlib lists the system's
fonts and writes that into the user's cache: in place, so that a full disk or a kill leaves half a
file there, and a lock that the next process waits for. So the list is made in a folder that goes
away, and what is whole takes its place in the cache.
"""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from fcos_lightning.late_matplotlib import FindsOne

_MODULE = "matplotlib.font_manager"
_LISTS = "fontlist-*.json"


class _Loader(SourceFileLoader):
    """Gives the module a folder of its own for the time that it makes the list."""

    def exec_module(self, module: ModuleType) -> None:
        import tempfile

        import matplotlib

        asked = matplotlib.get_cachedir
        cache = Path(asked())
        try:
            folder = tempfile.TemporaryDirectory(prefix="fonts-", ignore_cleanup_errors=True)
        except OSError:  # no place to write at all: where nothing is, matplotlib keeps nothing
            matplotlib.get_cachedir = lambda: str(cache / "nowhere")
            try:
                super().exec_module(module)
            finally:
                matplotlib.get_cachedir = asked
            return
        with folder as name:
            known = _read(cache)
            for file, content in known.items():
                _kept(Path(name, file), content)
            matplotlib.get_cachedir = lambda: name
            try:
                super().exec_module(module)
            finally:
                matplotlib.get_cachedir = asked
            for file, content in _read(Path(name)).items():
                if known.get(file) != content and _is_whole(content):
                    _kept(cache / file, content)


def _read(folder: Path) -> dict[str, bytes]:
    found = {}
    for file in folder.glob(_LISTS):
        try:
            found[file.name] = file.read_bytes()
        except OSError:  # another user's
            continue
    return found


def _is_whole(content: bytes) -> bool:
    import json

    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def _kept(file: Path, content: bytes) -> None:
    """Write a list; where there is no room it is made again next time."""
    from fcos_lightning.storage.replacing import replacing

    try:
        with replacing(file, durable=False) as draft:
            draft.write(content)
    except OSError:
        pass


class _KeptWhole(FindsOne):
    """Finds the module that makes the list."""

    module = _MODULE
    loader = _Loader


def keep_font_list_whole() -> None:
    """See to matplotlib's list of fonts from now on."""
    _KeptWhole.begin()
