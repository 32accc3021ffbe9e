"""From configuration to objects: of plain values, and only of what a configuration may call.

Hydra's own ``instantiate`` merges arguments that are handed over, such as the names of classes,
into the configuration and resolves them there. Here the configuration is resolved first and alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from fcos_lightning.arguments import check_arguments, check_names
from fcos_lightning.errors import UserError
from fcos_lightning.extras import pip_install
from fcos_lightning.printing import first_line
from fcos_lightning.runs.objects.own_runs import remembered
from fcos_lightning.runs.objects.targets import check_trusted, target
from fcos_lightning.storage.run_folder import RunFolder

#: Hydra's words in a node, beside ``_target_``. What is made gets plain lists and dictionaries
#: whatever ``_convert_`` says.
_TARGET, _ARGS, _PARTIAL, _RECURSIVE, _CONVERT = (
    "_target_",
    "_args_",
    "_partial_",
    "_recursive_",
    "_convert_",
)


#: Packages whose annotations say what their classes really take.
_OURS = "fcos_lightning"
_ANNOTATED = (_OURS, "lightning")


def make(
    config: DictConfig,
    key: str,
    /,
    *,
    trusted: Sequence[str] | None = None,
    **more: object,
) -> Any:  # noqa: ANN401
    """Make what ``config[key]`` describes.

    Args:
        config: of which the rest may be referred to.
        key: of the part.
        trusted: packages of the user's own that it may call; None: those of the command line.
        **more: further arguments, which come instead of the configuration's. They are passed on
            as they are: no text in them is a configuration.

    Raises:
        UserError: if a ``_target_`` may not be called, or its arguments do not fit.
    """
    trusted = trusted_packages() if trusted is None else tuple(trusted)
    node = check_part(config, key, trusted)
    return _made(node, key, trusted, more)


def make_group(config: DictConfig, group: str, kind: type) -> list[Any]:
    """Make the parts of a group, such as ``callbacks``; a null entry switches one off.

    Raises:
        UserError: as ``make``, and if one of them is of another kind.
    """
    made: dict[str, Any] = make(config, group) or {}
    for key, value in made.items():
        if value is not None and not isinstance(value, kind):
            raise UserError(
                f"{group}.{key}: gives a {type(value).__name__}, not a {kind.__name__.lower()}"
            )
    return [value for value in made.values() if value is not None]


def check_part(config: DictConfig, key: str, trusted: Sequence[str] | None = None) -> Any:  # noqa: ANN401
    """Return ``config[key]`` as plain values, if every ``_target_`` in it may be called.

    Raises:
        UserError: naming the first that may not, before anything is made.
    """
    node: Any = config.get(key)
    if OmegaConf.is_config(node):
        node = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    trusted = trusted_packages() if trusted is None else tuple(trusted)
    check_trusted(trusted)
    check_targets(node, key, trusted)
    return node


def check_targets(tree: object, key: str, trusted: Sequence[str] = ()) -> None:
    """Refuse a ``_target_`` that may not be called, before any other is.

    Raises:
        UserError: naming the place.
    """
    for place, name in _targets(tree, key):
        target(name, place, trusted)


def trusted_packages() -> tuple[str, ...]:
    """Return the packages that ``trusted_packages=`` of the command line names.

    Of a run that goes on without that word, those that it was begun with by this user in this
    place. A file in its folder cannot name any, be it a stranger's: what it calls would be its own
    choice.
    """
    if not HydraConfig.initialized():
        return ()
    words: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    given = {word.split("=", 1)[0].lstrip("+"): word for word in words}
    if "trusted_packages" in given:
        value = _value_of(given["trusted_packages"])
        items = value if isinstance(value, list) else [] if value is None else [value]
        return tuple(str(item) for item in items)
    resumed = _value_of(given["resume"]) if "resume" in given else None
    return () if resumed is None else remembered(RunFolder(Path(str(resumed)).absolute()))


def _value_of(word: str) -> Any:  # noqa: ANN401  # a plain value
    return OverridesParser.create().parse_override(word).value()


def _targets(tree: object, key: str) -> Iterator[tuple[str, object]]:
    if isinstance(tree, dict):
        if _TARGET in tree:
            yield key, tree[_TARGET]
        for name, value in tree.items():
            yield from _targets(value, f"{key}.{name}")
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _targets(value, f"{key}[{index}]")


def _made(
    node: object, place: str, trusted: Sequence[str], more: dict[str, object] | None = None
) -> Any:  # noqa: ANN401
    """Make a node of plain values, its inner nodes first."""
    if isinstance(node, list):
        return [_made(item, f"{place}[{index}]", trusted) for index, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    if _TARGET not in node:
        return {key: _made(item, f"{place}.{key}", trusted) for key, item in node.items()}
    inner = {
        key: item
        for key, item in node.items()
        if key not in (_TARGET, _PARTIAL, _RECURSIVE, _CONVERT)
    }
    if node.get(_RECURSIVE, True):
        inner = {key: _made(item, f"{place}.{key}", trusted) for key, item in inner.items()}
    args = inner.pop(_ARGS, [])
    if not isinstance(args, list):
        raise UserError(f"{place}._args_={args}: give a list")
    called = target(node[_TARGET], place, trusted)
    options = {str(key): value for key, value in {**inner, **(more or {})}.items()}
    package = called.__module__.split(".")[0]
    # Lightning's hand on to others as well: DDPStrategy to torch's wrapper of the model.
    check_names(called, set(inner) - set(more or {}), place, bases_too=package == _OURS)
    if package in _ANNOTATED:
        check_arguments(called, options, place)
    if node.get(_PARTIAL):
        return partial(called, *args, **options)
    return _called(called, args, options, place)


def _called(
    function: Callable[..., Any], args: list[Any], options: dict[str, Any], place: str
) -> Any:  # noqa: ANN401
    try:
        return function(*args, **options)
    except ModuleNotFoundError as error:
        extra = place.removeprefix("logger.")
        needs = (
            pip_install(extra) if extra in ("mlflow", "wandb") else "install what it needs first"
        )
        raise UserError(f"{place}: {first_line(error)}; {needs}") from error
    except Exception as error:  # whatever a library says to arguments that do not fit
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from None
        raise UserError(f"{place}: {type(error).__name__}: {first_line(error)}") from error
