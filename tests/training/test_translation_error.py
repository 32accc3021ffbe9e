"""What torch.compile fails with, which it names only in private."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._inductor.exc import InductorError

from fcos_lightning.training.compiling import TranslationError


def broken(graph: Any, inputs: Any) -> Callable[..., Any]:
    raise ArithmeticError("no compiler")


def breaks(x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x  # depends on values


def test_translation_error() -> None:
    torch.compiler.reset()
    with pytest.raises(TranslationError, match="no compiler"):
        torch.compile(torch.sin, backend=broken)(torch.ones(2))
    with pytest.raises(TranslationError):
        torch.compile(breaks, backend="eager", fullgraph=True)(torch.ones(2))
    assert issubclass(InductorError, TranslationError)  # where there is no C++ compiler
