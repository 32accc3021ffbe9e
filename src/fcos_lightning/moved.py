"""Where modules of version 0.1 are now, so that code and configurations that name them go on.

So are those that pages have named since. An import of the old name gives the module itself under
its new one.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

_ROOT = __name__.rpartition(".")[0]

#: Rooms that modules left, where they went, and under which names.
_MOVES: dict[tuple[str, str], str] = {
    ("checkpoints", "checkpoints.layouts"): "adelaidet detectron2 mmdet official "
    "torchvision=torchvision_fcos",
    ("checkpoints", "checkpoints.translation"): "conventions derive foreign naming",
    ("checkpoints", "storage"): "replacing",
    ("cli", "checkpoints"): "published",
    ("cli", "inference"): "prediction_folder=outputs",
    ("cli", "runs"): "run_folder=folder session summary",
    ("cli", "runs.config"): "plain=description words",
    ("cli", "runs.evaluating"): "evaluating=evaluation_settings",
    ("cli", "runs.objects"): "instantiate",
    ("data", "data"): "index=splits layouts=modules",
    ("data", "data.batches"): "collate dataset loader sampler views",
    ("data", "data.readers"): "coco coco_plain=coco_checked coco_quick voc",
    ("data", "data.shapes"): "shape_scenes=scenes",
    ("data", "data.splits"): "saved_index",
    ("data", "inference"): "sources",
    ("data", "storage"): "archives download progress=bars",
    ("deploy", "inference.engines"): "export=onnx_export runtime=onnx_runtime",
    ("detector", "backbones"): "backbone=build resnet timm_backbone=timm_nets tiny vovnet",
    ("detector", "detector"): "assign=assigners.fcos decode=decoders.nms fcos=dense "
    "focal=losses.focal head=heads.fcos loss=losses.fcos points=grid",
    ("detector", "inference"): "inference=folded merge=views",
    ("detector", "layers"): "deform frozen recompute relu6",
    ("detector", "weights"): "caffe_names reading timm_names weights=files",
    ("evaluation", "evaluation"): "report=output table=detections",
    ("inference", "inference.pictures"): "pixels",
    ("sweeps", "sweeps"): "progress=course report=results",
    ("training", "training"): "evaluate=testing normaliser=moving_positives",
    ("training", "training.callbacks"): "ema evaluation=figures guard keep_last monitor previews "
    "progress=progress_bar",
    ("training", "training.loggers"): "csv_log",
    ("training", "training.ranks"): "agreement cluster",
    ("", ""): "deploy=inference",
    ("", "inference.pictures"): "drawing",
}


def _named(room: str, module: str) -> str:
    return ".".join(part for part in (_ROOT, room, module) if part)


#: Old names of modules, and their names now.
MOVED: dict[str, str] = {
    _named(before, pair.split("=")[0]): _named(now, pair.split("=")[-1])
    for (before, now), pairs in _MOVES.items()
    for pair in pairs.split()
}


class _ByOldName(MetaPathFinder):
    """Finds the modules that have moved; asked after all others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        now = MOVED.get(fullname)
        return None if now is None else spec_from_loader(fullname, _SameModule(fullname, now))


class _SameModule(Loader):
    """Gives the module that is at the new name, as it is."""

    def __init__(self, before: str, now: str) -> None:
        self.before = before
        self.now = now
        self.spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        warnings.warn(f"{spec.name} is {self.now} now", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(self.now)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # which the import machinery has just changed
        room = sys.modules[self.before.rpartition(".")[0]]
        if type(room) is ModuleType:
            room.__class__ = _Room


class _Room(ModuleType):
    """A room with functions that bear old names of modules, as ``detector.decode`` does.

    An import sets the module in its room: without this, in the place of the function.
    """

    def __setattr__(self, name: str, value: object) -> None:
        moved = isinstance(value, ModuleType) and f"{self.__name__}.{name}" in MOVED
        if not (moved and name in self.__dict__):
            super().__setattr__(name, value)


def find_moved() -> None:
    """Let old names be imported from now on."""
    if not any(isinstance(one, _ByOldName) for one in sys.meta_path):
        sys.meta_path.append(_ByOldName())
