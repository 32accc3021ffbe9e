"""Fixtures every test may use."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from tests.browsers import axe as axe
from tests.browsers import browser as browser  # for all: Playwright is started but once
from tests.served_files import site as site


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden outputs and real data sets, which is not part of the repository."""
    folder = Path(os.environ.get("FCOS_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "golden").is_dir():
        reason = f"no golden data at {folder} (set FCOS_SHARED to its place)"
        if os.environ.get("FCOS_SHARED_REQUIRED") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session", autouse=True)
def state_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what a machine remembers of its runs in a folder of the tests."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    yield
    if before is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = before


@pytest.fixture(autouse=True)
def nothing_left_of_hydra() -> Iterator[None]:
    """Fail the test that leaves a configuration behind, and not the one that comes upon it."""
    yield
    left = GlobalHydra.instance().is_initialized() or HydraConfig.initialized()
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None
    assert not left, "this test left Hydra initialized in the process"


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Let this process have one gigabyte more than it has."""
    if not sys.platform.startswith("linux"):
        pytest.skip("addresses are limited on Linux only")
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
