"""The label mappings of other methods on the same net, from the files of ``conf/method``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import hydra
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.detector import DenseDetector, build_detector
from fcos_lightning.errors import UserError
from fcos_lightning.explanation.settings import Setting, mapping_of, target_of
from fcos_lightning.runs.config.composed import config_dir

#: What a method says, beside the net.
_PARTS = ("grid", "head", "assigner", "loss", "decoder")
#: Of the pyramid's options those that are the net's and not a method's.
_OF_NET = ("channels", "levels", "p6_from", "relu_before_p7", "merge")


def choices_of(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the files of ``conf/`` that a checkpoint's mapping is like, where there are any."""
    choices = {}
    wanted = (checkpoint.spec.get("assigner") or {}).get("name")
    for name in sorted(method_names(), key=len):
        file = OmegaConf.load(config_dir() / "method" / f"{name}.yaml")
        assigner: Any = OmegaConf.select(file, "assigner.name")
        if assigner is not None and assigner == wanted:
            choices["method"] = name
            break
    if (checkpoint.spec.get("backbone") or {}).get("name") == "tiny":  # which has sizes of its own
        choices["model"] = "tiny"
    return choices


def method_names() -> list[str]:
    """Return the files of ``conf/method``."""
    return sorted(file.stem for file in (config_dir() / "method").glob("*.yaml"))


def other_methods(base: Setting, detector: DenseDetector, model: str | None) -> dict[str, Setting]:
    """Return the settings of other methods on the net of a detector.

    Left out are those that cannot be made of this net, and those that look at a prediction, unless
    their points are the ones that the detector predicts at.

    Args:
        base: as chosen; its size is that of all.
        detector: whose net it is; no method can be made of one whose net is code of the user's.
        model: the file of ``conf/model`` that was chosen; None: unknown.
    """
    spec = detector.spec
    backbone, pyramid = spec.get("backbone"), spec.get("fpn")
    if not isinstance(backbone, dict) or not isinstance(pyramid, dict):
        return {}
    found = {}
    for name, parts in _composed(model or "r50"):
        if name == base.method:
            continue
        own = {key: value for key, value in parts.pop("fpn").items() if key not in _OF_NET}
        fpn = {**{key: value for key, value in pyramid.items() if key in _OF_NET}, **own}
        try:
            with torch.device("meta"):
                other = build_detector(
                    num_classes=spec["num_classes"], backbone=backbone, fpn=fpn, **parts
                )
        except UserError:
            continue
        needs = other.assigner.needs_prediction
        if needs and (detector.mean.device.type == "meta" or other.grid != detector.grid):
            continue
        setting = Setting(mapping_of(other), base.shorter, base.longer, target_of(other), name)
        if (setting.mapping, setting.target) != (base.mapping, base.target):
            found[name] = setting
    return found


def _composed(model: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each method and what it says of a detector's parts on a net of ``conf/model``."""
    with _another_hydra():
        for name in method_names():
            tree: Any = OmegaConf.to_container(
                hydra.compose("train", [f"method={name}", f"model={model}"]).model, resolve=True
            )
            yield name, {key: tree.get(key) or {} for key in ("fpn", *_PARTS)}


@contextmanager
def _another_hydra() -> Iterator[None]:
    """Compose beside the command's own configuration, which Hydra has one of in a process."""
    instance = GlobalHydra.instance()
    before = instance.hydra
    instance.clear()
    try:
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            yield
    finally:
        instance.hydra = before
