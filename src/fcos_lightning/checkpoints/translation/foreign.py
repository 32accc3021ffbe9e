"""Checkpoints of other projects: which layout a file has, and the file in our terms."""

from __future__ import annotations

import pkgutil
from collections.abc import Collection, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from fcos_lightning.checkpoints import layouts
from fcos_lightning.checkpoints.fitting import check_numbers, without_memory
from fcos_lightning.checkpoints.translation.conventions import Source, Translation
from fcos_lightning.checkpoints.translation.derive import with_masks, with_offsets
from fcos_lightning.errors import UserError, shown
from fcos_lightning.printing import some_of
from fcos_lightning.weights.files import weights_in


class Layout(Protocol):
    """What a file about a foreign layout defines."""

    NAME: str
    RECIPES: tuple[str, ...]

    def recognises(self, keys: Collection[str]) -> bool:
        """Tell by the keys whether a file is of this layout."""

    def translate(self, source: Source, recipe: str | None) -> Translation:
        """Return a file of this layout in our terms; without a recipe, the layout's default."""


#: A new layout is one more file in ``layouts/``. Each is recognised by keys that no other has.
LAYOUTS: tuple[Layout, ...] = tuple(
    cast("Layout", import_module(f"{layouts.__name__}.{one.name}"))
    for one in pkgutil.iter_modules(layouts.__path__)
)


def translated(
    content: object, path: str | Path, recipe: str | None = None
) -> tuple[str, Translation] | None:
    """Return the layout's name and the translation of a foreign file; None for unknown keys.

    Args:
        content: of the file, as ``read_file`` gives it.
        path: of the file, for messages.
        recipe: one of the layout's, where its tensors leave a choice; None: its default.

    Raises:
        UserError: listing keys that are left over or missing; or if the layout has no such recipe.
    """
    found = weights_in(content)
    layout = next((layout for layout in LAYOUTS if layout.recognises(found)), None)
    if layout is None:
        return None
    if recipe is not None and recipe not in layout.RECIPES:
        raise UserError(
            f"recipe={recipe}: checkpoint {path} is of the {layout.NAME} layout, whose recipes are",
            choices=list(layout.RECIPES),
        )
    try:
        translation = layout.translate(_source(content, found), recipe)
        weights = with_masks(with_offsets(translation.weights))
        complete = _completed(translation.spec, weights)
    except UserError as error:
        raise UserError(f"checkpoint {path}, of the {layout.NAME} layout: {error}") from None
    except Exception as error:  # shapes and texts that no detector of the layout has
        raise UserError(
            f"checkpoint {path}, of the {layout.NAME} layout: no detector can be made of it "
            f"({type(error).__name__}: {shown(str(error), 200)[1:-1]})"
        ) from error
    return layout.NAME, Translation(translation.spec, complete, translation.sides)


def _source(content: object, weights: Mapping[str, Tensor]) -> Source:
    """Look for what files of mmdetection say in text: settings, and names of classes."""
    meta = content.get("meta") if isinstance(content, Mapping) else None
    if not isinstance(meta, Mapping):
        return Source(weights)

    def text_of(*keys: str) -> str:
        return next((meta[key] for key in keys if isinstance(meta.get(key), str)), "")

    text = text_of("cfg", "config")
    version = text_of("mmdet_version") or ("3" if text_of("mmengine_version") else "")
    described = meta.get("dataset_meta")
    described = described if isinstance(described, Mapping) else {}
    given = (described.get("classes"), described.get("CLASSES"), meta.get("CLASSES"))
    names = next((names for names in given if isinstance(names, list | tuple)), None)
    if names is None or not all(isinstance(name, str) for name in names):
        return Source(weights, text, version=version)
    return Source(weights, text, tuple(names), version)


def _completed(spec: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return exactly the weights that a detector of this spec has.

    Left out: counters of batches where BatchNorm is frozen. Filled in: such counters, scales of 1
    where the source has none, biases of 0 where a deformable convolution of a tower has none.

    Raises:
        UserError: listing what is missing, left over or of another shape.
    """
    own = without_memory(spec, len(weights)).state_dict()
    given = {k: v for k, v in weights.items() if k in own or not k.endswith("num_batches_tracked")}
    _check(given, {key: value for key, value in own.items() if key in given})
    for key, value in own.items():
        if key in given:
            continue
        after_offset = f"{key.removesuffix('bias')}offset.weight" in own
        if key.endswith("num_batches_tracked") or (key.endswith(".bias") and after_offset):
            given[key] = torch.zeros(value.shape, dtype=value.dtype)
        elif key == "head.scales" and not spec["head"]["level_scales"]:
            given[key] = torch.ones(value.shape)
    _check(given, own)
    return given


def _check(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    problems = {
        "missing": sorted(set(own) - set(given)),
        "left over": sorted(set(given) - set(own)),
        "of another shape": sorted(
            key for key in set(own) & set(given) if own[key].shape != given[key].shape
        ),
    }
    found = [
        f"{len(keys)} {what}: {some_of(keys, room=60)}" for what, keys in problems.items() if keys
    ]
    if found:
        raise UserError(f"under our names, weights are {'; '.join(found)}")
    check_numbers(own, given)
