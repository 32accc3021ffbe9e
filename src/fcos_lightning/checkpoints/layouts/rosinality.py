"""rosinality/fcos-pytorch: keys ``head.cls_pred``, ``head.center_pred``.

- One recipe. VoVNet (V1, without attention), statistics of BatchNorm always frozen. Distances are
  exp(scale * x) in pixels; centerness on the classification tower. P6 is made of C5.
- Input: RGB less mean and divided by deviations of its own. Sides are padded to the next multiple
  of 32 above them, so that one which is a multiple gets 32 more.
- Boxes are clipped to the last pixel before NMS, which counts no further pixel; boxes without area
  stay, as do those that score as the hundredth does. Its labels count from 1, ours from 0.
- Loss: GIoU with the official code's 1, in pixels; the classification's is divided by positives
  plus images.
"""

from __future__ import annotations

from collections.abc import Collection

from fcos_lightning.checkpoints.translation.conventions import Source, Translation, classes_of
from fcos_lightning.checkpoints.translation.derive import spec_of
from fcos_lightning.checkpoints.translation.naming import Rule, renamed, vovnet_key

NAME = "rosinality"
RECIPES = ("trained",)

#: On the 0 to 255 scale, RGB.
_INPUT = {
    "mean": [104.0136177, 114.0342201, 119.91659325],
    "std": [73.6027614, 69.8908182, 70.91507925],
    "channel_order": "rgb",
    "padding": "beyond",
}


def recognises(keys: Collection[str]) -> bool:
    """Tell by the keys whether a file is of this layout."""
    return "head.cls_pred.weight" in keys and "head.center_pred.weight" in keys


def translate(source: Source, recipe: str | None) -> Translation:
    """Return a file of this layout in our terms."""
    weights = renamed(source.weights, _RULES)
    spec = spec_of(weights)
    # Its norms count batches, but never learn statistics.
    spec["backbone"]["norm"] = "frozen"
    spec["head"] |= {"distances": "exp", "quality_on": "classification"}
    return Translation(
        spec={
            **spec,
            **classes_of(spec["num_classes"], source.class_names),
            "assigner": {"center_radius": 1.5},
            "loss": {
                "box_loss": "giou",
                "box_epsilon": "official",
                "box_units": "pixels",
                "divide_by": "positives_and_images",
            },
            "decoder": {"clip_to": "last_pixel", "keep_ties": True},
            "input": _INPUT,
        },
        weights=weights,
    )


_RULES: tuple[Rule, ...] = (
    (r"backbone\.(st(?:em|age[2-5])\..+)", vovnet_key),
    (r"fpn\.inner_convs\.([2-4])\.(\w+)", lambda m: f"fpn.lateral.{int(m[1]) - 2}.{m[2]}"),
    (r"fpn\.out_convs\.([2-4])\.(\w+)", lambda m: f"fpn.output.{int(m[1]) - 2}.{m[2]}"),
    (r"fpn\.top_blocks\.p([67])\.(\w+)", lambda m: f"fpn.extra.{int(m[1]) - 6}.{m[2]}"),
    (r"head\.cls_tower\.(\d+\.\w+)", r"head.cls_tower.\1"),
    (r"head\.bbox_tower\.(\d+\.\w+)", r"head.box_tower.\1"),
    (r"head\.cls_pred\.(\w+)", r"head.cls_logits.\1"),
    (r"head\.bbox_pred\.(\w+)", r"head.box_ltrb.\1"),
    (r"head\.center_pred\.(\w+)", r"head.quality_logits.\1"),
    (r"head\.scales\.(\d)\.scale", r"head.scales.\1"),
)
