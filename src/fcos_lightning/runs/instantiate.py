"""From configuration to objects, and only to objects of packages that are trusted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from fcos_lightning.errors import first_line
from fcos_lightning.errors import UserError

#: ``_target_`` may name things of these packages, and of those in ``trusted_packages``.
TRUSTED = ("torch", "torchvision", "lightning", "albumentations", "fcos_lightning")


def make(config: DictConfig, key: str, /, **more: object) -> Any:  # noqa: ANN401
    """Make what ``config[key]`` describes, with further arguments.

    Raises:
        UserError: if a ``_target_`` is not of a trusted package, or its arguments do not fit.
    """
    node = config[key]
    check_targets(
        OmegaConf.to_container(node, resolve=True), key, config.get("trusted_packages") or ()
    )
    try:
        return instantiate(node, **more, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        while cause is not None:
            if isinstance(cause, UserError):
                raise cause from None
            cause = cause.__cause__
        raise UserError(f"{key}: {_explain(error)}") from error


def check_targets(tree: object, key: str, trusted: Iterable[str]) -> None:
    """Refuse a ``_target_`` outside the trusted packages, before anything is imported.

    Raises:
        UserError: naming the key and how to allow it.
    """
    packages = (*TRUSTED, *trusted)
    for place, target in _targets(tree, key):
        package = target.split(".")[0]
        if package not in packages:
            raise UserError(
                f"{place}._target_={target}: {package} is not trusted to be called from a "
                f"configuration; if it is yours, add trusted_packages=[{package}]"
            )


def _targets(tree: object, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, dict):
        if "_target_" in tree:
            yield key, str(tree["_target_"])
        for name, value in tree.items():
            yield from _targets(value, f"{key}.{name}")
    elif isinstance(tree, Sequence) and not isinstance(tree, str):
        for index, value in enumerate(tree):
            yield from _targets(value, f"{key}[{index}]")


def _explain(error: InstantiationException) -> str:
    """Keep the cause of Hydra's error; its own first line only names the target."""
    cause: BaseException | None = error.__cause__
    while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, ModuleNotFoundError):
        return f"{first_line(cause)}; install what it needs first"
    if cause is None:
        return " ".join(str(error).split())
    return f"{type(cause).__name__}: {first_line(cause)}"
