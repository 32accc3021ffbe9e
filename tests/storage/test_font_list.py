"""matplotlib's list of fonts in the user's cache is whole or not there."""

import errno
import json
import os
import resource
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import matplotlib
import pytest

import fcos_lightning
from fcos_lightning.storage import font_list
from fcos_lightning.storage.font_list import _KeptWhole, keep_font_list_whole

NAME = "matplotlib.font_manager"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(matplotlib, "get_cachedir", lambda: str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return folder


@pytest.fixture
def little_room() -> Iterator[None]:
    """Let this process write no file of more than 10 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def imported() -> ModuleType:
    """Make the module once more, as its import does."""
    spec = _KeptWhole().find_spec(NAME, matplotlib.__path__)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    before = matplotlib.get_cachedir
    with patch.dict(sys.modules, {NAME: module}):
        spec.loader.exec_module(module)
    assert matplotlib.get_cachedir is before
    assert module.fontManager.ttflist and "DejaVu Sans" in module.get_font_names()
    return module


def test_every_import_goes_this_way() -> None:
    keep_font_list_whole()
    (one,) = [finder for finder in sys.meta_path if isinstance(finder, _KeptWhole)]
    assert sys.meta_path.index(one) < [
        getattr(finder, "__name__", "") for finder in sys.meta_path
    ].index("PathFinder")
    assert one.find_spec("matplotlib.figure", matplotlib.__path__) is None
    assert fcos_lightning.keep_font_list_whole is keep_font_list_whole


def test_a_list_is_made_once(cache: Path) -> None:
    imported()
    (file,) = cache.iterdir()
    made = file.stat()
    assert json.loads(file.read_text())["ttflist"]
    imported()
    assert file.stat().st_ino == made.st_ino and list(cache.iterdir()) == [file]
    assert not list((cache.parent / "temporary").iterdir())


def test_half_a_list_is_replaced(cache: Path) -> None:
    imported()
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:1000])
    imported()
    assert file.read_bytes() == whole


@pytest.mark.usefixtures("little_room")
def test_where_there_is_no_room_for_it_nothing_stays(cache: Path) -> None:
    imported()
    assert not list(cache.iterdir())
    assert not list((cache.parent / "temporary").iterdir())


def test_nor_where_only_the_cache_is_full(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.replace", full)
    imported()
    assert not list(cache.iterdir())


def test_without_a_place_for_temporary_files(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.mkdtemp", none)
    imported()
    assert not list(cache.iterdir())


def test_only_what_is_whole_is_kept() -> None:
    assert font_list._is_whole(b'{"a": [1]}') and not font_list._is_whole(b'{"a": [1')
