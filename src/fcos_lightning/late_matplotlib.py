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
from typing import ClassVar

_MODULE = "torchmetrics.utilities.plot"
#: Beyond what torchmetrics promises: where these are no more, its own import is left as it is.
_AVAILABLE = "_MATPLOTLIB_AVAILABLE"
_ASKS_FIRST = "_error_on_missing_matplotlib"


class FindsOne(MetaPathFinder):
    """Finds one module, and has it loaded in a way of one's own; asked before all others.

    Attributes:
        module: its name.
        loader: of its source.
    """

    module: ClassVar[str]
    loader: ClassVar[type[SourceFileLoader]]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how the module is loaded; None of any other."""
        if fullname != self.module:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is None or type(spec.loader) is not SourceFileLoader or spec.origin is None:
            return spec
        spec.loader = self.loader(fullname, spec.origin)
        return spec

    @classmethod
    def begin(cls) -> None:
        """See to the module from now on."""
        if not any(isinstance(one, cls) for one in sys.meta_path):
            sys.meta_path.insert(0, cls())


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


class _Later(FindsOne):
    """Finds the module that wants matplotlib."""

    module = _MODULE
    loader = _Loader


def import_matplotlib_late() -> None:
    """See to torchmetrics' import of matplotlib from now on."""
    _Later.begin()
