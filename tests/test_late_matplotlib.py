"""matplotlib is imported once torchmetrics plots: each test fails if that changes there."""

import subprocess
import sys
from importlib.util import module_from_spec
from types import ModuleType
from unittest.mock import patch

import matplotlib.axes
import pytest
import torch
import torchmetrics
from torchmetrics.utilities import imports

from fcos_lightning.late_matplotlib import _Later

NAME = "torchmetrics.utilities.plot"


def imported() -> ModuleType:
    """Make the module once more, as its import does."""
    spec = _Later().find_spec(NAME, torchmetrics.utilities.__path__)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    with patch.dict(sys.modules, {NAME: module}):
        spec.loader.exec_module(module)
    return module


def test_the_import_of_torchmetrics_wants_no_matplotlib() -> None:
    module = imported()
    assert not hasattr(module, "plt") and module._AX_TYPE is object
    assert imports._MATPLOTLIB_AVAILABLE  # as before, for all others


def test_who_plots_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    module = imported()
    plot = module.plot_single_or_multi_val  # as others of torchmetrics have taken it
    for _ in range(2):
        _, axes = plot(torch.tensor(1.0))
        assert isinstance(axes, matplotlib.axes.Axes)
    assert module._AX_TYPE is matplotlib.axes.Axes
    module.plt.close("all")


def test_another_torchmetrics_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torchmetrics.utilities.imports")
    monkeypatch.setitem(sys.modules, "torchmetrics.utilities.imports", None)  # type: ignore[arg-type]
    with pytest.raises(ImportError):  # of its own
        imported()


def test_what_trains_loads_no_fonts() -> None:
    code = (
        "import sys\n"
        "import fcos_lightning.runs.session\n"
        "print([name for name in sys.modules if name.startswith('matplotlib')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
