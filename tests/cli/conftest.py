"""Runs the commands in this process, as a user would call them."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from tests.cli.running import Command, Result


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Draw the shapes into a folder of the tests, once."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    yield folder
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """Call ``command("train", "model=tiny", ...)`` in an empty current folder."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, *words: str) -> Result:
        GlobalHydra.instance().clear()
        os.environ.pop("FCOS_RUN_DIR", None)
        monkeypatch.setattr(sys, "argv", [f"fcos-{name}", *words])
        capfd.readouterr()
        code = 0
        try:
            importlib.import_module(f"fcos_lightning.cli.{name}").main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        finally:
            # A command's process ends here; what Hydra keeps of it must not reach the next test.
            HydraConfig.instance().cfg = None
            os.environ.pop("FCOS_RUN_DIR", None)
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return call
