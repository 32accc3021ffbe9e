"""Names of version 0.1 lead to where things are now."""

import importlib
import subprocess
import sys
import warnings

import pytest

from fcos_lightning.moved import MOVED
from fcos_lightning.runs.objects.targets import target


@pytest.mark.parametrize(("before", "now"), MOVED.items())
def test_an_old_name_is_the_module_itself(before: str, now: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = importlib.import_module(before)
    assert module is importlib.import_module(now)
    assert module.__name__ == now and module.__spec__.name == now


def test_importing_one_says_its_new_name_and_costs_nothing_before() -> None:
    code = (
        "import sys, warnings, fcos_lightning\n"
        "assert 'torch' not in sys.modules\n"
        "with warnings.catch_warnings(record=True) as said:\n"
        "    warnings.simplefilter('always')\n"
        "    from fcos_lightning.data import coco\n"
        "    from fcos_lightning.detector.assign import assign\n"
        "assert any('fcos_lightning.data.readers.coco now' in str(one.message) for one in said)\n"
        "print(coco.__name__, assign.__module__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "fcos_lightning.data.readers.coco", "fcos_lightning.detector.assigners.fcos"
    ]  # fmt: skip


def test_a_function_of_the_same_name_stays_in_its_room() -> None:
    code = (
        "import fcos_lightning.detector.decode, fcos_lightning.detector.assign\n"
        "from fcos_lightning.detector import assign, decode\n"
        "print(callable(decode), callable(assign))\n"
        "import fcos_lightning.detector as room\n"
        "room.decode = None\n"
        "print(room.decode)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True", "None"]


@pytest.mark.parametrize(
    "name",
    [
        "fcos_lightning.build_fcos",
        "fcos_lightning.data.CocoDataModule",
        "fcos_lightning.training.loggers.csv_log.RunCSVLogger",
        "fcos_lightning.training.ema.EMA",
        "fcos_lightning.training.guard.StopOnNonFinite",
        "fcos_lightning.training.keep_last.KeepLast",
        "fcos_lightning.training.monitor.Monitor",
        "fcos_lightning.training.previews.Previews",
        "fcos_lightning.training.progress.RunProgressBar",
        "fcos_lightning.training.schedule.Schedule",
    ],
)
def test_what_run_folders_of_that_version_name_may_be_called(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert callable(target(name, "callbacks.x"))


def test_a_name_that_never_was_is_still_missing() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("fcos_lightning.cli.nothing")
