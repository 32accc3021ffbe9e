"""Small detectors of the methods in conf/, as their files have them."""

from __future__ import annotations

from typing import Any

import torch
import yaml

from fcos_lightning.detector import DenseDetector, build_detector
from fcos_lightning.runs.configuration import config_dir

#: Those that look at no prediction when they assign.
METHODS = ("foveabox", "centernet", "densebox", "ssd")


def built(method: str, norm: str = "trained", **more: Any) -> DenseDetector:
    """A method on the tiny net, three classes, with weights that make outputs differ.

    Args:
        method: a file of conf/method/.
        norm: of the net.
        **more: of ``build_detector``.
    """
    chosen = yaml.safe_load((config_dir() / "method" / f"{method}.yaml").read_text())
    del chosen["_target_"]
    chosen["fpn"] = {**chosen.get("fpn", {}), "channels": 16, "levels": [3, 4, 5]}
    chosen["head"] = {**chosen["head"], "num_convs": 1, "fast_start": True}
    net = {"name": "tiny", "weights": None, "norm": norm, "frozen_stages": 0}
    chosen["backbone"] = {**net, "widths": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
    torch.manual_seed(0)
    detector = build_detector(**{"class_names": ["cat", "dog", "cow"], **chosen, **more})
    with torch.no_grad():
        for name, parameter in detector.head.named_parameters():
            if "tower" not in name and name.endswith("weight"):
                parameter.normal_(std=0.1)
    return detector
