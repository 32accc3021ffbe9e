"""From files on disk to batches of images and ground truth.

The names below are loaded on first use: reading annotations needs neither Lightning nor
albumentations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fcos_lightning.data.augment import Augmentation, ShorterSide
    from fcos_lightning.data.datamodule import (
        CocoDataModule,
        DetectionDataModule,
        ShapesDataModule,
        VocDataModule,
    )

__all__ = [
    "Augmentation",
    "CocoDataModule",
    "DetectionDataModule",
    "ShapesDataModule",
    "ShorterSide",
    "VocDataModule",
]

_HOMES = {
    name: "fcos_lightning.data.augment"
    if name in ("Augmentation", "ShorterSide")
    else "fcos_lightning.data.datamodule"
    for name in __all__
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
