"""From files on disk to batches of images and ground truth.

The names below are loaded on first use: reading annotations needs neither Lightning nor
albumentations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fcos_lightning.data.augment import Augmentation, ShorterSide
    from fcos_lightning.data.datamodule import DetectionDataModule
    from fcos_lightning.data.found import (
        AutoDataModule,
        CsvDataModule,
        ShardsDataModule,
        YoloDataModule,
    )
    from fcos_lightning.data.modules import CocoDataModule, ShapesDataModule, VocDataModule

__all__ = [
    "Augmentation",
    "AutoDataModule",
    "CocoDataModule",
    "CsvDataModule",
    "DetectionDataModule",
    "ShapesDataModule",
    "ShardsDataModule",
    "ShorterSide",
    "VocDataModule",
    "YoloDataModule",
]

_HOMES = {
    "Augmentation": "augment",
    "AutoDataModule": "found",
    "CocoDataModule": "modules",
    "CsvDataModule": "found",
    "DetectionDataModule": "datamodule",
    "ShapesDataModule": "modules",
    "ShardsDataModule": "found",
    "ShorterSide": "augment",
    "VocDataModule": "modules",
    "YoloDataModule": "found",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
