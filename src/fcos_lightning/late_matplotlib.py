"""Has torchmetrics import matplotlib when something is plotted, and not before.

Lightning imports torchmetrics, which imports matplotlib's pyplot for the sake of ``Metric.plot``.
That costs a third of a second and a file in the user's cache, in commands that draw nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

_MODULE = "torchmetrics.utilities.plot"
#: Beyond what torchmetrics promises: where these are no more, its own import is left as it is.
_AVAILABLE = "_MATPLOTLIB_AVAILABLE"
_ASKS_FIRST = "_error_on_missing_matplotlib"


class _Later(MetaPathFinder):
    """Finds the module that wants matplotlib; asked before all others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODULE:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is None or type(spec.loader) is not SourceFileLoader or spec.origin is None:
            return spec
        spec.loader = _Loader(fullname, spec.origin)
        return spec


class _Loader(SourceFileLoader):
    """Gives the module as it is without matplotlib, until one of its functions is called."""

    def exec_module(self, module: ModuleType) -> None:
        imports = sys.modules.get("torchmetrics.utilities.imports")
        there = getattr(imports, _AVAILABLE, None)
        if imports is None or there is None:
            super().exec_module(module)
            return
        setattr(imports, _AVAILABLE, False)
        try:
            super().exec_module(module)
        finally:
            setattr(imports, _AVAILABLE, there)
        if not hasattr(module, _ASKS_FIRST):
            super().exec_module(module)
            return

        def now() -> None:
            # What others took of the module looks up its names here, and finds the new ones.
            SourceFileLoader.exec_module(self, module)
            getattr(module, _ASKS_FIRST)()

        setattr(module, _ASKS_FIRST, now)


def import_matplotlib_late() -> None:
    """See to torchmetrics' import of matplotlib from now on."""
    if not any(isinstance(one, _Later) for one in sys.meta_path):
        sys.meta_path.insert(0, _Later())
