"""Whether what a checkpoint holds is of the kind that a run itself would write there.

Lightning and torch put a checkpoint's values where theirs are, whatever they are: text for a number
of steps, a moment of another size than its weight, which a kernel reads all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from fcos_lightning.printing import printable
from fcos_lightning.weights.reading import Inert

#: Of torch's optimisers, what a kernel reads as if it had the size of its weight.
_AS_WEIGHT = {
    "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "acc_delta",
    "grad_avg", "sum", "exp_inf", "prev", "step_size", "ax",
}  # fmt: skip
_MOST = 2**53


class Unfit(Exception):
    """A value is not as it has to be; the message says which and how."""


def check_content(content: Mapping[str, Any], own: Mapping[str, Tensor]) -> None:
    """Check a checkpoint's form, and its weights beside those of the run.

    Args:
        content: of the checkpoint.
        own: the weights that the run has, by name.

    Raises:
        Unfit: if it is another model's, or another kind of file.
    """
    try:
        _check_plain(content, "content")
    except RecursionError:
        raise Unfit("content is nested too deeply") from None
    _check_weights(content.get("state_dict"), own, "state_dict")
    if "current_model_state" in content:
        _check_weights(content["current_model_state"], own, "current_model_state")
    averaging = content.get("averaging_state", {})
    forms = {"loops": content.get("loops"), "callbacks": content.get("callbacks")}
    for key, value in {**forms, "averaging_state": averaging}.items():
        if not isinstance(value, dict):
            raise Unfit(f"{key} has to be a mapping")
    for value in averaging.values():
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise Unfit("averaging_state has to hold single numbers")
    _check_logged(content.get("fcos_logged"))


def _check_plain(tree: object, place: str) -> None:
    """Refuse objects of classes that were not read."""
    if isinstance(tree, Inert):
        raise Unfit(f"{place} holds a {printable(tree.name)}, which is not read")
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            _check_plain(key, place)
            _check_plain(value, printable(key) if place == "content" else place)
    elif isinstance(tree, list | tuple | set | frozenset):
        for value in tree:
            _check_plain(value, place)


def _check_weights(found: object, own: Mapping[str, Tensor], key: str) -> None:
    if not isinstance(found, dict):
        raise Unfit(f"{key} has to be a mapping")
    other = sorted({str(name) for name in set(found) ^ set(own)})
    other += sorted(
        name
        for name in set(found) & set(own)
        if not isinstance(found[name], Tensor)
        or found[name].shape != own[name].shape
        or found[name].is_sparse
        or found[name].is_complex() != own[name].is_complex()
    )
    if other:
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise Unfit(f"{key} does not fit this run's model: {printable(other[0])}{more}")


def _check_logged(logged: object) -> None:
    """How far the logs were, which are cut there."""
    if logged is None:
        return
    if isinstance(logged, dict):
        steps, rows = logged.get("steps"), logged.get("csv_rows")
        if (
            type(steps) is int
            and steps >= 0
            and (rows is None or (type(rows) is int and rows >= 0))
        ):
            return
    raise Unfit("fcos_logged has to hold the whole numbers steps and csv_rows")


def check_callback(callback: L.Callback, state: object) -> None:
    """Check a callback's state.

    Raises:
        Unfit: if a number or text of the callback's own is something else.
    """
    place = f"callbacks of {printable(callback.state_key.split('{')[0])}"
    if not isinstance(state, dict):
        raise Unfit(f"{place} has to be a mapping")
    for key, expected in callback.state_dict().items():
        if key in state and isinstance(expected, bool | int | float | str):
            compare(state[key], expected, f"{place}.{key}")
    if not isinstance(callback, ModelCheckpoint):
        return
    kept = state.get("best_k_models", {})
    scores = [state.get(key) for key in ("best_model_score", "current_score", "kth_value")]
    single = [value for value in scores if value is not None]
    if isinstance(kept, dict):
        single += kept.values()
    for value in single:
        if not isinstance(value, Tensor | float | int) or getattr(value, "numel", int)() > 1:
            raise Unfit(f"{place} has to hold single numbers")
    names = [*kept, state.get("kth_best_model_path") or "", state.get("best_model_path") or ""]
    if not isinstance(kept, dict) or not all(isinstance(name, str) for name in names):
        raise Unfit(f"{place}.best_k_models has to hold paths with numbers")
    full = 0 < callback.save_top_k <= len(kept)
    if (full or names[-2]) and names[-2] not in kept:
        raise Unfit(f"{place}.kth_best_model_path is none of its best_k_models")


def check_optimizer(optimizer: Any, state: object) -> None:  # noqa: ANN401  # torch's or a wrapper
    """Check an optimiser's state.

    Raises:
        Unfit: if it is of other parameters, or a value is of another kind or size.
    """
    place = "optimizer_states"
    if not isinstance(state, dict) or set(state) != {"state", "param_groups"}:
        raise Unfit(f"{place} has to hold state and param_groups")
    compare(state["param_groups"], optimizer.state_dict()["param_groups"], f"{place}.param_groups")
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    if not isinstance(state["state"], dict) or not set(state["state"]) <= set(numbers):
        raise Unfit(f"{place}.state has to be of this run's parameters")
    for number, weight in zip(numbers, weights, strict=True):
        values = state["state"].get(number, {})
        if not isinstance(values, dict):
            raise Unfit(f"{place}.state.{number} has to be a mapping")
        for key, value in values.items():
            fits = value is None or isinstance(value, Tensor | float | int)
            if key in _AS_WEIGHT and value is not None:
                fits = _dense(value) and value.shape == weight.shape
            elif key == "step":
                fits = isinstance(value, float | int) or (_dense(value) and value.numel() == 1)
            if not fits:
                raise Unfit(f"{place}.state.{number}.{printable(key)} is of another size or kind")


def _dense(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and not value.is_sparse


def check_paths(tree: object) -> None:
    """Refuse a path with ``..``: files that a callback keeps it may also remove.

    Raises:
        Unfit: naming it.
    """
    if isinstance(tree, dict):
        for key, value in tree.items():
            check_paths(key)
            check_paths(value)
    elif isinstance(tree, list | tuple):
        for value in tree:
            check_paths(value)
    elif isinstance(tree, str) and ".." in PurePath(tree).parts:
        raise Unfit(f"callbacks name {printable(tree)}, which leads elsewhere")


def compare(found: object, expected: object, place: str) -> None:
    """Refuse a value of another kind than the run itself would write there.

    Of mappings, what other versions of Lightning and torch write is dropped.

    Args:
        found: in the checkpoint; changed in place.
        expected: what the run has there.
        place: for messages.

    Raises:
        Unfit: naming the place.
    """
    if isinstance(expected, Mapping):
        if not isinstance(found, dict):
            raise Unfit(f"{place} has to be a mapping")
        for key in list(found):
            if key in expected:
                compare(found[key], expected[key], f"{place}.{key}")
            elif expected:
                del found[key]
        lacking = [k for k in expected if k not in found and type(expected[k]) is int]
        if lacking:
            raise Unfit(f"{place} lacks {lacking[0]}")
    elif isinstance(expected, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(expected):
            raise Unfit(f"{place} has to be a list of {len(expected)}")
        for one, other in zip(found, expected, strict=True):
            compare(one, other, place)
    elif isinstance(expected, bool):
        if not isinstance(found, bool):
            raise Unfit(f"{place} has to be true or false")
    elif isinstance(expected, int):
        if type(found) is not int or not -1 <= found < _MOST:
            raise Unfit(f"{place} has to be a whole number")
    elif isinstance(expected, float):
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise Unfit(f"{place} has to be a number")
    elif isinstance(expected, str | Tensor):
        if not isinstance(found, type(expected)):
            raise Unfit(f"{place} is of another kind")
    elif expected is None and not (found is None or isinstance(found, bool)):
        raise Unfit(f"{place} is of another kind")
