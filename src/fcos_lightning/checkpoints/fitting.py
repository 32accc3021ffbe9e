"""Whether weights are those of a detector, found out before the detector takes memory.

A detector is made on torch's ``meta`` device first, where tensors have a shape and no numbers. So
a description may ask for a billion classes: what it costs is bounded by the weights that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registration
from torch.overrides import TorchFunctionMode

from fcos_lightning.detector import DenseDetector, build_fcos
from fcos_lightning.errors import UserError, shown
from fcos_lightning.printing import some_of

#: Modules, parameters and buffers that may be made for each weight: activations, containers, and
#: what is left out again, as classifiers and stages that nobody reads. Further, how many may be
#: made for the smallest of files and for the largest.
_MADE_FOR_ONE, _MADE_ANYWAY, _MADE_AT_MOST = 8, 3_000, 100_000

#: What fills a tensor with random numbers; of these, torch.nn.init's are called with keywords.
_RANDOM = (
    *(Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_),
    *(nn.init.kaiming_normal_, nn.init.kaiming_uniform_),
    *(nn.init.xavier_normal_, nn.init.xavier_uniform_),
)


class _TooMany(Exception):
    """More parts are being made than weights are there for."""


def check_fit(spec: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not exactly those of the detector a description is about.

    Raises:
        UserError: if no detector can be made of the description, or the weights do not fit it.
    """
    check_same(without_memory(spec, len(weights)).state_dict(), weights)


def without_memory(spec: Mapping[str, Any], most_weights: int) -> DenseDetector:
    """Return a detector whose tensors have shapes and no numbers.

    Args:
        spec: arguments of ``build_fcos``.
        most_weights: how many tensors there are for it.

    Raises:
        UserError: if no detector can be made of the description.
    """
    try:
        with torch.device("meta"), Unfilled(), _at_most(most_weights):
            return build_fcos(**spec)
    except UserError:
        raise
    except _TooMany:
        raise UserError(
            f"its description is of a detector with far more than its {most_weights} weights"
        ) from None
    except Exception as error:  # numbers that torch refuses in one of many ways
        raise UserError(
            f"no detector can be made of its description ({type(error).__name__}: "
            f"{shown(str(error), 200)[1:-1]})"
        ) from error


def check_same(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Refuse weights with other names or shapes, or other kinds of numbers, than a detector's.

    Raises:
        UserError: naming some.
    """
    missing, unknown = sorted(set(own) - set(given)), sorted(set(given) - set(own))
    other = sorted(key for key in set(own) & set(given) if own[key].shape != given[key].shape)
    problems = {"missing": missing, "unknown": unknown, "of another shape": other}
    found = [f"{len(keys)} {what} ({some_of(keys, 2)})" for what, keys in problems.items() if keys]
    if found:
        raise UserError(f"weights do not fit the model: {', '.join(found)}")
    check_numbers(own, given)


def check_numbers(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Refuse weights of a kind of numbers that torch would make others of in silence.

    Raises:
        UserError: naming the first.
    """
    for key, value in given.items():
        if key in own and not _same_kind(own[key], value):
            raise UserError(
                f"its weight {shown(key)[1:-1]} is of {value.dtype}, which is not what the model's "
                f"{own[key].dtype} can be made of"
            )


def fits(own: Tensor, given: Tensor) -> bool:
    """Tell whether a tensor can take the place of another, by its shape and kind of numbers."""
    return own.shape == given.shape and _same_kind(own, given)


def _same_kind(own: Tensor, given: Tensor) -> bool:
    return given.is_floating_point() if own.is_floating_point() else not given.is_complex()


@contextmanager
def _at_most(weights: int) -> Iterator[None]:
    """Count what is registered with modules, and stop where that is out of proportion."""
    left = min(_MADE_FOR_ONE * weights + _MADE_ANYWAY, _MADE_AT_MOST)

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise _TooMany

    hooks: list[Callable[[Callable[..., None]], Any]] = [
        registration.register_module_module_registration_hook,
        registration.register_module_parameter_registration_hook,
        registration.register_module_buffer_registration_hook,
    ]
    handles = [register(count) for register in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Unfilled(TorchFunctionMode):
    """Leaves out the random numbers that a net starts with, where its weights come from a file.

    They take most of the time in which a detector is made. The other way round, nets of timm look
    at the rates of dropout that they work out by ``linspace``, so these are numbers in any case.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        options = dict(kwargs or {})
        if func in _RANDOM:
            return args[0] if args else options["tensor"]
        if func is torch.linspace:
            options.setdefault("device", "cpu")
        return func(*args, **options)
