"""Checkpoints of other projects with something wrong in them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from plain_sources.detectors import Published, run
from plain_sources.operations import Weights

MODELS = (
    Published("official", "imprv_dcnv2", stages=(3, 4, 5), tower_deforms=True),
    Published("official", "mnv2", "mobilenet_v2", improved=False),
    Published("adelaidet", "dla34", "dla34", levels=3, shared=True, level_norms=True),
    Published("adelaidet", "V_39", "vovnet39"),
    Published("mmdet", "r50", counted=True),
    Published("detectron2", "R_50"),
)

_SIZES = (0, 1, 2, 3, 7, 18, 27, 32, 255, 256, 1000, 10**5)
_DTYPES = (torch.int64, torch.bool, torch.complex64, torch.float16)
_NAMES = (["a"] * 80, [1] * 80, ("a", "b"), ["x" * 10_000] * 80, "abc", {"a": 1})
_TEXTS = (
    "model=dict(bbox_head=dict(num_classes=" + "9" * 5000 + "))",
    *("(" * 5000, "\0", "nms = dict(" * 5000, "mean=[" * 5000, "x" * 100_000),
    *("nms=dict(iou_threshold=1.2.3)", "mean=[a], std=[b], to_rgb=True", "mean=[1], std=[0, 0]"),
    "mean=[nan,1,1], std=[1,1,1], to_rgb=False, norm_on_bbox=True, nms=dict(iou_thr=9.)",
)

Shapes = Mapping[str, Sequence[int]]


def shapes_of(model: Published) -> Shapes:
    """Return the keys and shapes of a published model, by a pass through its plain formulas."""
    weights = Weights()
    run(model, weights, [torch.zeros(3, 64, 64, dtype=torch.uint8)])
    return {key: tuple(value.shape) for key, value in weights.asked.items()}


def content(shapes: Shapes, rng: random.Random) -> tuple[Any, str | None]:
    """Return a mutated file as it is once it is read, and a recipe to read it by."""
    weights: dict[Any, Any] = {key: _blank(shape) for key, shape in shapes.items()}
    telling = [key for key in weights if any(w in key for w in ("cls", "head", "scale", "fpn"))]
    for _ in range(rng.choice((1, 1, 2, 4))):
        key = rng.choice(telling if telling and rng.random() < 0.5 else [*shapes])
        shape = [*shapes[key]] or [1]
        what = rng.choices(range(6), weights=(25, 30, 10, 10, 10, 15))[0]
        if what == 0:
            weights.pop(key, None)
        elif what == 1:
            shape[rng.randrange(len(shape))] = rng.choice(_SIZES)
            weights[key] = _blank(shape)
        elif what == 2:
            weights[key] = torch.zeros(rng.choice(((), (0,), (1,), (2, 2), (1, 1, 1, 1, 1))))
        elif what == 3:
            others = (f"{key}.x", f"x.{key}", key.upper(), key.replace("0", "9"), f"{key}\n", "", 5)
            weights[rng.choice((*others, key.replace("1", "99"), "k" * 10_000))] = _blank(shape)
        elif what == 4:
            weights[key] = _blank(shape, rng.choice(_DTYPES))
        else:
            weights[key] = rng.choice((None, "x", 5, [1], torch.zeros(2, 2).to_sparse()))
    meta = rng.choice(
        (
            *(None, 1, {"cfg": rng.choice(_TEXTS)}, {"config": rng.choice(_TEXTS)}),
            *({"CLASSES": rng.choice(_NAMES)}, {"dataset_meta": {"classes": rng.choice(_NAMES)}}),
        )
    )
    levels = (weights, {"state_dict": weights}, {"model": weights})
    whole = rng.choice((*levels, {"state_dict": weights, "meta": meta}))
    return whole, rng.choice((None, None, "plain", "improved", "tricks", "iou", "x"))


def _blank(shape: Sequence[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A tensor of any size that takes no memory."""
    return torch.zeros((), dtype=dtype).expand(*shape) if shape else torch.zeros((), dtype=dtype)
