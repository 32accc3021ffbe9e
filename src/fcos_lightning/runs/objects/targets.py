"""What a ``_target_`` of a configuration may name, judged by what it turns out to be.

Of libraries and of this project these are classes with a role in a run: an optimiser, a callback, a
logger and so on. A whole package cannot be allowed: torch alone holds functions that run programs,
unpickle files and write anywhere. A name is looked up first and judged then, so that neither an
alias nor a name inside another thing leads past the rules. Packages of the user's own are allowed
whole, where the command line trusts them.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from fcos_lightning.errors import UserError
from fcos_lightning.printing import first_line

#: What ``_target_`` may be, beside its kind: a module and one name in it.
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)


@dataclass(frozen=True)
class Role:
    """Classes that a configuration may call.

    Attributes:
        name: for messages.
        base: a class has the role if it is this one or is derived from it; where it lies.
        homes: packages or modules that define such classes.
    """

    name: str
    base: str
    homes: tuple[str, ...]


ROLES = (
    Role("optimiser", "torch.optim.Optimizer", ("torch",)),
    Role("learning-rate scheduler", "torch.optim.lr_scheduler.LRScheduler", ("torch",)),
    Role(
        "layer",
        "torch.nn.Module",
        (
            "torch.nn.modules",
            "torchvision.ops",
            "fcos_lightning.detector",
            "fcos_lightning.backbones",
            "fcos_lightning.layers",
        ),
    ),
    Role("part of a detector", "fcos_lightning.detector.parts.Part", ("fcos_lightning.detector",)),
    Role("trainer", "lightning.pytorch.Trainer", ("lightning.pytorch.trainer",)),
    Role("callback", "lightning.pytorch.Callback", ("lightning", "fcos_lightning")),
    Role("logger", "lightning.pytorch.loggers.Logger", ("lightning", "fcos_lightning")),
    Role("strategy", "lightning.pytorch.strategies.Strategy", ("lightning",)),
    Role("accelerator", "lightning.pytorch.accelerators.Accelerator", ("lightning",)),
    Role("profiler", "lightning.pytorch.profilers.Profiler", ("lightning",)),
    Role("precision plugin", "lightning.pytorch.plugins.Precision", ("lightning",)),
    Role("checkpoint plugin", "lightning.pytorch.plugins.CheckpointIO", ("lightning",)),
    Role("layer plugin", "lightning.pytorch.plugins.LayerSync", ("lightning",)),
    Role(
        "cluster environment",
        "lightning.pytorch.plugins.environments.ClusterEnvironment",
        ("lightning",),
    ),
    Role("transform", "albumentations.BasicTransform", ("albumentations", "fcos_lightning")),
    Role("list of transforms", "albumentations.BaseCompose", ("albumentations",)),
    Role("mix of images", "fcos_lightning.data.mixing.scene.Mix", ("fcos_lightning",)),
    Role("data module", "fcos_lightning.data.DetectionDataModule", ("fcos_lightning",)),
)

#: Of this project, what a configuration calls beside classes with a role.
PARTS = (
    "fcos_lightning.build_detector",
    "fcos_lightning.build_fcos",
    "fcos_lightning.data.Augmentation",
    "fcos_lightning.data.MixedAugmentation",
    "fcos_lightning.detector.build_backbone",
    "fcos_lightning.training.schedule.Schedule",
)

#: Only what lies in these is imported to be judged.
PACKAGES = ("torch", "torchvision", "lightning", "albumentations", "fcos_lightning")


def target(name: object, place: str, trusted: Sequence[str] = ()) -> Callable[..., Any]:
    """Return what a ``_target_`` names.

    Args:
        name: its value, such as ``torch.optim.SGD``.
        place: where it stands, for messages.
        trusted: packages of the user's own, of which any class and function may be called.

    Raises:
        UserError: if there is no such thing, or a configuration may not call it.
    """
    where = f"{place}._target_={name}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(f"{where}: give the name of a class with its module, as torch.optim.SGD")
    package = name.split(".")[0]
    own = next((one for one in trusted if _inside(name, one)), None)
    if own is not None:
        return _of_users_package(name, own, where)
    if package not in PACKAGES:
        if package in sys.stdlib_module_names:
            remedy = "it is Python's own, of which a configuration needs nothing"
        else:
            remedy = f"if it is yours, add trusted_packages=[{package}] to the command line"
        raise UserError(
            f"{where}: {package} is not trusted to be called from a configuration; {remedy}"
        )
    return _of_library(name, where)


def check_trusted(packages: Sequence[str]) -> None:
    """Refuse to trust what is nobody's own.

    Raises:
        UserError: naming it.
    """
    for package in packages:
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", package, re.ASCII):
            raise UserError(f"trusted_packages: {package} is no name of a package")
        if package.split(".")[0] in sys.stdlib_module_names:
            raise UserError(
                f"trusted_packages=[{package}]: is Python's own; give the packages that hold your "
                "parts"
            )


def _inside(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _of_library(name: str, where: str) -> Callable[..., Any]:
    """Return a class with a role, or a part of ours: one public name of a module."""
    module_name, _, attribute = name.rpartition(".")
    if any(part.startswith("_") for part in name.split(".")):
        raise UserError(f"{where}: is private to its package; a configuration may not call it")
    if module_name.startswith("albumentations"):
        import fcos_lightning.data.augment  # noqa: F401  # which keeps it from asking the network
    found = getattr(_module(module_name, where), attribute, None)
    if found is None:
        raise UserError(f"{where}: there is no {attribute} in {module_name}")
    home = getattr(found, "__module__", None)
    # By identity: the same thing may stand in several modules under its name.
    if _inside(name, "fcos_lightning") and any(found is _named(part) for part in PARTS):
        return found  # type: ignore[no-any-return]
    if isinstance(found, type) and isinstance(home, str):
        for role in ROLES:
            if not any(_inside(home, one) for one in role.homes):
                continue
            # A class of another package that is at hand in this one is named where it belongs.
            if issubclass(found, _base(role.base)) and _inside(home, name.split(".")[0]):
                return found
    raise UserError(
        f"{where}: has no role in a run, so a configuration may not call it; it may call "
        "optimisers, schedulers, layers, callbacks, loggers, strategies, plugins and profilers "
        "of Lightning, transforms, and the parts of fcos_lightning"
    )


def _of_users_package(name: str, package: str, where: str) -> Callable[..., Any]:
    """Return a class or function that a trusted package defines, also one inside a class."""
    parts = name.split(".")
    found: Any = None
    for length in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError as error:
            # The module itself is absent, rather than one that it imports.
            if error.name is not None and _inside(".".join(parts[:length]), error.name):
                continue
            raise UserError(f"{where}: {first_line(error)}; install what it needs first") from error
        except Exception as error:  # whatever the user's code raises
            raise UserError(
                f"{where}: importing it ended in {type(error).__name__}: {first_line(error)}"
            ) from error
        for attribute in parts[length:]:
            found = getattr(found, attribute, None)
        break
    if found is None:
        raise UserError(
            f"{where}: there is no such class or function; is its folder in PYTHONPATH?"
        )
    home = getattr(found, "__module__", None)
    if isinstance(found, ModuleType) or not callable(found):
        raise UserError(f"{where}: is no class and no function")
    if not isinstance(home, str) or not _inside(home, package):
        raise UserError(
            f"{where}: is defined in {home}, not in {package}, which alone is trusted; name it "
            "where it is defined"
        )
    return found  # type: ignore[no-any-return]


def _module(name: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and _inside(name, error.name):
            raise UserError(f"{where}: there is no module {error.name}") from error
        raise UserError(f"{where}: {first_line(error)}; install what it needs first") from error
    except Exception as error:  # a library that does not fit this machine
        raise UserError(
            f"{where}: importing {name} ended in {type(error).__name__}: {first_line(error)}"
        ) from error


@cache
def _named(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _base(name: str) -> type:
    base = _named(name)
    assert isinstance(base, type)
    return base
