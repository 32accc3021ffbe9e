"""From files on disk to batches of images and ground truth.

The names below are loaded on first use: reading annotations needs neither Lightning nor
albumentations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fcos_lightning.data.augment import Augmentation, LargeScaleJitter, ShorterSide
    from fcos_lightning.data.datamodule import DetectionDataModule
    from fcos_lightning.data.found import (
        AutoDataModule,
        CsvDataModule,
        ShardsDataModule,
        YoloDataModule,
    )
    from fcos_lightning.data.mixing.copy_paste import CopyPaste
    from fcos_lightning.data.mixing.mixed import MixedAugmentation
    from fcos_lightning.data.mixing.mixup import MixUp
    from fcos_lightning.data.mixing.mosaic import Mosaic
    from fcos_lightning.data.modules import CocoDataModule, ShapesDataModule, VocDataModule
    from fcos_lightning.data.tile_crop import TileCrop

__all__ = [
    "Augmentation",
    "AutoDataModule",
    "CocoDataModule",
    "CopyPaste",
    "CsvDataModule",
    "DetectionDataModule",
    "LargeScaleJitter",
    "MixUp",
    "MixedAugmentation",
    "Mosaic",
    "ShapesDataModule",
    "ShardsDataModule",
    "ShorterSide",
    "TileCrop",
    "VocDataModule",
    "YoloDataModule",
]

_HOMES = {
    "Augmentation": "augment",
    "AutoDataModule": "found",
    "CocoDataModule": "modules",
    "CopyPaste": "mixing.copy_paste",
    "CsvDataModule": "found",
    "DetectionDataModule": "datamodule",
    "LargeScaleJitter": "augment",
    "MixUp": "mixing.mixup",
    "MixedAugmentation": "mixing.mixed",
    "Mosaic": "mixing.mosaic",
    "ShapesDataModule": "modules",
    "ShardsDataModule": "found",
    "ShorterSide": "augment",
    "TileCrop": "tile_crop",
    "VocDataModule": "modules",
    "YoloDataModule": "found",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
